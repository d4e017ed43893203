"""Random windows around people for a whole batch of rendered scenes, on their device.

The batched form of `augment.random_window` and `augment.warp_window`, without the flip: each scene
is used in one batch only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..synthetic.rng import CounterRng, constant
from .augment import MAX_WINDOW, MIN_SOURCE_SCALE, AugmentConfig, transform_targets
from .batch import Batch

_FREE_BORDER = 0.1


@dataclass(frozen=True)
class Windows:
    """One window in each of B images, in its pixels; may extend beyond the image."""

    corner: Tensor
    """(B, 2) x, y."""
    extent: Tensor
    """(B, 2) width, height."""


def crop_windows(
    rng: CounterRng, batch: Batch, size_wh: tuple[int, int], config: AugmentConfig
) -> Batch:
    """Crop a random window around one person of each image, resized to `size_wh`.

    Args:
        rng: one key per image, on the device of the batch.
        batch: without padding.
        size_wh: size of the cropped images in pixels.
        config: size of people in the windows, and which people are kept.
    """
    windows = random_windows(rng.child("window"), batch, size_wh, config)
    height, width = batch.size_hw
    size = constant((width, height), windows.extent.device)
    scale, shift = size / windows.extent, -windows.corner / windows.extent
    index = batch.image_index
    targets, visible = transform_targets(batch.targets, scale[index], shift[index], config.framing)
    kept = torch.nonzero(visible)[:, 0]
    return replace(
        batch,
        pictures=warp_windows(batch.pictures, windows, size_wh),
        sizes_hw=torch.tensor([size_wh[::-1]]).expand(len(batch), 2),
        targets=targets.select(kept),
        image_index=index[kept],
    )


def random_windows(
    rng: CounterRng, batch: Batch, size_wh: tuple[int, int], config: AugmentConfig
) -> Windows:
    """Random window around one person of each image, see `augment.random_window`."""
    height, width = batch.size_hw
    source = constant((width, height), batch.pictures.device)
    jitter = config.aspect_jitter
    aspect = size_wh[0] / size_wh[1] * rng.uniform("aspect", low=-jitter, high=jitter).exp()
    whole = torch.maximum(source[1], source[0] / aspect)
    box, found = _one_person(rng, batch)
    centre, size = box[:, :2] * source, box[:, 2:] * source
    extent = torch.maximum(size[:, 1], size[:, 0] / aspect)
    least, most = (math.log(share) for share in config.person_share)
    around = extent / rng.uniform("share", low=least, high=most).exp()
    anywhere = whole / rng.uniform("part", high=0.7).exp()
    tall = torch.where(found, around, anywhere)
    tall = torch.minimum(tall.clamp_min(size_wh[1] * MIN_SOURCE_SCALE), whole * MAX_WINDOW)
    extents = torch.stack([tall * aspect, tall], 1)
    centre = torch.where(
        found[:, None], centre, source * rng.uniform("centre", 2, low=0.2, high=0.8)
    )
    # Small people may be anywhere in the window; of large people any part may be shown.
    free = ((1 - size / extents).abs() / 2).clamp_min(_FREE_BORDER) * found[:, None]
    corner = centre - extents * (0.5 + rng.uniform("moved", 2, low=-1, high=1) * free)
    # Inside the image if the window is smaller, around it if it is larger.
    low, high = (source - extents).clamp_max(0), (source - extents).clamp_min(0)
    return Windows(torch.minimum(torch.maximum(corner, low), high), extents)


def _one_person(rng: CounterRng, batch: Batch) -> tuple[Tensor, Tensor]:
    """Box (B, 4) of a random person of each image, and (B,) bool, True if there are people."""
    index, boxes = batch.image_index, batch.targets.boxes
    pictures = torch.arange(len(batch), device=index.device)
    first = torch.searchsorted(index, pictures)
    count = torch.searchsorted(index, pictures, right=True) - first
    if not len(boxes):
        return boxes.new_ones(len(batch), 4), count > 0
    chosen = first + (rng.uniform("person") * count).long()
    return boxes[chosen.clamp_max(len(boxes) - 1)], count > 0


def warp_windows(pictures: Tensor, windows: Windows, size_wh: tuple[int, int]) -> Tensor:
    """Warp images to (B, 3, h, w) uint8; outside an image is its mean colour."""
    height, width = pictures.shape[2:]
    size = constant((width, height), pictures.device)
    # In coordinates from -1 to 1, q in the window is q * scale + centre in the image.
    scale = windows.extent / size
    centre = (2 * windows.corner + windows.extent) / size - 1
    matrices = torch.cat([torch.diag_embed(scale), centre[..., None]], -1)
    grid = F.affine_grid(matrices, [len(pictures), 3, size_wh[1], size_wh[0]], align_corners=False)
    values = pictures.float()
    colour = values[..., ::8, ::8].mean((2, 3), keepdim=True)
    warped = F.grid_sample(values - colour, grid, align_corners=False) + colour
    return (warped + 0.5).clamp(0, 255).to(torch.uint8)
