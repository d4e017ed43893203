"""Shell meshes for loose clothing and long hair around legs and head.

A shell is a grid of rows (downwards) and columns (around the vertical axis). Its length and opening
are set by hiding triangles: the skirt shell serves as short skirt, long dress or open coat, the
hair shell as hair from chin to below shoulder length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_COLUMNS = 36
SHELLS = ("skirt", "hair")
SKIRT_TOP, SKIRT_STEP, SKIRT_ROWS = -0.2, 0.042, 23
"""Upper edge and row spacing in the T-pose, metres; number of rows."""
HAIR_TOP, HAIR_STEP, HAIR_ROWS = 0.425, 0.03, 19
_PELVIS, _KNEES, _THIGHS, _NECK, _HEAD, _CHEST = 0, (4, 5), (1, 2), 12, 15, 9


@dataclass(frozen=True)
class Shells:
    """All shells as one mesh; A vertices, F triangles.

    Attributes:
        vertices: (A, 3) metres, T-pose.
        flare: (A, 3) displacement for a flare of 1, metres.
        ease: (A, 3) unit vectors, outwards.
        weights: (A, 55) skinning weights.
        anchors: (A, 6) body vertices whose shape displacement the vertex follows.
        normals: (A, 3) unit vectors.
        shell: (A,) index into `SHELLS`.
        faces: (F, 3) vertex indices.
        face_shell: (F,) index into `SHELLS`.
        face_row: (F,) row of the lower edge.
        face_side: (F,) angle from the back, radians, 0 to pi.
    """

    vertices: np.ndarray
    flare: np.ndarray
    ease: np.ndarray
    weights: np.ndarray
    anchors: np.ndarray
    normals: np.ndarray
    shell: np.ndarray
    faces: np.ndarray
    face_shell: np.ndarray
    face_row: np.ndarray
    face_side: np.ndarray


def build_shells(template: np.ndarray) -> Shells:
    """Fit both shells around the template (V, 3), T-pose, metres."""
    parts = [_skirt(template), _hair(template)]
    columns = [np.concatenate([part[k] for part in parts]) for k in range(4)]
    vertices, flare, ease, weights = columns
    rows = [SKIRT_ROWS, HAIR_ROWS]
    faces, face_facts, start = [], [], 0
    for number, count in enumerate(rows):
        grid, row, side = _grid_faces(count)
        faces.append(grid + start)
        face_facts.append(np.stack([np.full(len(grid), number), row, side], 1))
        start += count * _COLUMNS
    facts = np.concatenate(face_facts)
    # Squared distances up to a term that is constant per shell vertex.
    gaps = (template**2).sum(1) - 2 * vertices @ template.T
    return Shells(
        vertices, flare, ease, weights,
        anchors=np.argpartition(gaps, 6, axis=1)[:, :6],
        normals=ease,
        shell=np.repeat(np.arange(2), np.array(rows) * _COLUMNS),
        faces=np.concatenate(faces),
        face_shell=facts[:, 0].astype(np.int64),
        face_row=facts[:, 1].astype(np.int64),
        face_side=facts[:, 2],
    )  # fmt: skip


def _grid_faces(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of a closed tube, with the lower row and the angle from the back of each."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(_COLUMNS), indexing="ij")
    after = (column + 1) % _COLUMNS
    a, b = row * _COLUMNS + column, row * _COLUMNS + after
    c, d = a + _COLUMNS, b + _COLUMNS
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    angle = (column + 0.5) / _COLUMNS * 2 * np.pi
    side = np.minimum(angle, 2 * np.pi - angle)
    lower = np.broadcast_to(row + 1, row.shape)
    return faces.reshape(-1, 3), np.tile(lower.ravel(), 2), np.tile(side.ravel(), 2)


def _directions() -> np.ndarray:
    """(C, 2) x and z direction of each column; the first points to the back."""
    angle = np.arange(_COLUMNS) / _COLUMNS * 2 * np.pi
    return np.stack([np.sin(angle), -np.cos(angle)], 1)


def _envelope(points: np.ndarray, heights: np.ndarray, reach: float) -> np.ndarray:
    """(R, C) radius of points (N, 3; relative to the axis) at each height and direction."""
    radius = np.zeros((len(heights), _COLUMNS))
    outwards = points[:, [0, 2]] @ _directions().T  # support function, convex and therefore smooth
    for row, height in enumerate(heights):
        near = np.abs(points[:, 1] - height) < reach
        if near.any():
            radius[row] = outwards[near].max(0)
    return radius


def _tube(
    heights: np.ndarray, radius: np.ndarray, centre_z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward directions (R * C, 3) of a tube around (0, centre_z)."""
    direction = np.broadcast_to(_directions(), (*radius.shape, 2))
    out = np.stack([direction[..., 0], 0 * radius, direction[..., 1]], -1)
    middle = np.stack([0 * heights, heights, centre_z], -1)[:, None]
    return (middle + out * radius[..., None]).reshape(-1, 3), out.reshape(-1, 3)


