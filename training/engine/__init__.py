"""Training runs: learner, initial weights, optimizer, loop, checkpoints, logs.

May import `training.losses`, `training.data`, `training.synthetic` and `aios`.
"""
