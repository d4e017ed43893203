"""The AiOS network, as the paper describes it: images in, people as vectors out.

Backbone, deformable encoder, the three decoder stages, heads, and the configuration that holds all
sizes. Plain PyTorch: no fast path, no device switch, no body model. May import `aios.geometry`
alone. `README.md` in this folder describes every step by the sections of the paper.
"""
