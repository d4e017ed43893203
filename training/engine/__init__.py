"""The training run: learner, optimiser, schedules, loop, checkpoints, logs.

May import `training.losses`, `training.data`, `training.synthetic` and `aios`.
"""
