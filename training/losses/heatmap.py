"""Heat maps of the keypoints on the finest tokens; they exist only in training.

A token that must say where all of a person is learns slowly from nothing.  A heat map asks every
token only what lies under it, so all parts of all people teach at once, and telling left from
right teaches which way people face.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aios.network.config import NUM_BODY_KEYPOINTS
from aios.network.outputs import EncodedImage

from ..data.batch import Batch
from .functions import quality_focal_loss

CELLS = 4
"""Each token answers for so many cells across and down."""
_SPREAD = 0.05
_LEAST_SPREAD = 0.8
_RARE_LOGIT = -4.0
_REACH = 0.55


class HeatHead(nn.Module):
    """Heat maps from the tokens of the finest level."""

    def __init__(self, width: int) -> None:
        """`width` of the tokens."""
        super().__init__()
        self.logits = nn.Linear(width, NUM_BODY_KEYPOINTS * CELLS * CELLS)
        nn.init.constant_(self.logits.bias, _RARE_LOGIT)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, h, w, D) tokens -> logits (B, 17, h * CELLS, w * CELLS)."""
        batch, height, width, _ = tokens.shape
        cells = self.logits(tokens).unflatten(-1, (NUM_BODY_KEYPOINTS, CELLS, CELLS))
        # (B, h, w, 17, y, x) -> (B, 17, h, y, w, x)
        cells = cells.permute(0, 3, 1, 4, 2, 5)
        return cells.reshape(batch, NUM_BODY_KEYPOINTS, height * CELLS, width * CELLS)


def heat_targets(batch: Batch, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What the maps should show, and where they are told.

    Cells away from everyone annotated are left out in pictures that may show others, and so are
    keypoints that nobody annotated within the boxes of people of whom nothing else is known.

    Args:
        batch: P people in B pictures, without padding.
        height: cells of the maps.
        width: likewise.

    Returns:
        Heat and weight, both (B, 17, height, width) in 0-1.
    """
    people, device = batch.targets, batch.targets.boxes.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    centre, size = people.boxes.split(2, -1)
    side = (size[:, 0] * width * size[:, 1] * height).sqrt()
    spread = (_SPREAD * side).clamp(min=_LEAST_SPREAD)[:, None, None]
    points = people.keypoints_2d
    across = _bell((x - points[..., :1]) * width / spread)
    down = _bell((y - points[..., 1:]) * height / spread)
    seen = people.keypoints_visible > 0
    heat = _most(down[..., None] * (across * seen[..., None])[..., None, :], batch)
    columns = (x - centre[:, :1]).abs() < _REACH * size[:, :1].clamp(min=0.02)
    rows = (y - centre[:, 1:]).abs() < _REACH * size[:, 1:].clamp(min=0.02)
    inside = (rows[:, :, None] & columns[:, None]).float()
    untold = (~seen & ~people.smplx_valid[:, None])[..., None, None] * inside[:, None]
    told = torch.maximum(_most(inside, batch), 1 - batch.ignore_unmatched[:, None, None].float())
    return heat, told[:, None] * (1 - _most(untold, batch))


def heat_term(head: HeatHead, encoded: EncodedImage, batch: Batch) -> Tensor:
    """Focal loss of the maps over the number of keypoints in the pictures; one number."""
    height, width = encoded.spatial_shapes[0]
    tokens = encoded.memory[:, : height * width].unflatten(1, (height, width))
    logits = head(tokens)
    heat, weight = heat_targets(batch, height * CELLS, width * CELLS)
    known = (batch.targets.keypoints_visible > 0).sum().clamp(min=1)
    return (quality_focal_loss(logits, heat) * weight).sum() / known


def _bell(distance: Tensor) -> Tensor:
    return torch.exp(-0.5 * distance.square())


def _most(values: Tensor, batch: Batch) -> Tensor:
    """(P, ...) of people -> (B, ...), the greatest of those in each picture, 0 without any."""
    empty = values.new_zeros(len(batch), *values.shape[1:])
    index = batch.image_index.view(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    return empty.scatter_reduce_(0, index, values, "amax")
