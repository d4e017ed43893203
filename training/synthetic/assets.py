"""What all scenes of one seed share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .body_texture import BodyTexture
from .contacts import ContactPoints
from .surface import BodySurface


@dataclass(frozen=True)
class SceneAssets:
    """Everything that is made once.

    Attributes:
        body: the stand-in body; all tensors lie on its device.
        places: its touchable points.
        paint: what colours it.
        size_hw: pixels of the pictures.
        photos: (n, 3, 288, 288) uint8 to stand before, or none.
        test: clips, patterns and textures of the test set.
        time_s: seconds that everyone has gone on with their clip; None: caught anywhere in it.
    """

    body: BodySurface
    places: ContactPoints
    paint: BodyTexture
    size_hw: tuple[int, int]
    photos: Tensor | None
    test: bool
    time_s: float | None = None
