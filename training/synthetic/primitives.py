"""Boxes, cylinders and ellipsoids: everything in a scene that is no body is made of them.

All three share one mesh, so that any number of them is posed and drawn at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .anatomy import euler

BOX, CYLINDER, ELLIPSOID = range(3)
_COLUMNS, _RINGS = 16, 5
PRIMITIVE_FACES = 160


@dataclass(frozen=True)
class Primitives:
    """M shapes in one frame.

    Attributes:
        kind: (M,) int64 `BOX`, `CYLINDER` (about y) or `ELLIPSOID`.
        linear: (M, 3, 3) from the shape that reaches from -1 to 1 to metres.
        centre: (M, 3) metres.
        colour: (M, 3) 0-1.
        shown: (M,) bool.
        scene: (M,) int64.
        owner: (M,) int64 person (0..N-1) the thing belongs to, -1 for furniture.
    """

    kind: Tensor
    linear: Tensor
    centre: Tensor
    colour: Tensor
    shown: Tensor
    scene: Tensor
    owner: Tensor

    def moved(self, rotation: Tensor, position: Tensor) -> Primitives:
        """In the frame of cameras: rotation (B, 3, 3) from and position (B, 3) in this frame."""
        turn = rotation[self.scene]
        centre = (turn @ (self.centre - position[self.scene])[..., None])[..., 0]
        return Primitives(
            self.kind, turn @ self.linear, centre, self.colour, self.shown, self.scene, self.owner
        )

    def take(self, index: Tensor) -> Primitives:
        """Some of them."""
        return Primitives(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @staticmethod
    def join(parts: list[Primitives]) -> Primitives:
        """All of them, those of each scene in the order of the parts."""
        names = Primitives.__dataclass_fields__
        joined = Primitives(*(torch.cat([getattr(p, n) for p in parts]) for n in names))
        return joined.take(joined.scene.argsort(stable=True))

    def mesh(self) -> tuple[Tensor, Tensor]:
        """Vertices (M, 82, 3), metres, and normals of any length (M, 82, 3)."""
        places, normals, _ = mesh_templates(self.centre.device)
        vertices = places[self.kind] @ self.linear.transpose(1, 2) + self.centre[:, None]
        # Normals turn with the inverse transpose; the cofactors are that but for the length.
        a, b, c = self.linear.unbind(2)
        cofactors = torch.stack([b.cross(c, 1), c.cross(a, 1), a.cross(b, 1)], 2)
        return vertices, normals[self.kind] @ cofactors.transpose(1, 2)


@lru_cache(maxsize=4)
def mesh_templates(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices (3, 82, 3) and normals (3, 82, 3) of the kinds, and the faces (160, 3) of all."""
    angle = torch.arange(_COLUMNS) / _COLUMNS * 2 * math.pi + math.pi / 4
    circle = torch.stack([angle.sin(), 0 * angle, angle.cos()], -1)
    square = circle / circle.abs().amax(-1, keepdim=True)
    flat = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0])
    slope = torch.tensor([60.0, 30.0, 0.0, -30.0, -60.0]) * math.pi / 180
    up = torch.tensor([0.0, 1.0, 0.0])
    rings = {
        BOX: square[None] + flat[:, None, None] * up,
        CYLINDER: circle[None] + flat[:, None, None] * up,
        ELLIPSOID: circle[None] * slope.cos()[:, None, None] + slope.sin()[:, None, None] * up,
    }
    places = torch.stack(
        [torch.cat([up[None], rings[kind].flatten(0, 1), -up[None]]) for kind in range(3)]
    )
    normals = places.clone()
    normals[CYLINDER, 1:-1] = circle.repeat(_RINGS, 1)
    faces = []
    for column in range(_COLUMNS):
        after = (column + 1) % _COLUMNS
        faces.append((0, 1 + column, 1 + after))
        for ring in range(_RINGS - 1):
            a, b = 1 + ring * _COLUMNS + column, 1 + ring * _COLUMNS + after
            faces += [(a, a + _COLUMNS, b), (b, a + _COLUMNS, b + _COLUMNS)]
        last = 1 + (_RINGS - 1) * _COLUMNS
        faces.append((last + column, len(places[0]) - 1, last + after))
    table = torch.tensor(faces)
    return places.to(device), normals.to(device), table.to(device)


Row = tuple[float, ...]
"""kind, centre x y z, half sizes x y z, turn about x and about z (radians), colour number."""
ROW_LENGTH = 10
NOTHING: Row = (0.0,) * ROW_LENGTH


def row_table(things: list[list[Row]], slots: int) -> Tensor:
    """(T, slots, 10), short rows and short lists filled up with nothing."""
    rows = [[(*row, *NOTHING[len(row) :]) for row in thing] for thing in things]
    return torch.tensor([thing + [NOTHING] * (slots - len(thing)) for thing in rows])


def rows_to_linear(rows: Tensor) -> Tensor:
    """(..., 10) -> (..., 3, 3) turn and half sizes."""
    turn = euler("XZY", rows[..., 7], rows[..., 8], torch.zeros_like(rows[..., 7]))
    return turn * rows[..., None, 4:7]


def rows_shown(rows: Tensor) -> Tensor:
    """(...) bool: the row is something."""
    return rows[..., 5] > 0
