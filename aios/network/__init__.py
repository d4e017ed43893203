"""The AiOS network: backbone, deformable encoder, three decoder stages, heads, and their config.

Plain PyTorch without fast paths, device switches or body model. May import `aios.geometry` only.
`README.md` in this folder describes every step.
"""
