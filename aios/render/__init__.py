"""Images of meshes: lighting, two rasterizers, labels, side views, attention figures.

Takes arrays, never a network or its output types.  May import `aios.geometry`.
"""
