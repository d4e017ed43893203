"""Settings of the exporters."""

from __future__ import annotations

from dataclasses import dataclass

from ..body.model import BodyModel


@dataclass(frozen=True)
class ExportSettings:
    """What to export, and with which body.

    Attributes:
        body: the body model that was posed.
        from_official: convention of the predicted shapes, see `BodyModel.adapt`.
        ground: put the people on the floor y = 0, around the origin; else the camera of the photo
            is at the origin.
        backdrop: add the photo to the GLB as a plane behind the people.
    """

    body: BodyModel
    from_official: bool
    ground: bool = False
    backdrop: bool = False
