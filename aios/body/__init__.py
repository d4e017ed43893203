"""SMPL-X body model: file, tensors, posing, kinematic tree, stand-in shapes.

May import `aios.geometry`.
"""
