"""Keypoint maps of MoveNet multipose (Google, 2021), and keypoints moved to their peaks.

The maps are those of CenterNet (Zhou et al., 2019): for each keypoint a heat map, and the offset of
the keypoint from the cell. Decoder tokens say which person a peak belongs to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NUM_BODY_KEYPOINTS, PyramidConfig
from .feature_pyramid import SeparableConv
from .outputs import EncodedImage, KeypointMaps, LayerOutput

_REACH = 0.15
"""Standard deviation of peaks around the predicted keypoint, in longer sides of the person's box;
chosen on photos."""
_MIN_REACH = 1.0  # cells
_MARGIN = 0.1
"""Peaks lie in the person's box or within this many longer sides of it."""
_MIN_PEAK = 0.05
"""Keypoints whose peak, times the closeness to the predicted keypoint, is lower do not move."""


class KeypointHeads(nn.Module):
    """Heat maps and offsets of the 17 body keypoints."""

    def __init__(self, config: PyramidConfig, cells: int) -> None:
        """Two heads over the finest map of the pyramid.

        Args:
            config: widths.
            cells: of the finest map, along each side of a cell of the backbone's first map.
        """
        super().__init__()
        self._cells = cells
        self._channels = config.widths[-1]
        self.heat = _head(self._channels, config.keypoint_width, NUM_BODY_KEYPOINTS)
        self.offsets = _head(self._channels, config.keypoint_width, 2 * NUM_BODY_KEYPOINTS)

    def forward(self, features: Tensor) -> KeypointMaps:
        """Maps of a batch.

        Args:
            features: (B, C, h, w) the backbone's first map, whose last channels are the cells of
                the pyramid's finest map, see `feature_pyramid.to_stride`.
        """
        last = features[:, -self._channels * self._cells**2 :].float()
        finest = F.pixel_shuffle(last, self._cells)
        offsets = self.offsets(finest).unflatten(1, (NUM_BODY_KEYPOINTS, 2))
        return KeypointMaps(self.heat(finest), offsets.flip(2))


def _head(channels: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(SeparableConv(channels, width), nn.Conv2d(width, out, 1))


def move_to_peaks(output: LayerOutput, encoded: EncodedImage) -> LayerOutput:
    """Move body keypoints to the peaks of the keypoint maps near them.

    Args:
        output: of the last decoder layer.
        encoded: the image, with keypoint maps; without, nothing changes.

    Returns:
        Output with new `keypoints_2d`, and with `keypoint_scores`.
    """
    maps = encoded.keypoint_maps
    if maps is None or output.keypoints_2d is None:
        return output
    height, width = maps.log_heat.shape[-2:]
    extent = encoded.valid_ratios[:, 0] * encoded.valid_ratios.new_tensor([width, height])
    moved = [
        _peaks(
            maps.log_heat[i], maps.offsets[i], output.keypoints_2d[i], output.boxes[i], extent[i]
        )
        for i in range(len(extent))
    ]
    keypoints, scores = (torch.stack(each) for each in zip(*moved, strict=True))
    return replace(output, keypoints_2d=keypoints, keypoint_scores=scores)


@dataclass(frozen=True)
class _Axis:
    """Distances of cells from keypoints along one axis."""

    penalty: Tensor
    """(P, K, cells) squared distances in standard deviations; infinite away from the box."""

    @classmethod
    def of(cls, points: Tensor, low: Tensor, high: Tensor, reach: Tensor, cells: int) -> _Axis:
        """From keypoints (P, K), ends of the boxes (P,) and the standard deviation (P,)."""
        position = torch.arange(cells, device=points.device, dtype=points.dtype)
        squared = ((position - points[..., None]) / reach[:, None, None]).square()
        outside = (position < low[:, None]) | (position > high[:, None])
        return cls(squared.masked_fill(outside[:, None], torch.inf))


def _peaks(
    log_heat: Tensor, offsets: Tensor, points: Tensor, boxes: Tensor, extent: Tensor
) -> tuple[Tensor, Tensor]:
    """Keypoints (P, K, 2) at the peaks, 0-1, and heat (P, K) there, of one image."""
    height, width = log_heat.shape[-2:]
    cells, box = points * extent, boxes * extent.repeat(2)
    longer = box[:, 2:].amax(1)
    reach = (_REACH * longer).clamp_min(_MIN_REACH)
    margin = (_MARGIN * longer)[:, None]
    low, high = box[:, :2] - box[:, 2:] / 2 - margin, box[:, :2] + box[:, 2:] / 2 + margin
    x = _Axis.of(cells[..., 0], low[:, 0], high[:, 0], reach, width)
    y = _Axis.of(cells[..., 1], low[:, 1], high[:, 1], reach, height)
    value = log_heat - 0.5 * (x.penalty[:, :, None, :] + y.penalty[..., None])
    best, index = value.flatten(2).max(-1)
    column, row = index % width, index.div(width, rounding_mode="floor")
    keypoint = torch.arange(points.shape[1], device=points.device)
    scores = log_heat[keypoint, row, column].exp()
    peak = torch.stack([column, row], -1) + offsets[keypoint, :, row, column]
    found = (best > math.log(_MIN_PEAK))[..., None]
    moved = torch.where(found, peak / extent, points)
    return moved, scores
