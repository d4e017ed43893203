"""Matching of predictions with annotated people, loss terms, and denoising queries.

May import `training.targets`, `training.joints`, `training.data` and `aios`.
"""
