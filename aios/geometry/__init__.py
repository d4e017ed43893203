"""Cameras, boxes, rotations and position encodings: functions of arrays and tensors.

Imports no other room.
"""
