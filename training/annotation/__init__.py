"""Annotation of plain photographs: 2D and 3D keypoints by public networks, and a fitted body.

`python -m training.annotate` is the command. The networks ("teachers") find people, place body,
hand and face points; the body model is fitted to all of them; a person is kept only if the fit
passes the gates. May import `aios`, `training.joints`,
`training.synthetic`, `training.data` and `training.evaluation`.
"""
