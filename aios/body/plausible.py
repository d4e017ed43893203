"""Checks that the arrays of a body model file describe a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_HEIGHT_M = (0.5, 5.0)
"""Longest extent of the template."""
_THINNEST_M = 0.05
_VOLUME_M3 = (0.005, 1.0)
"""A person has about 0.07."""
_LARGEST_OFFSET_M = 2.0
"""Of a vertex by one unit of a shape, expression or pose coefficient."""
_LARGEST_ANGLE = 4 * np.pi
_SUM_TOLERANCE = 0.01
_MIN_MOVED_JOINTS = 30
"""Joints that move at least one vertex; all 55 do in SMPL-X."""


def find_implausible(arrays: Mapping[str, np.ndarray]) -> str:
    """First reason why the arrays are not those of a person, without a final dot; else empty.

    Args:
        arrays: validated arrays by file key, float32 and int64.
    """
    template = arrays["v_template"].astype(np.float64)
    extent = np.ptp(template, axis=0)
    if not _HEIGHT_M[0] <= extent.max() <= _HEIGHT_M[1] or extent.min() < _THINNEST_M:
        size = " x ".join(f"{side:.3g}" for side in extent)
        return f"its body measures {size} m, which is not the size of a person"
    for name, limit in (
        ("shapedirs", _LARGEST_OFFSET_M),
        ("posedirs", _LARGEST_OFFSET_M),
        ("hands_meanl", _LARGEST_ANGLE),
        ("hands_meanr", _LARGEST_ANGLE),
    ):
        if float(np.abs(arrays[name]).max()) > limit:
            return f"{name} has values above {limit:.3g}"
    return _find_wrong_weights(arrays) or _find_wrong_volume(template, arrays["f"])


def _find_wrong_weights(arrays: Mapping[str, np.ndarray]) -> str:
    weights, regressor = arrays["weights"], arrays["J_regressor"]
    if float(weights.min()) < -_SUM_TOLERANCE or not _sums_to_one(weights):
        return "the skinning weights of a vertex do not sum to 1"
    if int((weights.max(0) > 0.1).sum()) < _MIN_MOVED_JOINTS:
        return "its skinning weights leave most joints without a vertex"
    if not _sums_to_one(regressor) or float(np.abs(regressor).max()) > 10:
        return "the rows of J_regressor do not sum to 1"
    return ""


def _sums_to_one(matrix: np.ndarray) -> bool:
    return bool((np.abs(matrix.sum(1, dtype=np.float64) - 1) <= _SUM_TOLERANCE).all())


def _find_wrong_volume(template: np.ndarray, faces: np.ndarray) -> str:
    a, b, c = (template[faces[:, corner]] for corner in range(3))
    volume = abs(float(np.einsum("ij,ij->", a, np.cross(b, c)))) / 6
    if not _VOLUME_M3[0] <= volume <= _VOLUME_M3[1]:
        return f"its faces enclose {volume:.3g} m³, which is not the volume of a person"
    return ""
