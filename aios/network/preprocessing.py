"""Photo -> network input: resize, padding, normalisation, and the map back to the photo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry.camera import Camera
from ..geometry.constants import constant_tensor
from .config import ImageConfig

_ROUNDING = 1e-6
"""Tolerance in input pixels for positions on the edge of the photo."""
_COLOUR_STEP = 8
"""Rows and columns of the photo from which the mean colour is taken."""


@dataclass(frozen=True)
class ImageBatch:
    """Normalised images, zero-padded at the right and bottom to one size.

    Attributes:
        pixels: (B, 3, H, W) float, RGB minus mean over std.
        padding_mask: (B, H, W) bool, True on padding; None if all images have one size.
        sizes_hw: (B, 2) int64, height and width without padding.
    """

    pixels: Tensor
    padding_mask: Tensor | None
    sizes_hw: Tensor

    def to(self, device: torch.device | str) -> ImageBatch:
        """Copy on another device."""
        mask = None if self.padding_mask is None else self.padding_mask.to(device)
        return ImageBatch(self.pixels.to(device), mask, self.sizes_hw.to(device))


@dataclass(frozen=True)
class PhotoPlacement:
    """Position of a photo in the network input: photo_px = origin + step * input_px.

    Attributes:
        photo_wh: pixels of the photo.
        input_wh: pixels of the network input.
        step: (x, y) photo pixels per input pixel.
        origin: (x, y) photo pixels of the top left corner of the input; negative if padded there.
    """

    photo_wh: tuple[int, int]
    input_wh: tuple[int, int]
    step: tuple[float, float]
    origin: tuple[float, float]

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the network input in photo pixels, with its padding."""
        return self.input_wh[0] * self.step[0], self.input_wh[1] * self.step[1]

    def camera(self, focal_length: float) -> Camera:
        """Camera of the photo for the network's camera, with `focal_length` in input pixels.

        Both have the principal point in the middle of photo and input.
        """
        width, height = self.photo_wh
        return Camera(focal_length * self.step[0], (width / 2, height / 2), width, height)


def place_photo(width: int, height: int, config: ImageConfig) -> PhotoPlacement:
    """Choose size of and position in the network input for a photo of `width` x `height`.

    The short side becomes `short_side`, or less if the long side would exceed `long_side`.  With a
    `multiple` above 1, both sides of the input are rounded to multiples, and the photo is scaled
    equally in x and y to fit, centred, with padding on both sides of one axis.  Else the photo
    fills the input, whose sides are rounded to whole pixels, as in the released network.
    """
    resized = _proportional_size(width, height, config)
    if config.multiple == 1:
        steps = (width / resized[0], height / resized[1])
        return PhotoPlacement((width, height), resized, steps, (0.0, 0.0))
    columns, rows = (max(round(side / config.multiple), 1) * config.multiple for side in resized)
    step = max(width / columns, height / rows)
    origin = ((width - columns * step) / 2, (height - rows * step) / 2)
    return PhotoPlacement((width, height), (columns, rows), (step, step), origin)


def _proportional_size(width: int, height: int, config: ImageConfig) -> tuple[int, int]:
    short, long = min(width, height), max(width, height)
    side = config.short_side
    if long / short * side > config.long_side:
        side = max(round(config.long_side * short / long), 1)
    if short == side:
        return width, height
    other = max(int(side * long / short), 1)
    return (side, other) if width <= height else (other, side)


def resize_corner_aligned(photo: Tensor, placement: PhotoPlacement) -> Tensor:
    """Bilinear resize in which input pixel x samples photo pixel origin + x * step.

    No half-pixel shift and no smoothing; beyond the last pixel centre the photo blends with black.
    The released network was trained with this resize.  Results are equal on all devices.

    Args:
        photo: (h, w, 3) uint8.
        placement: of the photo.

    Returns:
        (height, width, 3) float32, 0-255: the input pixels that the photo covers, without padding.
    """
    (column, right), (line, down) = (_samples(placement, axis, photo.device) for axis in (0, 1))
    bordered = F.pad(photo, (0, 0, 0, 1, 0, 1))
    rows = bordered.index_select(0, line).float()
    rows += (bordered.index_select(0, line + 1) - rows).mul_(down[:, None, None])
    result = rows.index_select(1, column)
    result += rows.index_select(1, column + 1).sub_(result).mul_(right[:, None])
    return result.clamp_(0.0, 255.0)


def _covered(placement: PhotoPlacement, axis: int) -> tuple[int, int]:
    """Input pixels [first, last) with 0 <= origin + pixel * step < size of the photo."""
    step, origin = placement.step[axis], placement.origin[axis]
    first = math.ceil(-origin / step - _ROUNDING)
    last = math.ceil((placement.photo_wh[axis] - origin) / step - _ROUNDING)
    return first, min(last, placement.input_wh[axis])


def _samples(placement: PhotoPlacement, axis: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Index of the lower photo pixel and weight of the upper one, for each covered pixel."""
    index = torch.arange(*_covered(placement, axis), dtype=torch.float64, device=device)
    position = (index * placement.step[axis] + placement.origin[axis]).clamp_(min=0)
    low = position.floor()
    return low.long(), (position - low).float()


def prepare_photo(
    photo: np.ndarray, config: ImageConfig, device: torch.device | str = "cpu"
) -> Tensor:
    """Resize, normalise and pad one photo, see `place_photo`.

    Args:
        photo: (h, w, 3) RGB uint8.
        config: sizes, mean and standard deviation.
        device: device of the result; the photo is copied to it as uint8.

    Returns:
        (3, H, W) float32 on `device`; padding has the mean colour of the photo.
    """
    height, width = photo.shape[:2]
    placement = place_photo(width, height, config)
    writable = photo if photo.flags.writeable else photo.copy()
    whole = torch.from_numpy(np.ascontiguousarray(writable))
    if torch.device(device).type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    if placement.input_wh == (width, height):
        resized = whole.float()
    else:
        resized = resize_corner_aligned(whole, placement)
    pixels = resized.permute(2, 0, 1).contiguous()
    mean, std = (
        constant_tensor(tuple(values), torch.float32, pixels.device)[:, None, None]
        for values in (config.mean, config.std)
    )
    pixels.sub_(mean).div_(std)
    (left, right), (top, bottom) = (_covered(placement, axis) for axis in (0, 1))
    columns, rows = placement.input_wh
    if (right - left, bottom - top) == (columns, rows):
        return pixels
    # Training fills windows that reach beyond a picture with the same colour.
    colour = whole[::_COLOUR_STEP, ::_COLOUR_STEP].float().mean((0, 1))[:, None, None]
    padded = colour.sub(mean).div(std).expand(3, rows, columns).clone()
    padded[:, top:bottom, left:right] = pixels
    return padded


def batch_images(images: list[Tensor]) -> ImageBatch:
    """Pad images (3, h, w) with zeros, at the right and bottom, to the largest height and width."""
    sizes = torch.tensor([image.shape[-2:] for image in images])
    height, width = sizes.max(0).values.tolist()
    if bool((sizes == sizes[0]).all()):
        return ImageBatch(torch.stack(images), None, sizes)
    pixels = images[0].new_zeros(len(images), 3, height, width)
    mask = torch.ones(len(images), height, width, dtype=torch.bool)
    for index, image in enumerate(images):
        h, w = image.shape[-2:]
        pixels[index, :, :h, :w] = image
        mask[index, :h, :w] = False
    return ImageBatch(pixels, mask.to(pixels.device), sizes)
