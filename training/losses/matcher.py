"""One-to-one assignment of predictions to annotated people by the Hungarian algorithm.

As in DETR (Carion et al., ECCV 2020) every output is matched separately: each decoder layer and,
where the config says so, the encoder's proposals.  The cost is that of class and box, or of class
and keypoints where an output has keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from aios.network.outputs import PERSON_CLASS, AiOSOutput, LayerOutput, ProposalOutput

from ..data.batch import Batch
from ..targets import Targets
from .box_overlap import box_giou
from .focal_loss import FOCAL_ALPHA, FOCAL_GAMMA
from .keypoint_similarity import BODY_OKS_SIGMAS, object_keypoint_similarity
from .l1_losses import points_l1, vector_l1

_LOG_EPS = 1e-8


@dataclass(frozen=True)
class MatchingConfig:
    """Cost weights and what is matched; defaults of the recipes "paper" and "released"."""

    class_: float = 2.0
    box: float = 5.0
    giou: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0
    box_with_keypoints: bool = False
    """Add box and GIoU costs where an output has keypoints too."""
    proposals: bool = True
    """Match and score the encoder's proposals one to one, as the paper; otherwise dense targets
    must train them."""


MATCHING: dict[str, MatchingConfig] = {
    # Mostly class: of several queries on one person, the same should win in every step.
    "builtin": MatchingConfig(6.0, 5.0, 2.0, 0.5, 1.0, box_with_keypoints=True, proposals=False),
    "paper": MatchingConfig(),
    "released": MatchingConfig(),
}
"""By recipe, see `loss_weights`."""


@dataclass(frozen=True)
class Assignment:
    """N matched pairs of a query and a person."""

    image_index: Tensor
    """(N,) int64."""
    query_index: Tensor
    """(N,) int64, within the image."""
    person_index: Tensor
    """(N,) int64, among all people of the batch."""

    def select(self, keep: Tensor) -> Assignment:
        """The pairs at `keep` (boolean mask or integers)."""
        return Assignment(self.image_index[keep], self.query_index[keep], self.person_index[keep])


@dataclass(frozen=True)
class Matches:
    """Assignments of all scored outputs of one forward pass."""

    layers: tuple[Assignment, ...]
    """One per decoder layer, in order."""
    proposals: Assignment | None
    """None if proposals are not matched."""


class Matcher:
    """Pairs the network's outputs with the annotated people."""

    def __init__(self, config: MatchingConfig) -> None:
        """Nothing here is trained."""
        self.config = config

    def __call__(self, output: AiOSOutput, batch: Batch) -> Matches:
        """Match all decoder layers, and the proposals if the config says so.

        Args:
            output: float32, with `aux_outputs`.
            batch: on the same device.

        Raises:
            FloatingPointError: a prediction is not finite.
        """
        layers = [*output.aux_outputs, output.final]
        proposals = [output.proposals] if self.config.proposals else []
        found = match([*layers, *proposals], batch.targets, batch.image_index, self.config)
        return Matches(tuple(found[: len(layers)]), found[-1] if proposals else None)


def match(
    outputs: Sequence[LayerOutput | ProposalOutput],
    targets: Targets,
    image_index: Tensor,
    config: MatchingConfig,
) -> list[Assignment]:
    """Cheapest one-to-one assignment within every image, for each output separately.

    All costs leave the device in one copy and all assignments return in one.  An image without
    people gives no pair; if an image has more people than queries, the most expensive people stay
    without a query.

    Args:
        outputs: predictions for B images.
        targets: P people.
        image_index: (P,) image of each person, ascending.
        config: cost weights.

    Raises:
        FloatingPointError: a prediction is not finite.
    """
    device = image_index.device
    if len(targets) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return [Assignment(nothing, nothing, nothing) for _ in outputs]
    matrices = [cost_matrix(output, targets, image_index, config) for output in outputs]
    packed = torch.cat([image_index[:, None].to(matrices[0]), *matrices], 1)
    table = packed.cpu().numpy().astype(np.float64)
    if not np.isfinite(table).all():
        raise FloatingPointError("the network's outputs are not finite and cannot be matched")
    ends = np.cumsum([1, *(matrix.shape[1] for matrix in matrices)])
    images, *blocks = np.split(table, ends[:-1], axis=1)
    first_rows = np.flatnonzero(np.diff(images[:, 0], prepend=-1.0))
    pairs = [_cheapest(block, first_rows) for block in blocks]
    on_device = torch.from_numpy(np.concatenate(pairs, 1)).to(device)
    found = []
    for part in on_device.split([pair.shape[1] for pair in pairs], 1):
        person, query = part.unbind(0)
        found.append(Assignment(image_index[person], query, person))
    return found


@torch.no_grad()
def cost_matrix(
    output: LayerOutput | ProposalOutput,
    targets: Targets,
    image_index: Tensor,
    config: MatchingConfig,
) -> Tensor:
    """(P, Q) cost of every query with every person of its own image; arguments as for `match`."""
    total = config.class_ * class_cost(output.class_logits[..., PERSON_CLASS])[image_index]
    keypoints = getattr(output, "keypoints_2d", None)
    if keypoints is None or config.box_with_keypoints:
        predicted, annotated = output.boxes[image_index], targets.boxes[:, None]
        total = total + config.box * vector_l1(predicted, annotated)
        total = total - config.giou * box_giou(predicted, annotated)
    if keypoints is not None:
        predicted, annotated = keypoints[image_index], targets.keypoints_2d[:, None]
        visibility = targets.keypoints_visible[:, None]
        areas = targets.boxes[:, 2:].prod(-1)[:, None]
        oks = object_keypoint_similarity(predicted, annotated, visibility, areas, BODY_OKS_SIGMAS)
        distance = points_l1(predicted, annotated, visibility)
        total = total + config.keypoints * distance + config.oks * (1 - oks)
    return total


def class_cost(logits: Tensor) -> Tensor:
    """Focal cost of classifying a query as a person: (...) logits -> (...)."""
    p = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * -(p + _LOG_EPS).log()
    negative = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * -(1 - p + _LOG_EPS).log()
    return positive - negative


def _cheapest(costs: np.ndarray, first_rows: np.ndarray) -> np.ndarray:
    """(2, N) people and queries of the cheapest pairs.

    Args:
        costs: (P, Q).
        first_rows: row of the first person of each image.
    """
    pairs = []
    for first, rows in zip(first_rows, np.split(costs, first_rows[1:]), strict=True):
        person, query = linear_sum_assignment(rows)
        pairs.append(np.stack([person + first, query]))
    return np.concatenate(pairs, 1)
