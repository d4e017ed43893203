"""Denoising queries: true boxes and labels, disturbed, that must be put right.

Training specification, section 2; they enter the network through its `prefix` door.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.network.outputs import PERSON_CLASS, PrefixQueries

from ..data.batch import Batch

NUM_LABELS = 101
"""Rows of the table of labels; random labels are drawn from all but the last."""
_NOBODY = PERSON_CLASS + 1


@dataclass(frozen=True)
class DenoisingConfig:
    """How many queries and how much noise."""

    queries: int = 24
    """Each picture; 0 switches denoising off."""
    label_noise: float = 0.5
    """Share of labels replaced by a random one."""
    box_noise: float = 0.4
    """Centre moves by up to half of this, size changes by up to this, in sizes of the box."""


DENOISING: dict[str, DenoisingConfig] = {
    "builtin": DenoisingConfig(),
    "paper": DenoisingConfig(queries=0),
    "released": DenoisingConfig(queries=100),
}
"""By recipe, as `weights.LOSS_WEIGHTS`; the paper knows no denoising."""


@dataclass(frozen=True)
class DenoisingTargets:
    """What the extra queries should answer."""

    boxes: Tensor
    """(B, N, 4)"""
    is_person: Tensor
    """(B, N) bool; False in pictures without people, whose boxes are random."""


@dataclass(frozen=True)
class Chance:
    """Everything random about the queries: N for each of B pictures, all uniform in [0, 1)."""

    people: Tensor
    """(B, N) which person fills a query that is left over."""
    nobody: Tensor
    """(B, N, 4) boxes for pictures without people."""
    replaces: Tensor
    """(B, N) a label is replaced where this is below the noise."""
    labels: Tensor
    """(B, N) the label that replaces it, in shares of all labels."""
    boxes: Tensor
    """(B, N, 4) how far centre x, centre y, width and height move; 0.5 is not at all."""

    @classmethod
    def draw(cls, pictures: int, queries: int, device: torch.device) -> Chance:
        """Fresh random numbers."""
        numbers = torch.rand(pictures, queries, 11, device=device)
        people, nobody, replaces, labels, boxes = numbers.split([1, 4, 1, 1, 4], -1)
        return cls(people[..., 0], nobody, replaces[..., 0], labels[..., 0], boxes)


class Denoising(nn.Module):
    """Makes the extra queries of a batch; holds the embedding of their labels."""

    def __init__(self, width: int, config: DenoisingConfig) -> None:
        """`width` of the network's queries."""
        super().__init__()
        self.config = config
        self.labels = nn.Embedding(NUM_LABELS, width)

    def forward(
        self, batch: Batch, chance: Chance | None = None
    ) -> tuple[PrefixQueries, DenoisingTargets]:
        """Queries for the network and what they should answer; `chance` is drawn if not given."""
        config, device = self.config, batch.targets.boxes.device
        chance = chance or Chance.draw(len(batch), config.queries, device)
        boxes, is_person, group = repeat_people(batch, chance)
        labels = disturb_labels(is_person, chance, config.label_noise)
        noisy = disturb_boxes(boxes, chance.boxes * 2 - 1, config.box_noise)
        blocked = group[:, :, None] != group[:, None, :]
        queries = PrefixQueries(self.labels(labels), noisy, blocked)
        return queries, DenoisingTargets(boxes, is_person)


def repeat_people(batch: Batch, chance: Chance) -> tuple[Tensor, Tensor, Tensor]:
    """The people of each picture in order, again and again; what is left over is drawn.

    Queries of one group see each other: those of one repetition, the drawn ones, or all of a
    picture without people.

    Args:
        batch: B pictures.
        chance: N queries each.

    Returns:
        boxes (B, N, 4), whether they are people's (B, N) bool, and groups (B, N) int64.
    """
    targets, device = batch.targets, chance.people.device
    pictures, count = chance.people.shape
    query = torch.arange(count, device=device)
    numbers = torch.arange(pictures, device=device)
    first = torch.searchsorted(batch.image_index, numbers)
    people = (torch.searchsorted(batch.image_index, numbers, right=True) - first)[:, None]
    some = people.clamp(min=1)
    drawn = (chance.people * some).long().clamp(max=some - 1)
    whole = count // some * some
    person = torch.where(query < whole, query % some, drawn)
    is_person = (people > 0).expand(-1, count)
    if len(targets) == 0:
        return chance.nobody, is_person, torch.zeros_like(person)
    chosen = targets.boxes[(first[:, None] + person).clamp(max=len(targets) - 1)]
    boxes = torch.where(is_person[..., None], chosen, chance.nobody)
    return boxes, is_person, torch.where(is_person, query // some, 0)


def disturb_labels(is_person: Tensor, chance: Chance, noise: float) -> Tensor:
    """Rows of the table of labels: person or nobody, `noise` of them replaced; (B, N) int64."""
    true = torch.where(is_person, PERSON_CLASS, _NOBODY)
    drawn = (chance.labels * (NUM_LABELS - 1)).long().clamp(max=NUM_LABELS - 2)
    return torch.where(chance.replaces < noise, drawn, true)


def disturb_boxes(boxes: Tensor, draws: Tensor, noise: float) -> Tensor:
    """Move and resize boxes (..., 4) cxcywh by uniform draws (..., 4) in -1..1.

    The centre moves by at most noise / 2 of the size, the size changes by at most `noise` of it;
    the result is kept in 0-1.
    """
    size = boxes[..., 2:]
    shift = torch.cat([size / 2, size], -1) * noise * draws
    return (boxes + shift).clamp(0.0, 1.0)