def _skirt(template: np.ndarray) -> tuple[np.ndarray, ...]:
    heights = SKIRT_TOP - SKIRT_STEP * np.arange(SKIRT_ROWS)
    body = template[np.abs(template[:, 0]) < 0.27]
    centre = np.full(SKIRT_ROWS, 0.02)
    points = body - [0, 0, 0.02]
    radius = _envelope(points, heights, 0.03)
    radius = np.maximum.accumulate(radius, 0) * 0.5 + radius * 0.5 + 0.012
    vertices, out = _tube(heights, radius, centre)
    depth = np.repeat((SKIRT_TOP - heights) / (SKIRT_STEP * (SKIRT_ROWS - 1)), _COLUMNS)
    weights = np.zeros((len(vertices), 55))
    left = 1 / (1 + np.exp(-vertices[:, 0] / 0.05))
    fall = np.clip((SKIRT_TOP - 0.06 - vertices[:, 1]) / 0.2, 0, 1)
    knee = np.clip((-0.68 - vertices[:, 1]) / 0.2, 0, 1) * 0.75
    weights[:, _PELVIS] = 1 - 0.85 * fall
    for thigh, shin, share in zip(_THIGHS, _KNEES, (left, 1 - left), strict=True):
        weights[:, thigh] = 0.85 * fall * share * (1 - knee)
        weights[:, shin] = 0.85 * fall * share * knee
    return vertices, out * depth[:, None] * 0.25, out, weights


def _hair(template: np.ndarray) -> tuple[np.ndarray, ...]:
    heights = HAIR_TOP - HAIR_STEP * np.arange(HAIR_ROWS)
    body = template[(np.abs(template[:, 0]) < 0.12) & (template[:, 1] > -0.25)]
    centre = np.full(HAIR_ROWS, 0.03)
    points = body - [0, 0, 0.03]
    radius = np.clip(_envelope(points, heights, 0.025), 0.03, 0.125) + 0.012
    radius[3:] = np.maximum(radius[3:], 0.8 * np.maximum.accumulate(radius, 0)[3:])
    vertices, out = _tube(heights, radius, centre)
    weights = np.zeros((len(vertices), 55))
    below = np.clip((0.27 - vertices[:, 1]) / 0.15, 0, 1)
    chest = np.clip((0.12 - vertices[:, 1]) / 0.2, 0, 1) * 0.8
    weights[:, _HEAD] = 1 - 0.65 * below
    weights[:, _CHEST] = 0.65 * below * chest
    weights[:, _NECK] = 0.65 * below * (1 - chest)
    depth = np.repeat(np.arange(HAIR_ROWS) / (HAIR_ROWS - 1), _COLUMNS)
    return vertices, out * (0.3 + depth[:, None]) * 0.05, out, weights
