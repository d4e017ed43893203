"""Files for other programs: JSON, NPZ, GLB, BVH, PNG.

Takes a body and a convention, not a predictor. May import `aios.people`, `aios.prediction`,
`aios.body`, `aios.render` and `aios.geometry`.
"""
