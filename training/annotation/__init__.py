"""Annotation of plain photos: 2D and 3D keypoints by public networks, and a fitted body.

Run by `python -m training.annotate`. Public networks ("teachers") detect people and predict body,
hand and face points. The body model is fitted to all of them, and a person is kept if the fit
passes the quality limits ("gates"). May import `aios`, `training.joints`,
`training.synthetic`, `training.data` and `training.evaluation`.
"""
