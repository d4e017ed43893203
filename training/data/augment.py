"""Augmentation of samples: windows and colours, with image and targets transformed together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh

from ..targets import Targets, inside, mirrorable
from .batch import Sample
from .mirror import flip, flip_targets

MIN_SOURCE_SCALE = 0.4
"""Minimum number of source pixels per output pixel: limits enlargement."""
MAX_WINDOW = 1.1
"""Maximum size of a window, in image sizes: limits the border."""


@dataclass(frozen=True)
class Framing:
    """How windows are resampled and which people are kept; defaults of the built-in recipe."""

    corner_aligned: bool = False
    """Output pixel x samples source pixel x / scale, as in `aios.network.preprocessing`; otherwise
    pixel centres are mapped."""
    smooth: bool = True
    """Blur before downscaling by a large factor."""
    kept_area: float = 0.2
    """A box is kept if more than this share of its area is inside the window."""
    smallest_side: float = 0.04
    """People whose longer box side is at most this share of the window are dropped."""


PHOTO_FRAMING = Framing(corner_aligned=True, smooth=False, kept_area=0.0, smallest_side=0.0)
"""Settings of full-size training: everyone who touches the window is kept."""


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges of the augmentation."""

    flip: float = 0.5
    person_share: tuple[float, float] = (0.28, 2.0)
    """Range of the size of the chosen person in the window; above 1 only a part of the person is
    visible, such as head and shoulders."""
    collage_person_share: tuple[float, float] = (0.5, 1.1)
    """The same for the tiles of a collage."""
    aspect_jitter: float = 0.15
    brightness: float = 0.2
    contrast: float = 0.2
    channel: float = 0.12
    grey: float = 0.04
    blur: float = 0.05
    noise: float = 4.0
    framing: Framing = Framing()


@dataclass(frozen=True)
class Window:
    """Rectangle in an image, in pixels; may extend beyond the image."""

    x: float
    y: float
    width: float
    height: float


_POINTS = {
    **{
        f"{part}keypoints_2d": f"{part}keypoints_visible"
        for part in ("", "left_hand_", "right_hand_", "face_")
    },
    "joints_2d": "joints_2d_visible",
}
"""2D point fields of `Targets` -> their visibility fields."""
_PARTS = ("left_hand", "right_hand", "face")


