"""Assets shared by all scenes of a generator."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .body_texture import BodyTexture
from .contacts import ContactPoints
from .mocap import MocapLibrary
from .surface import BodySurface


@dataclass(frozen=True)
class SceneAssets:
    """Objects that are built once per generator.

    Attributes:
        body: the stand-in body; its device is the device of all tensors.
        contact_points: contact points of the body.
        texture: procedural texture of the body.
        size_hw: image size, pixels.
        photos: (n, 3, 288, 288) uint8 background photos, or None.
        test: use clips, patterns and textures of the test set.
        time_s: time within every pose clip, seconds; None samples a random moment.
        mocap: motion-capture poses, or None.
    """

    body: BodySurface
    contact_points: ContactPoints
    texture: BodyTexture
    size_hw: tuple[int, int]
    photos: Tensor | None
    test: bool
    time_s: float | None = None
    mocap: MocapLibrary | None = None
