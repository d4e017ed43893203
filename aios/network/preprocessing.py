"""From a photo to the network's input and back (specification section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry.constants import constant_tensor
from .config import ImageConfig


@dataclass(frozen=True)
class ImageBatch:
    """Normalised images, zero-padded right and bottom to one size.

    Attributes:
        pixels: (B, 3, H, W) float, RGB minus mean over std.
        padding_mask: (B, H, W) bool, True on padding; None when nothing is padded.
        sizes_hw: (B, 2) int64, height and width without padding.
    """

    pixels: Tensor
    padding_mask: Tensor | None
    sizes_hw: Tensor

    def to(self, device: torch.device | str) -> ImageBatch:
        """The same batch on another device."""
        mask = None if self.padding_mask is None else self.padding_mask.to(device)
        return ImageBatch(self.pixels.to(device), mask, self.sizes_hw.to(device))


def resized_size(width: int, height: int, config: ImageConfig) -> tuple[int, int]:
    """Width and height of the network input for a photo of `width` x `height`.

    The short side becomes `short_side`, less where the long side would pass `long_side`; then both
    become the nearest multiples of `multiple`.
    """
    new_width, new_height = _in_proportion(width, height, config)
    step = config.multiple
    return max(round(new_width / step), 1) * step, max(round(new_height / step), 1) * step


def _in_proportion(width: int, height: int, config: ImageConfig) -> tuple[int, int]:
    short, long = min(width, height), max(width, height)
    side = config.short_side
    if long / short * side > config.long_side:
        side = max(round(config.long_side * short / long), 1)
    if short == side:
        return width, height
    other = max(int(side * long / short), 1)
    return (side, other) if width <= height else (other, side)


def _axis_weights(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Index of the lower source pixel and weight of the upper one, for each output pixel."""
    position = torch.arange(target, dtype=torch.float64, device=device) * (source / target)
    low = position.floor()
    return low.long(), (position - low).float()


def resize_corner_aligned(photo: Tensor, width: int, height: int) -> Tensor:
    """Bilinear resize in which output pixel x samples source coordinate x * w / ow.

    No half-pixel shift and no smoothing; past the last pixel centre the photo blends with black.
    That is what AiOS was trained with (specification section 2.2).  The same numbers on every
    device.

    Args:
        photo: (h, w, 3) uint8.
        width: of the result.
        height: of the result.

    Returns:
        (height, width, 3) float32, 0-255.
    """
    h, w = photo.shape[:2]
    column, right = _axis_weights(w, width, photo.device)
    line, down = _axis_weights(h, height, photo.device)
    padded = F.pad(photo, (0, 0, 0, 1, 0, 1))
    rows = padded.index_select(0, line).float()
    rows += (padded.index_select(0, line + 1) - rows).mul_(down[:, None, None])
    result = rows.index_select(1, column)
    result += rows.index_select(1, column + 1).sub_(result).mul_(right[:, None])
    return result.clamp_(0.0, 255.0)


def prepare_photo(
    photo: np.ndarray, config: ImageConfig, device: torch.device | str = "cpu"
) -> Tensor:
    """Resize and normalise one photo.

    Args:
        photo: (h, w, 3) RGB uint8.
        config: sizes, mean and standard deviation.
        device: where to; the photo goes there as it is, a quarter of the bytes of floats.

    Returns:
        (3, H, W) float32 on `device`.
    """
    height, width = photo.shape[:2]
    new_width, new_height = resized_size(width, height, config)
    writable = photo if photo.flags.writeable else photo.copy()
    whole = torch.from_numpy(np.ascontiguousarray(writable))
    if torch.device(device).type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    if (new_width, new_height) == (width, height):
        resized = whole.float()
    else:
        resized = resize_corner_aligned(whole, new_width, new_height)
    pixels = resized.permute(2, 0, 1).contiguous()
    mean, std = (
        constant_tensor(tuple(values), torch.float32, pixels.device)[:, None, None]
        for values in (config.mean, config.std)
    )
    return pixels.sub_(mean).div_(std)


def batch_images(images: list[Tensor]) -> ImageBatch:
    """Pad images (3, h, w) with zeros, right and bottom, to the largest of them."""
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
