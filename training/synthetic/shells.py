"""Cloth and hair that hang free of the skin: sheets of triangles around legs and head.

A sheet is a grid of rows (downwards) and columns (around the body's axis). How far down and how
far around it reaches is a matter of leaving out triangles, so one sheet is a short skirt, a long
dress or an open coat; another one is hair from a bob to below the shoulders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_COLUMNS = 36
SHELLS = ("skirt", "hair")
SKIRT_TOP, SKIRT_STEP, SKIRT_ROWS = -0.2, 0.042, 23
"""Metres of the T-pose: upper edge, distance of the rows, number of rows."""
HAIR_TOP, HAIR_STEP, HAIR_ROWS = 0.425, 0.03, 19
_PELVIS, _KNEES, _THIGHS, _NECK, _HEAD, _CHEST = 0, (4, 5), (1, 2), 12, 15, 9


@dataclass(frozen=True)
class Shells:
    """All sheets together; A vertices, F triangles.

    Attributes:
        vertices: (A, 3) metres, T-pose.
        flare: (A, 3) metres moved for one unit of a sheet's flare.
        ease: (A, 3) unit, outwards.
        weights: (A, 55).
        anchors: (A, 6) body vertices whose change of shape the vertex follows.
        normals: (A, 3) unit.
        sheet: (A,) number in `SHEETS`.
        faces: (F, 3) vertices, the first is 0.
        face_sheet: (F,) number in `SHEETS`.
        face_row: (F,) row of the lower edge.
        face_side: (F,) radians from the back, 0 to pi.
    """

    vertices: np.ndarray
    flare: np.ndarray
    ease: np.ndarray
    weights: np.ndarray
    anchors: np.ndarray
    normals: np.ndarray
    sheet: np.ndarray
    faces: np.ndarray
    face_shell: np.ndarray
    face_row: np.ndarray
    face_side: np.ndarray


def build_shells(template: np.ndarray) -> Shells:
    """Fit both sheets around the T-pose template (V, 3)."""
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
    # Squared distances but for a term that is the same for all candidates.
    gaps = (template**2).sum(1) - 2 * vertices @ template.T
    return Shells(
        vertices, flare, ease, weights,
        anchors=np.argpartition(gaps, 6, axis=1)[:, :6],
        normals=ease,
        sheet=np.repeat(np.arange(2), np.array(rows) * _COLUMNS),
        faces=np.concatenate(faces),
        face_shell=facts[:, 0].astype(np.int64),
        face_row=facts[:, 1].astype(np.int64),
        face_side=facts[:, 2],
    )  # fmt: skip


def _grid_faces(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of a closed tube, the lower row of each and its angle from the back."""
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
    """(C, 2) x and z of the columns, the first to the back."""
    angle = np.arange(_COLUMNS) / _COLUMNS * 2 * np.pi
    return np.stack([np.sin(angle), -np.cos(angle)], 1)


def _envelope(points: np.ndarray, heights: np.ndarray, reach: float) -> np.ndarray:
    """(R, C) how far out points (N, 3; about the axis) lie at each height and direction."""
    answer = np.zeros((len(heights), _COLUMNS))
    outwards = points[:, [0, 2]] @ _directions().T  # support function: convex, hence smooth
    for row, height in enumerate(heights):
        near = np.abs(points[:, 1] - height) < reach
        if near.any():
            answer[row] = outwards[near].max(0)
    return answer


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
