"""Pictures of meshes: scenes, two rasterisers, labels, plans, attention figures.

Takes arrays only, never a network or its output types. May import `aios.geometry`.
"""
