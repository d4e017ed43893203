"""Commands around a training run: benchmark, loss curves, overfitting test, sheets of predictions.

May import every other room of `training`.
"""
