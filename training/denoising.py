"""Denoising queries: true boxes and labels, disturbed, that must be put right.

Training specification, section 2; they enter the network through its `prefix` door.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.outputs import PERSON_CLASS, PrefixQueries

from .batch import Batch

NUM_LABELS = 101


@dataclass(frozen=True)
class DenoisingConfig:
    """How many queries and how much noise."""

    queries: int = 24
    """Each picture; 0 switches denoising off, 100 in the paper's training."""
    label_noise: float = 0.5
    """Share of labels replaced by a random one."""
    box_noise: float = 0.4
    """Centre moves by up to half of this, size changes by up to this, in sizes of the box."""


@dataclass(frozen=True)
class DenoisingTargets:
    """What the extra queries should answer."""

    boxes: Tensor
    """(B, N, 4)"""
    is_person: Tensor
    """(B, N) bool; False in pictures without people, whose boxes are random."""


class Denoising(nn.Module):
    """Makes the extra queries of a batch; holds the embedding of their labels."""

    def __init__(self, width: int, config: DenoisingConfig) -> None:
        """`width` of the network's queries."""
        super().__init__()
        self.config = config
        self.labels = nn.Embedding(NUM_LABELS, width)

    def forward(self, batch: Batch) -> tuple[PrefixQueries, DenoisingTargets]:
        """Queries for the network and what they should answer; random."""
        boxes, is_person, group = self._repeat(batch)
        labels = torch.full(is_person.shape, PERSON_CLASS, device=boxes.device)
        labels[~is_person] = PERSON_CLASS + 1
        wrong = torch.rand(labels.shape, device=boxes.device) < self.config.label_noise
        random_labels = torch.randint(0, NUM_LABELS - 1, labels.shape, device=boxes.device)
        content = self.labels(torch.where(wrong, random_labels, labels))
        draws = torch.rand(boxes.shape, device=boxes.device) * 2 - 1
        noisy = disturb_boxes(boxes, draws, self.config.box_noise)
        blocked = group[:, :, None] != group[:, None, :]
        return PrefixQueries(content, noisy, blocked), DenoisingTargets(boxes, is_person)

    def _repeat(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """People of each picture in order, again and again; the rest drawn at random.

        Returns:
            boxes (B, N, 4), whether they are people's (B, N), and the group of each (B, N): only
            queries of one group see each other.
        """
        count, device = self.config.queries, batch.targets.boxes.device
        numbers = torch.bincount(batch.image_index, minlength=len(batch)).tolist()
        boxes, groups = [], []
        for own in batch.targets.boxes.split(numbers):
            people = len(own)
            if people == 0:
                boxes.append(torch.rand(count, 4, device=device))
                groups.append(torch.zeros(count, dtype=torch.int64, device=device))
                continue
            order = torch.arange(count, device=device) % people
            whole = count // people * people
            rest = (count - whole,)
            order[whole:] = torch.randint(0, people, rest, device=device)
            boxes.append(own[order])
            groups.append(torch.arange(count, device=device) // people)
        is_person = torch.tensor([n > 0 for n in numbers], device=device)[:, None]
        return torch.stack(boxes), is_person.expand(-1, count), torch.stack(groups)


def disturb_boxes(boxes: Tensor, draws: Tensor, noise: float) -> Tensor:
    """Move and resize boxes (..., 4) cxcywh by uniform draws (..., 4) in -1..1.

    The centre moves by at most noise / 2 of the size, the size changes by at most `noise` of it;
    the result is kept in 0-1.
    """
    size = boxes[..., 2:]
    shift = torch.cat([size / 2, size], -1) * noise * draws
    return (boxes + shift).clamp(0.0, 1.0)
