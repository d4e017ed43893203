"""Settings of the exporters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..body.model import BodyModel
from .bone_names import BoneStyle

Extra = Literal["rigged", "obj", "ply", "vertices"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""Per person a GLB with skeleton and skin, an OBJ, a PLY; posed vertices in the NPZ."""


@dataclass(frozen=True)
class ExportSettings:
    """What to export, and with which body.

    Attributes:
        body: the body model that was posed.
        from_official: convention of the predicted shapes, see `BodyModel.adapt`.
        ground: put the people on the floor y = 0, around the origin; else the camera is at the
            origin.
        backdrop: add the photo to the GLB as a plane behind the people.
        bones: joint names of BVH files and rigged GLB files.
        extras: further files of a photo.
    """

    body: BodyModel
    from_official: bool
    ground: bool = False
    backdrop: bool = False
    bones: BoneStyle = "smplx"
    extras: frozenset[Extra] = frozenset()
