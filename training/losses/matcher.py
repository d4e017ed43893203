"""One-to-one assignment of predictions to people (training specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .functions import (
    BODY_OKS_SIGMAS,
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    box_giou,
    object_keypoint_similarity,
    points_l1,
    vector_l1,
)

_LOG_EPS = 1e-8


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of the cost; the defaults are those of paper and released program.

    Where an output has keypoints, box and GIoU do not count unless `box_with_keypoints`.
    """

    class_: float = 2.0
    box: float = 5.0
    giou: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0
    box_with_keypoints: bool = False


MATCH_COSTS: dict[str, MatchCosts] = {
    # Mostly class: of several queries on one person the same must win again and again.
    "builtin": MatchCosts(6.0, 5.0, 2.0, 0.5, 1.0, box_with_keypoints=True),
    "paper": MatchCosts(),
    "released": MatchCosts(),
}
"""By recipe, as `weights.LOSS_WEIGHTS`."""


@dataclass(frozen=True)
class MatchOutput:
    """What one output says, as the matcher needs it."""

    person_logits: Tensor
    """(B, Q) of the person class."""
    boxes: Tensor
    """(B, Q, 4) centre x, centre y, width, height, 0-1."""
    keypoints_2d: Tensor | None
    """(B, Q, 17, 2) 0-1; None for outputs without keypoints."""


@dataclass(frozen=True)
class MatchTargets:
    """The people of a batch, one after the other, as the matcher needs them."""

    image_index: Tensor
    """(P,) int64, ascending."""
    boxes: Tensor
    """(P, 4) centre x, centre y, width, height, 0-1."""
    keypoints_2d: Tensor
    """(P, 17, 2) 0-1."""
    visibility: Tensor
    """(P, 17) 0-1."""


@dataclass(frozen=True)
class Assignment:
    """Matched pairs of a batch."""

    image_index: Tensor
    """(N,) int64."""
    query_index: Tensor
    """(N,) int64, within the image."""
    person_index: Tensor
    """(N,) int64, within the joined list of people."""

    def select(self, keep: Tensor) -> Assignment:
        """The pairs at `keep` (boolean mask or integers)."""
        return Assignment(self.image_index[keep], self.query_index[keep], self.person_index[keep])


def class_cost(logits: Tensor) -> Tensor:
    """Focal cost of calling a query a person; (...) logits -> (...)."""
    p = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * -(p + _LOG_EPS).log()
    negative = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * -(1 - p + _LOG_EPS).log()
    return positive - negative


@torch.no_grad()
def cost_matrix(output: MatchOutput, targets: MatchTargets, costs: MatchCosts) -> Tensor:
    """Cost of every query with every person of its own image: (P, Q) for P people."""
    image = targets.image_index
    total = costs.class_ * class_cost(output.person_logits)[image]
    if output.keypoints_2d is None or costs.box_with_keypoints:
        own = output.boxes[image]
        wanted = targets.boxes[:, None].expand_as(own)
        total = total + costs.box * vector_l1(own, wanted) - costs.giou * box_giou(own, wanted)
    if output.keypoints_2d is not None:
        predicted = output.keypoints_2d[image]
        wanted, visibility = targets.keypoints_2d[:, None], targets.visibility[:, None]
        distance = points_l1(predicted, wanted, visibility)
        areas = targets.boxes[:, 2:].prod(-1)[:, None]
        oks = object_keypoint_similarity(predicted, wanted, visibility, areas, BODY_OKS_SIGMAS)
        total = total + costs.keypoints * distance + costs.oks * (1 - oks)
    return total


def match(
    outputs: Sequence[MatchOutput], targets: MatchTargets, costs: MatchCosts
) -> list[Assignment]:
    """Cheapest one-to-one assignment within every image, for each output by itself.

    All costs leave the device in one copy and all answers come back in one.  Images without
    people give no pair; an image with more people than queries leaves the most expensive out.

    Raises:
        FloatingPointError: a prediction is not finite.
    """
    device, people = targets.image_index.device, len(targets.image_index)
    if people == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return [Assignment(nothing, nothing, nothing) for _ in outputs]
    matrices = [cost_matrix(output, targets, costs) for output in outputs]
    packed = torch.cat([targets.image_index[:, None].to(matrices[0]), *matrices], 1)
    table = packed.cpu().numpy().astype(np.float64)
    if not np.isfinite(table).all():
        raise FloatingPointError("the network's outputs are not finite, nothing can be matched")
    ends = np.cumsum([1, *(matrix.shape[1] for matrix in matrices)])
    images, *blocks = np.split(table, ends[:-1], axis=1)
    firsts = np.flatnonzero(np.diff(images[:, 0], prepend=-1.0))
    pairs = [_cheapest(block, firsts) for block in blocks]
    joined = torch.from_numpy(np.concatenate(pairs, 1)).to(device)
    answers = []
    for part in joined.split([pair.shape[1] for pair in pairs], 1):
        person, query = part.unbind(0)
        answers.append(Assignment(targets.image_index[person], query, person))
    return answers


def _cheapest(costs: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """People and queries (2, N) of the cheapest pairs; image k's people start at row firsts[k]."""
    pairs = []
    for first, rows in zip(firsts, np.split(costs, firsts[1:]), strict=True):
        person, query = linear_sum_assignment(rows)
        pairs.append(np.stack([person + first, query]))
    return np.concatenate(pairs, 1)
