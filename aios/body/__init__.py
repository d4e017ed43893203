"""The SMPL-X body model: its file, its arrays, its skeleton, and the stand-in body.

May import `aios.geometry`.
"""
