"""Windows around people for a whole batch of drawn scenes at once, on the device that drew them.

The same as `augment.random_window` and `augment.show_window` do for one sample on the CPU, but for
the mirror, which scenes do not need: each is seen in one batch only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..synthetic.rng import CounterRng, constant
from .augment import MOST_BORDER, MOST_ENLARGED, AugmentConfig, moved_targets
from .batch import Batch

_FREE_BORDER = 0.1


@dataclass(frozen=True)
class Windows:
    """One part of each of B pictures, in its pixels; may reach beyond it."""

    corner: Tensor
    """(B, 2) x, y."""
    extent: Tensor
    """(B, 2) width, height."""


def framed(rng: CounterRng, batch: Batch, size_wh: tuple[int, int], config: AugmentConfig) -> Batch:
    """Each picture's window around one of its people as a picture of `size_wh`.

    Args:
        rng: one key a picture, on the batch's device.
        batch: without padding.
        size_wh: pixels of the new pictures.
        config: how much of a window a person fills, and who is kept.
    """
    windows = _draw_windows(rng.child("window"), batch, size_wh, config)
    height, width = batch.size_hw
    size = constant((width, height), windows.extent.device)
    scale, shift = size / windows.extent, -windows.corner / windows.extent
    index = batch.image_index
    targets, enough = moved_targets(batch.targets, scale[index], shift[index], config.framing)
    kept = torch.nonzero(enough)[:, 0]
    return replace(
        batch,
        pictures=_shown(batch.pictures, windows, size_wh),
        sizes_hw=torch.tensor([size_wh[::-1]]).expand(len(batch), 2),
        targets=targets.select(kept),
        image_index=index[kept],
    )


def _draw_windows(
    rng: CounterRng, batch: Batch, size_wh: tuple[int, int], config: AugmentConfig
) -> Windows:
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
    tall = torch.minimum(tall.clamp_min(size_wh[1] * MOST_ENLARGED), whole * MOST_BORDER)
    extents = torch.stack([tall * aspect, tall], 1)
    centre = torch.where(
        found[:, None], centre, source * rng.uniform("centre", 2, low=0.2, high=0.8)
    )
    # Beside who is smaller than the window; of who is larger, anything from head to feet.
    free = ((1 - size / extents).abs() / 2).clamp_min(_FREE_BORDER) * found[:, None]
    corner = centre - extents * (0.5 + rng.uniform("moved", 2, low=-1, high=1) * free)
    # Inside the picture where it fits, around it where it does not.
    low, high = (source - extents).clamp_max(0), (source - extents).clamp_min(0)
    return Windows(torch.minimum(torch.maximum(corner, low), high), extents)


def _one_person(rng: CounterRng, batch: Batch) -> tuple[Tensor, Tensor]:
    """A box (B, 4) of each picture, drawn by chance, and (B,) bool: there is one."""
    index, boxes = batch.image_index, batch.targets.boxes
    pictures = torch.arange(len(batch), device=index.device)
    first = torch.searchsorted(index, pictures)
    count = torch.searchsorted(index, pictures, right=True) - first
    if not len(boxes):
        return boxes.new_ones(len(batch), 4), count > 0
    chosen = first + (rng.uniform("person") * count).long()
    return boxes[chosen.clamp_max(len(boxes) - 1)], count > 0


def _shown(pictures: Tensor, windows: Windows, size_wh: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) uint8; beyond a picture is its mean colour."""
    height, width = pictures.shape[2:]
    size = constant((width, height), pictures.device)
    # Both from -1 to 1: a place q of the window lies at q * scale + middle of the picture.
    scale = windows.extent / size
    middle = (2 * windows.corner + windows.extent) / size - 1
    matrices = torch.cat([torch.diag_embed(scale), middle[..., None]], -1)
    places = F.affine_grid(
        matrices, [len(pictures), 3, size_wh[1], size_wh[0]], align_corners=False
    )
    values = pictures.float()
    colour = values[..., ::8, ::8].mean((2, 3), keepdim=True)
    shown = F.grid_sample(values - colour, places, align_corners=False) + colour
    return (shown + 0.5).clamp(0, 255).to(torch.uint8)
