"""Clothing regions of the body: planes and curves in the T-pose, symmetric."""

from __future__ import annotations

import numpy as np

from .shape_space import ShapeSpace
from .smplx_joints import JOINT_INDEX

SKIN, SHIRT, TROUSERS, SHOES, HAIR, EYE = range(6)
_SLEEVE = 0.72
"""Share of the upper arm that is covered by the sleeve."""
_EAR = 0.072
"""Distance from the middle of the head beyond which vertices belong to ears, metres."""


def clothing_regions(space: ShapeSpace, weights: np.ndarray, is_eye: np.ndarray) -> np.ndarray:
    """Region (V,) uint8 of each vertex.

    Args:
        space: template and joints, V vertices.
        weights: (V, 55) skinning weights.
        is_eye: (V,) bool.
    """
    x, y, z = np.abs(space.template[:, 0]), space.template[:, 1], space.template[:, 2]

    def joint(name: str) -> np.ndarray:
        return space.joints[JOINT_INDEX[name]]

    def share(*names: str) -> np.ndarray:
        return weights[:, [JOINT_INDEX[name] for name in names]].sum(1)

    head = share("head", "jaw", "left_eye", "right_eye") > 0.5
    neck, eye = joint("neck"), joint("left_eye")
    shoulder, elbow = joint("left_shoulder")[0], joint("left_elbow")[0]
    # The collar is an ellipse around the neck, lower at the front than at the back.
    in_collar = np.hypot(x / 0.08, (z - neck[2] - 0.01) / 0.1) < 1
    in_collar &= y > neck[1] - 0.03 - 0.45 * (z - neck[2])
    sleeve_end = shoulder + _SLEEVE * (elbow - shoulder)
    waist, ankle = joint("spine1")[1] - 0.02, joint("left_ankle")[1]
    # The hairline descends from the forehead over the temples to the nape, excluding the ears.
    depth = np.clip((eye[2] - z) / 0.085, 0, 1)
    above_hairline = y - eye[1] > 0.06 - 0.11 * depth**2
    ear = (x > _EAR) & (y < eye[1] + 0.03) & (z > eye[2] - 0.12)

    region = np.full(len(space.template), SKIN, np.uint8)
    region[(x < sleeve_end) & (y >= waist) & ~head & ~in_collar] = SHIRT
    region[(x < sleeve_end) & (y < waist)] = TROUSERS
    region[y < ankle + 0.05] = SHOES
    region[head & above_hairline & ~ear] = HAIR
    region[is_eye] = EYE
    return region
