"""What a prediction costs: denoising queries, matching, and every loss.

May import `training.targets`, `training.joints`, `training.data.batch` and `aios`.
"""
