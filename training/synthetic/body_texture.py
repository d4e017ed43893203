"""Procedural texture of bodies: the colour of a point follows from its position in the T-pose."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .appearance import COLOURS, PATTERNS, SHAPES, Appearance
from .surface import BodySurface

_FACE_LOW, _FACE_HIGH, _FACE_CELLS = (-0.1, 0.2), (0.1, 0.44), 320
_LIP, _BROW, _IRIS, _STUBBLE, _MOUSTACHE, _RIM = (1 << k for k in range(6))


def face_map(body: BodySurface) -> Tensor:
    """(320, 320) uint8 feature mask of the face, indexed by y and x of the T-pose."""
    # Landmarks: 10 brows, 9 nose, 12 eyes, 12 outer lips, 8 inner lips.
    marks = body.landmark_template
    steps = (np.arange(_FACE_CELLS) + 0.5) / _FACE_CELLS
    x = _FACE_LOW[0] + steps * (_FACE_HIGH[0] - _FACE_LOW[0])
    y = _FACE_LOW[1] + steps * (_FACE_HIGH[1] - _FACE_LOW[1])
    place = np.stack(np.meshgrid(x, y), -1)
    table = np.zeros((_FACE_CELLS, _FACE_CELLS), np.uint8)
    lips = marks[31:43, :2]
    centre, reach = lips.mean(0), (lips.max(0) - lips.min(0)) / 2 + 0.002
    from_lips = (((place - centre) / reach) ** 2).sum(-1)
    table[from_lips < 1] |= _LIP
    for side in (marks[:5, :2], marks[5:10, :2]):
        line = np.linspace(0, 4, 33)
        points = np.stack([np.interp(line, np.arange(5), side[:, k]) for k in range(2)], -1)
        gap = np.linalg.norm(place[:, :, None] - points, axis=-1).min(-1)
        table[gap < 0.0055] |= _BROW
    for side in (marks[19:25, :2], marks[25:31, :2]):
        gap = np.linalg.norm(place - side.mean(0), axis=-1)
        table[gap < 0.0065] |= _IRIS
        table[(gap > 0.021) & (gap < 0.025)] |= _RIM
    nose = marks[10:19, :2]
    jaw = (place[..., 1] < centre[1] + 0.012) & (np.abs(place[..., 0]) < 0.068)
    table[jaw | (np.abs(np.abs(place[..., 0]) - 0.062) < 0.012) & (place[..., 1] < 0.31)] |= (
        _STUBBLE
    )
    under = (place[..., 1] < nose[:, 1].min()) & (place[..., 1] > centre[1])
    table[under & (np.abs(place[..., 0]) < 0.032)] |= _MOUSTACHE
    return torch.from_numpy(table).to(body.device)


class BodyTexture:
    """Texture of a body; stores everything that depends on the body only."""

    def __init__(self, body: BodySurface) -> None:
        """Compute the face mask."""
        self._body = body
        self._face = face_map(body)
        skin = len(body.faces)
        shells = len(body.shell_of_face)
        nothing = torch.zeros(shells, dtype=torch.bool, device=body.device)
        self._hand = torch.cat([body.face_hand, nothing])
        self._eye = torch.cat([body.face_eye, nothing])
        shell = body.shell_of_face + 1
        self._sheet = torch.cat([torch.zeros(skin, dtype=torch.int64, device=body.device), shell])

    def albedo(
        self, face: Tensor, rest: Tensor, hair: Tensor, person: Tensor, appearance: Appearance
    ) -> tuple[Tensor, Tensor]:
        """Colour of points on bodies.

        Args:
            face: (M,) face index, skin and shells.
            rest: (3, M) position in the T-pose, metres.
            hair: (M,) 0-1, weight of the scalp.
            person: (M,) person index.
            appearance: appearance of the N people.

        Returns:
            (M, 3) albedo 0-1, and (M,) 1 on cloth, 0 elsewhere.
        """
        shapes = appearance.shapes.T.contiguous().index_select(1, person)
        shape = dict(zip(SHAPES, shapes, strict=True))
        shell = self._sheet[face]
        row, cloth = self._clothes(rest, self._hand[face], shape)
        skirt = torch.where(appearance.skirt_is_upper[person], 0, 1)
        lower = torch.where(shell == 1, skirt, ((row == _LOWER) | (row == _BELT)).long())
        pattern = appearance.patterns.flatten(0, 1).T.contiguous()
        pattern = pattern.index_select(1, 2 * person + lower)
        second = pattern_mask(rest, pattern)
        main = torch.where(lower > 0, _LOWER, _UPPER)
        row = torch.where(shell == 1, main, row)
        row = torch.where(second & ((row == _UPPER) | (row == _LOWER)), row + 1, row)
        row = self._head(row, rest, hair, self._eye[face], shape)
        row = torch.where(shell == 2, _HAIR, row)
        colours = appearance.colours.flatten(0, 1).index_select(0, person * len(COLOURS) + row)
        return colours, torch.where(shell > 0, shell == 1, cloth).float()

    def _clothes(
        self, rest: Tensor, hand: Tensor, shape: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(M,) column of `COLOURS` below the neck, and (M,) bool mask of cloth."""
        x, y, z = rest[0].abs(), rest[1], rest[2]
        arm = (x > 0.2) & (y > -0.1)
        # The collar is lower at the front than at the shoulders.
        dip = (0.08 - x).clamp_min(0) * (z > 0.0)
        upper = (y > shape["waist"]) & (y < shape["neckline"] - 0.8 * dip) & (x < shape["sleeve"])
        upper &= ~hand
        lower = (y <= shape["waist"]) & (y > shape["hem"]) & ~(arm | hand)
        row = torch.where(upper, _UPPER, torch.where(lower, _LOWER, _SKIN))
        opening = upper & (z > 0.03) & (x < shape["opening"]) & ~arm
        row = torch.where(opening, _INNER, row)
        belt = lower & (y > shape["waist"] - 0.03)
        row = torch.where(belt, _BELT, row)
        low = ~arm & ~hand
        socks = (y < shape["sock_top"]) & low & (shape["shoe_top"] > -1.3) & ~lower
        row = torch.where(socks, _SOCK, row)
        shoes = (y < shape["shoe_top"]) & low
        row = torch.where(shoes, torch.where(y < -1.228, _SOLE, _SHOES), row)
        gloves = (x > shape["glove_top"]) & (arm | hand)
        row = torch.where(gloves, _GLOVE, row)
        return row, upper | lower

    def _head(
        self, row: Tensor, rest: Tensor, hair: Tensor, eye: Tensor, shape: dict[str, Tensor]
    ) -> Tensor:
        """Add face and hair to the columns `row` (M,)."""
        x, y, z = rest
        scale = _FACE_CELLS / (_FACE_HIGH[0] - _FACE_LOW[0])
        column = ((x - _FACE_LOW[0]) * scale).long().clamp(0, _FACE_CELLS - 1)
        scale = _FACE_CELLS / (_FACE_HIGH[1] - _FACE_LOW[1])
        line = ((y - _FACE_LOW[1]) * scale).long().clamp(0, _FACE_CELLS - 1)
        front = (z > 0.055) & (y > _FACE_LOW[1]) & (x.abs() < _FACE_HIGH[0])
        marks = torch.where(front, self._face[line, column], 0)
        beard = shape["beard"]
        hairy = ((marks & _STUBBLE) > 0) & ((beard == 1) | (beard == 3))
        hairy |= ((marks & _MOUSTACHE) > 0) & (beard >= 2)
        row = torch.where(hairy & (y > 0.225), _BROW_ROW, row)
        row = torch.where(((marks & _LIP) > 0) & (z > 0.08) & ~eye, _LIP_ROW, row)
        row = torch.where(((marks & _BROW) > 0) & ~eye & (z > 0.08), _BROW_ROW, row)
        covered = torch.where(shape["hat"] > 0, _UPPER + 1, _HAIR)
        row = torch.where(hair > shape["hairline"], covered, row)
        row = torch.where(eye, _WHITE, row)
        row = torch.where(eye & ((marks & _IRIS) > 0), _IRIS_ROW, row)
        rim = ((marks & _RIM) > 0) & (shape["glasses"] > 0) & (z > 0.08)
        return torch.where(rim, _SOLE, row)


