"""One-to-one assignment of predictions to people (training specification, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .losses import (
    BODY_OKS_SIGMAS,
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    box_giou,
    object_keypoint_similarity,
)

_LOG_EPS = 1e-8


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of the cost.

    Where an output has keypoints, box and GIoU do not count unless `box_with_keypoints`.
    """

    class_: float = 2.0
    box: float = 5.0
    giou: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0
    box_with_keypoints: bool = False


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


def class_cost(logits: Tensor) -> Tensor:
    """Focal cost of calling a query a person; (...) logits -> (...)."""
    p = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * -(p + _LOG_EPS).log()
    negative = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * -(1 - p + _LOG_EPS).log()
    return positive - negative


@torch.no_grad()
def cost_matrix(
    person_logits: Tensor,
    boxes: Tensor,
    keypoints_2d: Tensor | None,
    targets: MatchTargets,
    costs: MatchCosts,
) -> Tensor:
    """Cost of every query with every person of its own image.

    Args:
        person_logits: (B, Q) of the person class.
        boxes: (B, Q, 4).
        keypoints_2d: (B, Q, 17, 2), None for outputs without keypoints.
        targets: P people.
        costs: weights.

    Returns:
        (P, Q).
    """
    image = targets.image_index
    total = costs.class_ * class_cost(person_logits)[image]
    if keypoints_2d is None or costs.box_with_keypoints:
        own = boxes[image]
        wanted = targets.boxes[:, None].expand_as(own)
        giou = box_giou(own, wanted)
        total = total + costs.box * (own - wanted).abs().sum(-1) - costs.giou * giou
    if keypoints_2d is not None:
        predicted = keypoints_2d[image]
        wanted = targets.keypoints_2d[:, None]
        visibility = targets.visibility[:, None]
        distance = ((predicted - wanted).abs().sum(-1) * visibility).sum(-1)
        areas = targets.boxes[:, 2:].prod(-1)[:, None]
        oks = object_keypoint_similarity(predicted, wanted, visibility, areas, BODY_OKS_SIGMAS)
        total = total + costs.keypoints * distance + costs.oks * (1 - oks)
    return total


def match(
    person_logits: Tensor,
    boxes: Tensor,
    keypoints_2d: Tensor | None,
    targets: MatchTargets,
    costs: MatchCosts,
) -> Assignment:
    """Cheapest one-to-one assignment within every image.

    Arguments as `cost_matrix`.  Images without people give no pair; an image with more people
    than queries leaves the most expensive people out.
    """
    device = person_logits.device
    if len(targets.image_index) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return Assignment(nothing, nothing, nothing)
    cost = cost_matrix(person_logits, boxes, keypoints_2d, targets, costs).cpu().double().numpy()
    if not np.isfinite(cost).all():
        raise FloatingPointError("the network's outputs are not finite, nothing can be matched")
    images = targets.image_index.cpu().numpy()
    queries, people = [], []
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        row, query = linear_sum_assignment(cost[rows])
        people.append(rows[row])
        queries.append(query)
    person_index = torch.from_numpy(np.concatenate(people)).to(device)
    query_index = torch.from_numpy(np.concatenate(queries)).to(device)
    return Assignment(targets.image_index[person_index], query_index, person_index)
