"""Whole jobs: a folder of photos, a video, a live stream, with progress and cancellation.

May import everything below it: the predictor, `aios.tracking`, `aios.export`, `aios.render`,
`aios.body`, `aios.media` and `aios.geometry`.
"""
