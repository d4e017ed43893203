"""Losses of the backbone's keypoint maps (`aios.network.keypoint_maps`).

Where everyone is annotated, as in scenes, the maps learn from the annotations. Elsewhere they keep
to those of a teacher, the backbone that the run started from, so that training on scenes does not
make them forget photos (Li and Hoiem, Learning without Forgetting, ECCV 2016).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aios.network.outputs import KeypointMaps

from ..data.batch import Batch
from .focal_loss import quality_focal_loss
from .heatmap import heatmap_targets

_PEAK = 0.3
"""Least heat of the cells whose offsets are kept."""
_AROUND = (-1, 0, 1)
"""Rows and columns of cells around a keypoint's cell that learn its offset."""


def keypoint_map_terms(
    maps: KeypointMaps, batch: Batch, kept: KeypointMaps | None = None
) -> dict[str, Tensor]:
    """Unweighted losses of the maps, scalars.

    Args:
        maps: of the backbone in training.
        batch: B images without padding.
        kept: maps of the teacher for the images in `batch.ignore_unmatched`, (B', ...); None
            trains these images on their annotations too.

    Returns:
        map_heat: quality focal loss of the heat, by visible keypoint.
        map_offset: distance of the offsets in cells along one axis, by visible keypoint.
        map_kept: divergence of the heat from `kept` by its sum, plus distance of the offsets.
    """
    taught = batch.ignore_unmatched
    learned = torch.ones_like(taught) if kept is None else ~taught
    height, width = maps.heat_logits.shape[-2:]
    heat, weight = heatmap_targets(batch, height, width)
    weight = weight * learned[:, None, None, None]
    people = batch.targets
    visible = (people.keypoints_visible > 0) & learned[batch.image_index][:, None]
    divisor = visible.sum().clamp(min=1)
    terms = {
        "map_heat": (quality_focal_loss(maps.heat_logits, heat) * weight).sum() / divisor,
        "map_offset": _offset_term(maps.offsets, batch, visible) / divisor,
    }
    if kept is not None:
        heat_logits, offsets = maps.heat_logits[taught], maps.offsets[taught]
        terms["map_kept"] = _kept_term(KeypointMaps(heat_logits, offsets), kept)
    return terms


def _offset_term(offsets: Tensor, batch: Batch, visible: Tensor) -> Tensor:
    """Sum over the visible keypoints of the mean distance in the cells around each."""
    height, width = offsets.shape[-2:]
    points = batch.targets.keypoints_2d * offsets.new_tensor([width, height])
    around = torch.tensor(_AROUND, device=offsets.device)
    cells = torch.stack(torch.meshgrid(around, around, indexing="xy"), -1).flatten(0, 1)
    cells = points.floor().long()[:, :, None] + cells
    inside = ((cells >= 0) & (cells < cells.new_tensor([width, height]))).all(-1)
    inside &= visible[..., None]
    person, keypoint, _ = inside.nonzero(as_tuple=True)
    column, row = cells[inside].unbind(-1)
    wanted = points[person, keypoint] - torch.stack([column, row], -1)
    found = offsets[batch.image_index[person], keypoint, :, row, column]
    return (found - wanted).abs().sum() / (2 * len(_AROUND) ** 2)


def _kept_term(maps: KeypointMaps, kept: KeypointMaps) -> Tensor:
    """Kullback-Leibler divergence of the heat by its sum, and mean distance of the offsets."""
    target = kept.heat_logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(kept.heat_logits, target, reduction="none")
    cross = F.binary_cross_entropy_with_logits(maps.heat_logits, target, reduction="none")
    divergence = (cross - entropy).sum() / target.sum().clamp(min=1)
    peak = (target > _PEAK)[:, :, None]
    distance = ((maps.offsets - kept.offsets).abs() * peak).sum() / (2 * peak.sum()).clamp(min=1)
    return divergence + distance
