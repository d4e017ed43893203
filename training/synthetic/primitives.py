"""Box, cylinder and ellipsoid primitives, from which all objects of a scene are built.

The three kinds share one mesh topology, which allows batching them in one tensor.
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
    """M primitives in one frame.

    Attributes:
        kind: (M,) int64 `BOX`, `CYLINDER` (axis y) or `ELLIPSOID`.
        linear: (M, 3, 3) maps the unit shape, which spans -1 to 1, to metres.
        centre: (M, 3) metres.
        colour: (M, 3) 0-1.
        shown: (M,) bool; false primitives are not drawn.
        scene: (M,) int64 scene index.
        owner: (M,) int64 person 0..N-1 to whom the object belongs, -1 for none.
    """

    kind: Tensor
    linear: Tensor
    centre: Tensor
    colour: Tensor
    shown: Tensor
    scene: Tensor
    owner: Tensor

    def moved(self, rotation: Tensor, position: Tensor) -> Primitives:
        """Transform into frames with rotation (B, 3, 3) and origin (B, 3) in the present frame."""
        own = rotation[self.scene]
        centre = (own @ (self.centre - position[self.scene])[..., None])[..., 0]
        return Primitives(
            self.kind, own @ self.linear, centre, self.colour, self.shown, self.scene, self.owner
        )

    def take(self, index: Tensor) -> Primitives:
        """Select primitives."""
        return Primitives(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @staticmethod
    def join(parts: list[Primitives]) -> Primitives:
        """Concatenate, sorted by scene; within a scene the order of the parts is kept."""
        names = Primitives.__dataclass_fields__
        joined = Primitives(*(torch.cat([getattr(p, n) for p in parts]) for n in names))
        return joined.take(joined.scene.argsort(stable=True))

    def mesh(self) -> tuple[Tensor, Tensor]:
        """Vertices (M, 82, 3), metres, and unnormalised normals (M, 82, 3)."""
        template, normals, _ = mesh_templates(self.centre.device)
        vertices = template[self.kind] @ self.linear.transpose(1, 2) + self.centre[:, None]
        # Normals transform by the inverse transpose, which equals the cofactors up to scale.
        a, b, c = self.linear.unbind(2)
        cofactors = torch.stack([b.cross(c, 1), c.cross(a, 1), a.cross(b, 1)], 2)
        return vertices, normals[self.kind] @ cofactors.transpose(1, 2)


@lru_cache(maxsize=4)
def mesh_templates(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices (3, 82, 3) and normals (3, 82, 3) per kind, and the shared faces (160, 3)."""
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
"""Kind; centre x, y, z; half sizes x, y, z; rotation about x and z (radians); colour index."""
ROW_LENGTH = 10
EMPTY_ROW: Row = (0.0,) * ROW_LENGTH


def row_table(models: list[list[Row]], slots: int) -> Tensor:
    """(T, slots, 10) table; short rows and lists are padded with zeros."""
    rows = [[(*row, *EMPTY_ROW[len(row) :]) for row in model] for model in models]
    return torch.tensor([model + [EMPTY_ROW] * (slots - len(model)) for model in rows])


def rows_to_linear(rows: Tensor) -> Tensor:
    """Rows (..., 10) -> linear maps (..., 3, 3): rotation times half sizes."""
    rotation = euler("XZY", rows[..., 7], rows[..., 8], torch.zeros_like(rows[..., 7]))
    return rotation * rows[..., None, 4:7]


def rows_shown(rows: Tensor) -> Tensor:
    """(...) bool mask of non-empty rows."""
    return rows[..., 5] > 0
