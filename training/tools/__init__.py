"""Commands beside training: speed, loss curves, an overfitting check, contact sheets.

May import every other package of `training`.
"""
