"""Heat maps of the keypoints on the tokens of the finest level, in training only.

A token that must predict a whole person learns slowly from random weights.  A heat map asks each
token only for what lies under it, so all parts of all people train at once, and telling left from
right trains the orientation of people.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aios.network.config import NUM_BODY_KEYPOINTS
from aios.network.outputs import EncodedImage

from ..data.batch import Batch
from .focal_loss import quality_focal_loss

CELLS = 4
"""Rows and columns of cells under each token."""
_SIGMA_SHARE = 0.05
"""Standard deviation of a peak, as a share of the square root of the box area."""
_MIN_SIGMA_CELLS = 0.8
_INITIAL_LOGIT = -4.0
_BOX_REACH = 0.55
_MIN_BOX_SIDE = 0.02


class HeatmapHead(nn.Module):
    """Heat maps from the tokens of the finest level."""

    def __init__(self, hidden_dim: int) -> None:
        """Start at a low probability everywhere.

        Args:
            hidden_dim: width of the tokens.
        """
        super().__init__()
        self.logits = nn.Linear(hidden_dim, NUM_BODY_KEYPOINTS * CELLS * CELLS)
        nn.init.constant_(self.logits.bias, _INITIAL_LOGIT)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, h, w, D) tokens -> logits (B, 17, h * CELLS, w * CELLS)."""
        batch, height, width, _ = tokens.shape
        cells = self.logits(tokens).unflatten(-1, (NUM_BODY_KEYPOINTS, CELLS, CELLS))
        # (B, h, w, 17, y, x) -> (B, 17, h, y, w, x)
        cells = cells.permute(0, 3, 1, 4, 2, 5)
        return cells.reshape(batch, NUM_BODY_KEYPOINTS, height * CELLS, width * CELLS)


def heatmap_targets(batch: Batch, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Target heat maps and the weight of each cell.

    Two kinds of cells have weight 0: those away from annotated people in images where not everyone
    is annotated, and, for a keypoint without annotation, those in the box of a person without
    SMPL-X annotation.

    Args:
        batch: P people in B images without padding.
        height: rows of the maps.
        width: columns of the maps.

    Returns:
        Heat and weight, (B, 17, height, width) each, 0-1.
    """
    people, device = batch.targets, batch.targets.boxes.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    centre, size = people.boxes.split(2, -1)
    side = (size[:, 0] * width * size[:, 1] * height).sqrt()
    sigma = (_SIGMA_SHARE * side).clamp(min=_MIN_SIGMA_CELLS)[:, None, None]
    points = people.keypoints_2d
    across = _gaussian((x - points[..., :1]) * width / sigma)
    down = _gaussian((y - points[..., 1:]) * height / sigma)
    visible = people.keypoints_visible > 0
    heat = _max_per_image(down[..., None] * (across * visible[..., None])[..., None, :], batch)
    columns = (x - centre[:, :1]).abs() < _BOX_REACH * size[:, :1].clamp(min=_MIN_BOX_SIDE)
    rows = (y - centre[:, 1:]).abs() < _BOX_REACH * size[:, 1:].clamp(min=_MIN_BOX_SIDE)
    inside = (rows[:, :, None] & columns[:, None]).float()
    unknown = (~visible & ~people.smplx_valid[:, None])[..., None, None] * inside[:, None]
    everyone_annotated = 1 - batch.ignore_unmatched[:, None, None].float()
    known = torch.maximum(_max_per_image(inside, batch), everyone_annotated)
    return heat, known[:, None] * (1 - _max_per_image(unknown, batch))


def heatmap_term(head: HeatmapHead, encoded: EncodedImage, batch: Batch) -> Tensor:
    """Quality focal loss of the maps divided by the number of visible keypoints; scalar."""
    height, width = encoded.spatial_shapes[0]
    tokens = encoded.memory[:, : height * width].unflatten(1, (height, width))
    logits = head(tokens)
    heat, weight = heatmap_targets(batch, height * CELLS, width * CELLS)
    visible = (batch.targets.keypoints_visible > 0).sum().clamp(min=1)
    return (quality_focal_loss(logits, heat) * weight).sum() / visible


def _gaussian(distance: Tensor) -> Tensor:
    return torch.exp(-0.5 * distance.square())


def _max_per_image(values: Tensor, batch: Batch) -> Tensor:
    """(P, ...) of people -> (B, ...), the maximum over each image's people, 0 without any."""
    empty = values.new_zeros(len(batch), *values.shape[1:])
    index = batch.image_index.view(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    return empty.scatter_reduce_(0, index, values, "amax")
