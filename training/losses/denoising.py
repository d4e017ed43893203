"""Denoising queries: disturbed annotated boxes and labels that the network must restore.

After DN-DETR (Li et al., CVPR 2022), which AiOS inherits from ED-Pose; the paper itself does not
use them.  Only class and body box are denoised.  The queries enter the network as its `prefix`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.network.outputs import PERSON_CLASS, PrefixQueries

from ..data.batch import Batch

NUM_LABELS = 101
"""Rows of the label embedding; random labels are drawn from all rows but the last."""
_BACKGROUND = PERSON_CLASS + 1


@dataclass(frozen=True)
class DenoisingConfig:
    """Number of queries and strength of the noise."""

    queries: int = 24
    """Per image; 0 switches denoising off."""
    label_noise: float = 0.5
    """Share of labels replaced by a random one."""
    box_noise: float = 0.4
    """Largest change of size, and twice the largest shift of the centre, in sizes of the box."""


DENOISING: dict[str, DenoisingConfig] = {
    "builtin": DenoisingConfig(),
    "paper": DenoisingConfig(queries=0),
    "released": DenoisingConfig(queries=100),
}
"""By recipe, see `loss_weights`."""


@dataclass(frozen=True)
class DenoisingTargets:
    """Undisturbed boxes and labels of the denoising queries."""

    boxes: Tensor
    """(B, N, 4) cxcywh."""
    is_person: Tensor
    """(B, N) bool; False in images without people, whose boxes are random."""


@dataclass(frozen=True)
class NoiseDraws:
    """All random numbers for N denoising queries in each of B images, uniform in [0, 1)."""

    person: Tensor
    """(B, N) person of a query beyond the last full repetition."""
    random_box: Tensor
    """(B, N, 4) boxes for images without people."""
    replace: Tensor
    """(B, N) a label is replaced where this is below `label_noise`."""
    label: Tensor
    """(B, N) the replacing label, as a share of all labels."""
    box: Tensor
    """(B, N, 4) change of centre x, centre y, width and height; 0.5 is no change."""

    @classmethod
    def draw(cls, images: int, queries: int, device: torch.device) -> NoiseDraws:
        """Fresh random numbers."""
        numbers = torch.rand(images, queries, 11, device=device)
        person, random_box, replace, label, box = numbers.split([1, 4, 1, 1, 4], -1)
        return cls(person[..., 0], random_box, replace[..., 0], label[..., 0], box)


class Denoising(nn.Module):
    """Builds the denoising queries of a batch; owns the label embedding."""

    def __init__(self, hidden_dim: int, config: DenoisingConfig) -> None:
        """Create the label embedding with the network's `hidden_dim`."""
        super().__init__()
        self.config = config
        self.labels = nn.Embedding(NUM_LABELS, hidden_dim)

    def forward(
        self, batch: Batch, draws: NoiseDraws | None = None
    ) -> tuple[PrefixQueries, DenoisingTargets]:
        """Queries for the network and their targets; `draws` are fresh if not given."""
        config, device = self.config, batch.targets.boxes.device
        draws = draws or NoiseDraws.draw(len(batch), config.queries, device)
        boxes, is_person, group = repeat_people(batch, draws)
        labels = disturb_labels(is_person, draws, config.label_noise)
        noisy = disturb_boxes(boxes, draws.box * 2 - 1, config.box_noise)
        blocked = group[:, :, None] != group[:, None, :]
        queries = PrefixQueries(self.labels(labels), noisy, blocked)
        return queries, DenoisingTargets(boxes, is_person)


def repeat_people(batch: Batch, draws: NoiseDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Fill the queries of each image with its people, in order and repeatedly.

    Queries beyond the last full repetition get random people.  One repetition is a group, and so
    are the random queries, and all queries of an image without people; queries attend within
    their group only.

    Args:
        batch: B images.
        draws: N queries each.

    Returns:
        boxes (B, N, 4), whether the query is a person (B, N) bool, and group (B, N) int64.
    """
    targets, device = batch.targets, draws.person.device
    images, queries = draws.person.shape
    query = torch.arange(queries, device=device)
    numbers = torch.arange(images, device=device)
    first = torch.searchsorted(batch.image_index, numbers)
    people = (torch.searchsorted(batch.image_index, numbers, right=True) - first)[:, None]
    divisor = people.clamp(min=1)
    random_person = (draws.person * divisor).long().clamp(max=divisor - 1)
    in_full_repetitions = queries // divisor * divisor
    person = torch.where(query < in_full_repetitions, query % divisor, random_person)
    is_person = (people > 0).expand(-1, queries)
    if len(targets) == 0:
        return draws.random_box, is_person, torch.zeros_like(person)
    chosen = targets.boxes[(first[:, None] + person).clamp(max=len(targets) - 1)]
    boxes = torch.where(is_person[..., None], chosen, draws.random_box)
    return boxes, is_person, torch.where(is_person, query // divisor, 0)


def disturb_labels(is_person: Tensor, draws: NoiseDraws, noise: float) -> Tensor:
    """(B, N) int64 rows of the label embedding; a share of `noise` is replaced at random."""
    undisturbed = torch.where(is_person, PERSON_CLASS, _BACKGROUND)
    random_label = (draws.label * (NUM_LABELS - 1)).long().clamp(max=NUM_LABELS - 2)
    return torch.where(draws.replace < noise, random_label, undisturbed)


def disturb_boxes(boxes: Tensor, draws: Tensor, noise: float) -> Tensor:
    """Shift and resize boxes.

    Args:
        boxes: (..., 4) cxcywh, 0-1.
        draws: (..., 4) in -1..1.
        noise: largest change of size, and twice the largest shift, in sizes of the box.

    Returns:
        (..., 4) clamped to 0-1.
    """
    size = boxes[..., 2:]
    change = torch.cat([size / 2, size], -1) * noise * draws
    return (boxes + change).clamp(0.0, 1.0)