def _move_boxes(boxes: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (..., 4) clipped to the window, and the share (...) of their area inside."""
    size = boxes[..., 2:] * scale
    moved = torch.cat([mirrorable(boxes[..., :2] * scale + shift), size], -1)
    clipped = xyxy_to_cxcywh(cxcywh_to_xyxy(moved).clamp(0, 1))
    left = clipped[..., 2:].prod(-1) / size.prod(-1).clamp(min=1e-9)
    return torch.cat([mirrorable(clipped[..., :2]), clipped[..., 2:]], -1), left


_FRAMING = Framing()


def window_targets(
    targets: Targets, window: Window, size_wh: tuple[int, int], framing: Framing = _FRAMING
) -> Targets:
    """Targets normalised by `window`, without the people outside of it.

    Args:
        targets: normalised by an image of `size_wh` pixels.
        window: in pixels of that image.
        size_wh: width and height of that image.
        framing: selects the people that are kept.
    """
    size = torch.tensor(size_wh, dtype=torch.float32)
    extent = torch.tensor([[window.width, window.height]], dtype=torch.float32)
    corner = torch.tensor([[window.x, window.y]], dtype=torch.float32)
    moved, kept = transform_targets(targets, size / extent, -corner / extent, framing)
    return moved.select(kept)


def transform_targets(
    targets: Targets, scale: Tensor, shift: Tensor, framing: Framing = _FRAMING
) -> tuple[Targets, Tensor]:
    """Transform targets from images to windows, one window per person.

    Args:
        targets: P people, normalised by their image.
        scale: (P, 2) or (1, 2); a point p of the image is p * scale + shift in the window.
        shift: same shape as `scale`.
        framing: selects the people that are kept.

    Returns:
        Targets of all P people, and (P,) bool, True for people to be kept.
    """
    values: dict[str, Any] = {}
    # All boxes and all points at once: the number of calls dominates the run time.
    of_parts = [getattr(targets, f"{part}_boxes") for part in _PARTS]
    moved_boxes, shares = _move_boxes(torch.stack([targets.boxes, *of_parts]), shift, scale)
    boxes, left = moved_boxes[0], shares[0]
    values["boxes"] = boxes
    for part, moved, share in zip(_PARTS, moved_boxes[1:], shares[1:], strict=True):
        valid = getattr(targets, f"{part}_box_valid") & (share > framing.kept_area)
        values[f"{part}_boxes"], values[f"{part}_box_valid"] = moved, valid
    groups = [getattr(targets, name) for name in _POINTS]
    points = mirrorable(torch.cat(groups, 1) * scale[:, None] + shift[:, None])
    counts = [group.shape[1] for group in groups]
    shown = inside(points).float().split(counts, 1)
    for name, moved, seen in zip(_POINTS, points.split(counts, 1), shown, strict=True):
        values[name] = moved
        values[_POINTS[name]] = getattr(targets, _POINTS[name]) * seen
    enough = left > framing.kept_area
    enough &= boxes[:, 2:].max(-1).values > framing.smallest_side
    # The principal point leaves the centre, so a focal length alone does not describe the camera.
    return replace(targets, **values, focal_length=0.0), enough


Colour = tuple[float, float, float]


def warp_window(
    sample: Sample,
    window: Window,
    size_wh: tuple[int, int],
    border: Colour,
    framing: Framing = _FRAMING,
    mirrored: bool = False,
) -> Sample:
    """Resample a window to `size_wh` pixels, optionally flipped horizontally.

    Pixels outside the image get the colour `border`.
    """
    width, height = size_wh
    source_height, source_width = sample.picture.shape[:2]
    scale_x, scale_y = width / window.width, height / window.height
    # The matrix maps pixel indices; pixel centres are at the index plus one half.
    half = 0.0 if framing.corner_aligned else 0.5
    matrix = np.array(
        [
            [scale_x, 0, (half - window.x) * scale_x - half],
            [0, scale_y, (half - window.y) * scale_y - half],
        ]
    )
    if mirrored:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 2 * half
    source = sample.picture
    if framing.smooth and min(scale_x, scale_y) < 0.6:
        # Blur by the size of an output pixel against aliasing.
        sigma = 0.4 / min(scale_x, scale_y)
        source = cv2.GaussianBlur(source, (0, 0), sigma)
    picture = cv2.warpAffine(
        source,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )
    targets = window_targets(sample.targets, window, (source_width, source_height), framing)
    return Sample(picture, flip_targets(targets) if mirrored else targets)


def random_window(
    random: np.random.Generator,
    sample: Sample,
    size_wh: tuple[int, int],
    person_share: tuple[float, float],
    aspect_jitter: float,
) -> Window:
    """Random window around one person, or anywhere in an image without people.

    Args:
        random: random generator.
        sample: to be cropped.
        size_wh: size of the output image, which gives the aspect ratio.
        person_share: range of the size of the person in the window, subject to
            `MIN_SOURCE_SCALE` and `MAX_WINDOW`.
        aspect_jitter: maximum change of the logarithm of the aspect ratio.
    """
    source = np.array(sample.picture.shape[1::-1], float)
    aspect = size_wh[0] / size_wh[1] * np.exp(random.uniform(-1, 1) * aspect_jitter)
    whole = max(source[1], source[0] / aspect)
    boxes = sample.targets.boxes.numpy()
    if len(boxes):
        box = boxes[random.integers(len(boxes))] * np.tile(source, 2)
        extent = max(box[3], box[2] / aspect)
        height = extent / np.exp(random.uniform(*np.log(person_share)))
        centre, free = box[:2], 0.5
    else:
        height = whole / np.exp(random.uniform(0, 0.7))
        centre, free = source * random.uniform(0.2, 0.8, 2), 0.0
    height = np.clip(height, size_wh[1] * MIN_SOURCE_SCALE, whole * MAX_WINDOW)
    extents = np.array([height * aspect, height])
    if len(boxes):
        # Small people may be anywhere in the window; of large people any part may be shown.
        free = np.maximum(np.abs(1 - box[2:] / extents) / 2, 0.1)
    corner = centre - extents * (0.5 + random.uniform(-1, 1, 2) * free)
    # Inside the image if the window is smaller, around it if it is larger.
    low, high = np.minimum(source - extents, 0), np.maximum(source - extents, 0)
    corner = np.clip(corner, low, high)
    return Window(*corner.tolist(), *extents.tolist())


def jitter_colours(
    picture: np.ndarray, random: np.random.Generator, config: AugmentConfig
) -> np.ndarray:
    """Random brightness, contrast, channel gains, greyscale, blur and noise of (H, W, 3) uint8."""
    if random.random() < config.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.2))
    gain = 1 + random.uniform(-1, 1) * config.contrast
    gains = (gain * (1 + random.uniform(-1, 1, 3) * config.channel)).astype(np.float32)
    offset = np.float32(128 * (1 - gain) + 255 * random.uniform(-1, 1) * config.brightness * 0.5)
    grey = random.random() < config.grey
    noisy = config.noise > 0 and random.random() < 0.5
    if not grey and not noisy:
        # A lookup table of 256 levels is ten times faster than arithmetic on pixels.
        levels = np.arange(256, dtype=np.float32)[:, None] * gains + offset
        return cv2.LUT(picture, _to_uint8(levels)[None])
    values = picture.astype(np.float32) * gains + offset
    if grey:
        values[:] = values.mean(-1, keepdims=True)
    if noisy:
        noise = random.standard_normal(values.shape, dtype=np.float32)
        values += noise * np.float32(random.uniform(0, config.noise))
    return _to_uint8(values)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Round to the nearest of the levels 0-255; a bare cast would darken by half a level."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def augment(
    sample: Sample, random: np.random.Generator, size_wh: tuple[int, int], config: AugmentConfig
) -> Sample:
    """Randomly flip, crop and recolour a sample to `size_wh`."""
    if random.random() < config.flip:
        sample = flip(sample)
    window = random_window(random, sample, size_wh, config.person_share, config.aspect_jitter)
    red, green, blue = sample.picture[::8, ::8].mean((0, 1)).tolist()
    shown = warp_window(sample, window, size_wh, (red, green, blue), config.framing)
    return Sample(jitter_colours(shown.picture, random, config), shown.targets)