def pattern_mask(rest: Tensor, pattern: Tensor) -> Tensor:
    """Evaluate fabric patterns.

    Args:
        rest: (3, M) position in the T-pose, metres.
        pattern: (7, M) as in `Appearance.patterns`.

    Returns:
        (M,) bool, true where the second colour is visible.
    """
    kind, wave_y, wave_x, phase_y, phase_x, threshold, share = pattern
    x, y, z = rest
    rows, columns = torch.sin(y * wave_y + phase_y), torch.sin(x * wave_x + phase_x)
    mixed = torch.sin(z * wave_x + x * wave_y)
    thin = 0.9 - 0.5 * share
    printed = (x.abs() < 0.1 * share) & ((y + 0.02).abs() < 0.1 * share) & (z > 0)
    masks = {
        "rows": rows > threshold,
        "columns": columns > threshold,
        "checks": rows * columns > 0,
        "blotches": rows + columns + mixed > threshold,
        "print": printed & (rows + mixed > -threshold),
        "plaid": (rows > thin) | (columns > thin),
        "bands": (torch.remainder(y * 2.2 + phase_y, 1) < 0.4 * share),
        "halves": x * (phase_x - 3.1) > 0,
        "dots": rows * columns > 0.4 + 0.4 * share,
        "slanted": torch.sin(y * wave_y + x * wave_y * share + phase_x) > threshold,
        "rings": torch.sin(torch.hypot(x - 0.05, y - 0.05) * wave_y + phase_x) > threshold,
    }
    shown = torch.zeros_like(kind, dtype=torch.bool)
    for name, mask in masks.items():
        shown |= (kind == PATTERNS.index(name)) & mask
    return shown


_SKIN, _HAIR, _UPPER, _LOWER = (COLOURS.index(n) for n in ("skin", "hair", "upper", "lower"))
_INNER, _BELT, _SOCK, _GLOVE = (COLOURS.index(n) for n in ("inner", "belt", "sock", "glove"))
_SHOES, _SOLE, _WHITE = (COLOURS.index(n) for n in ("shoes", "sole", "white"))
_LIP_ROW, _BROW_ROW, _IRIS_ROW = (COLOURS.index(n) for n in ("lip", "brow", "iris"))
