"""Cameras, boxes, rotations and position encodings, as functions of arrays and tensors.

Imports no other room.
"""
