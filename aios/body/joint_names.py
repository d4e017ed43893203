"""Names of the 144 points that the SMPL-X body model returns besides the vertices."""

from __future__ import annotations

from .kinematics import JOINT_NAMES

_SURFACE_NAMES = """
    nose right_eye left_eye right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe
    right_small_toe right_heel left_thumb left_index left_middle left_ring left_pinky right_thumb
    right_index right_middle right_ring right_pinky
"""
_BROWS = [
    *(f"right_eye_brow{i}" for i in range(1, 6)),
    *(f"left_eye_brow{i}" for i in range(5, 0, -1)),
]
_FACE_NAMES = """
    nose1 nose2 nose3 nose4 right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2
    right_eye1 right_eye2 right_eye3 right_eye4 right_eye5 right_eye6
    left_eye4 left_eye3 left_eye2 left_eye1 left_eye6 left_eye5
    right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1
    left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5
    right_lip_1 right_lip_2 lip_top left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3
"""
_CONTOUR = [
    *(f"right_contour_{i}" for i in range(1, 9)),
    "contour_middle",
    *(f"left_contour_{i}" for i in range(8, 0, -1)),
]
JOINTS_3D_NAMES = (
    *JOINT_NAMES,
    *_SURFACE_NAMES.split(),
    *_BROWS,
    *_FACE_NAMES.split(),
    *_CONTOUR,
)
"""The 144 points of `joints_3d`: 55 joints, 21 surface points, 68 face landmarks."""
