"""Dense losses on the encoder's tokens: several tokens learn from each person.

One-to-one matching trains one query per person and converges slowly from random weights.  Here the
tokens nearest to a person all learn its class and box through the network's own proposal heads,
and its keypoints and rotations through a head that exists only in training.  All tokens also learn
heat maps of the keypoints, see `heatmap`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.geometry.rotations import axis_angle_to_rotmat, rotation_6d_to_rotmat
from aios.network.outputs import PERSON_CLASS, EncodedImage, ProposalOutput

from ..data.batch import Batch
from .box_overlap import box_giou
from .focal_loss import quality_focal_loss
from .heatmap import HeatmapHead, heatmap_term
from .l1_losses import image_points_l1, rotation_l1, vector_l1
from .loss_weights import LossWeights

_BORDER = 0.01
_OTHER_TOKENS_LABEL = 0.25
_MIN_BOX_SIDE = 0.02
_SIZE_COST = 0.1
_OUTSIDE_COST = 10.0
_KEYPOINTS, _ROTATIONS = 17, 22


@dataclass(frozen=True)
class TokenGrid:
    """Positions of the encoder's tokens; S tokens of all levels."""

    centres: Tensor
    """(S, 2) 0-1."""
    sizes: Tensor
    """(S,) side of the proposal at each token, 0-1."""


def token_grid(
    spatial_shapes: tuple[tuple[int, int], ...],
    proposal_size: float,
    device: torch.device | str = "cpu",
) -> TokenGrid:
    """Centres and proposal sizes of the tokens of un-padded levels.

    Args:
        spatial_shapes: (height, width) of each level.
        proposal_size: side of a proposal of level 0, 0-1; it doubles with each level.
        device: of the result.
    """
    centres, sizes = [], []
    for level, (height, width) in enumerate(spatial_shapes):
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) / height,
            (torch.arange(width, device=device) + 0.5) / width,
            indexing="ij",
        )
        centres.append(torch.stack([x, y], -1).flatten(0, 1))
        sizes.append(torch.full((height * width,), proposal_size * 2**level, device=device))
    return TokenGrid(torch.cat(centres), torch.cat(sizes))


@dataclass(frozen=True)
class TokenAssignment:
    """M pairs of a token and a person; a token has at most one person."""

    image_index: Tensor
    """(M,) int64."""
    token_index: Tensor
    """(M,) int64."""
    person_index: Tensor
    """(M,) int64, among all people of the batch."""
    is_best: Tensor
    """(M,) bool: the token that fits its person best."""


@torch.no_grad()
def assign_tokens(
    grid: TokenGrid, boxes: Tensor, image_index: Tensor, per_person: int
) -> TokenAssignment:
    """Tokens nearest to each box in position and size.

    Tokens outside the box are used only for a person without any token inside.  A token near
    several people goes to the person it fits best.

    Args:
        grid: S tokens.
        boxes: (P, 4) cxcywh.
        image_index: (P,) image of each person.
        per_person: most tokens of a person.
    """
    offset = (grid.centres[None] - boxes[:, None, :2]) / boxes[:, None, 2:].clamp(min=_MIN_BOX_SIDE)
    side = boxes[:, 2:].prod(-1).sqrt().clamp(min=_MIN_BOX_SIDE)
    size_ratio = (side[:, None] / (2 * grid.sizes[None])).log().abs()
    cost = offset.square().sum(-1) + _SIZE_COST * size_ratio
    cost = torch.where(offset.abs().max(-1).values < 0.5, cost, cost + _OUTSIDE_COST)
    cost, token = cost.topk(min(per_person, cost.shape[1]), largest=False)
    person = torch.arange(len(boxes), device=boxes.device)[:, None].expand_as(token)
    rank = torch.arange(token.shape[1], device=token.device)
    keep = (cost < _OUTSIDE_COST) | (rank == 0)
    is_best = rank.expand_as(token) == 0
    cost, token, person, is_best = cost[keep], token[keep], person[keep], is_best[keep]
    # Cheapest pairs first; the first pair of every (image, token) is kept.
    order = cost.argsort(stable=True)
    token, person, is_best = token[order], person[order], is_best[order]
    key = image_index[person] * len(grid.sizes) + token
    unique, inverse = torch.unique(key, return_inverse=True)
    position = torch.arange(len(key), device=key.device)
    first = torch.full((len(unique),), len(key), device=key.device)
    first = first.scatter_reduce(0, inverse, position, "amin")
    return TokenAssignment(image_index[person[first]], token[first], person[first], is_best[first])


class DenseHead(nn.Module):
    """Keypoints and rotations from one encoder token, and heat maps from all; training only."""

    def __init__(self, hidden_dim: int) -> None:
        """Start at an upright person in the rest pose.

        Args:
            hidden_dim: width of the tokens.
        """
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(hidden_dim, 2 * hidden_dim), nn.ReLU())
        self.keypoints = nn.Linear(2 * hidden_dim, _KEYPOINTS * 2)
        self.rotations = nn.Linear(2 * hidden_dim, _ROTATIONS * 6)
        self.heatmap = HeatmapHead(hidden_dim)
        nn.init.zeros_(self.keypoints.bias)
        with torch.no_grad():
            self.rotations.weight.mul_(0.1)
            self.rotations.bias.copy_(torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(_ROTATIONS))
            # Upright root: the body's y axis points up, the camera's down.
            self.rotations.bias[:6] = torch.tensor([1.0, 0, 0, -1, 0, 0])

    def forward(
        self, tokens: Tensor, grid: TokenGrid, token_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(M, D) tokens -> keypoints (M, 17, 2) in 0-1 and rotations (M, 22, 3, 3)."""
        hidden = self.hidden(tokens)
        offsets = self.keypoints(hidden).unflatten(-1, (_KEYPOINTS, 2))
        scale = 2 * grid.sizes[token_index][:, None, None]
        keypoints = grid.centres[token_index][:, None] + offsets * scale
        rotations = self.rotations(hidden).unflatten(-1, (_ROTATIONS, 6))
        return keypoints, rotation_6d_to_rotmat(rotations)


class DenseCriterion(nn.Module):
    """Weighted dense losses, averaged over the trained tokens of a batch; owns the dense head."""

    def __init__(
        self,
        hidden_dim: int,
        weights: LossWeights,
        *,
        tokens_per_person: int,
        proposal_size: float,
        unannotated_negative: float,
    ) -> None:
        """Create the head.

        Args:
            hidden_dim: width of the tokens.
            weights: factor on each term, those named `dense_*`.
            tokens_per_person: most tokens that learn from a person.
            proposal_size: side of a proposal of level 0, as in the network's config.
            unannotated_negative: factor on tokens away from annotated people, in images where
                not everyone is annotated.
        """
        super().__init__()
        self.head = DenseHead(hidden_dim)
        self.weights = weights
        self.tokens_per_person = tokens_per_person
        self.proposal_size = proposal_size
        self.unannotated_negative = unannotated_negative

    def forward(
        self, encoded: EncodedImage, proposals: ProposalOutput, batch: Batch
    ) -> dict[str, Tensor]:
        """Weighted losses by name, scalars.

        Args:
            encoded: image tokens, float32.
            proposals: outputs of the network's proposal heads on these tokens, float32.
            batch: annotations.
        """
        grid = token_grid(encoded.spatial_shapes, self.proposal_size, encoded.memory.device)
        pairs = assign_tokens(grid, batch.targets.boxes, batch.image_index, self.tokens_per_person)
        terms = {
            "dense_class": self._class_term(proposals.token_class_logits, grid, pairs, batch),
            "dense_heat": heatmap_term(self.head.heatmap, encoded, batch),
        }
        if len(pairs.token_index):
            terms |= self._pose_terms(encoded.memory, grid, pairs, batch)
            terms |= _box_terms(proposals, pairs, batch)
        return {name: term * getattr(self.weights, name) for name, term in terms.items()}

    def _class_term(
        self, logits: Tensor, grid: TokenGrid, pairs: TokenAssignment, batch: Batch
    ) -> Tensor:
        """Quality focal loss over all tokens (B, S, 2) but those at the border of the image."""
        labels = torch.zeros_like(logits)
        # One token per person has the highest label; otherwise the decoder would get every
        # person several times.
        quality = torch.where(pairs.is_best, 1.0, _OTHER_TOKENS_LABEL)
        labels[pairs.image_index, pairs.token_index, PERSON_CLASS] = quality
        weight = torch.ones_like(logits[..., 0])
        weight[_away_from_annotated(grid, batch)] = self.unannotated_negative
        weight[pairs.image_index, pairs.token_index] = 1.0
        border = torch.minimum(grid.centres, 1 - grid.centres).min(-1).values < _BORDER
        weight[:, border] = 0.0
        total = (quality_focal_loss(logits, labels) * weight[..., None]).sum()
        return total / max(len(pairs.token_index), 1)

    def _pose_terms(
        self, memory: Tensor, grid: TokenGrid, pairs: TokenAssignment, batch: Batch
    ) -> dict[str, Tensor]:
        """Keypoints and rotations from the tokens (B, S, D) of people."""
        tokens = memory[pairs.image_index, pairs.token_index]
        keypoints, rotations = self.head(tokens, grid, pairs.token_index)
        people = batch.targets.select(pairs.person_index)
        distance = image_points_l1(
            keypoints, people.keypoints_2d, people.keypoints_visible, people.boxes, True
        )
        terms = {"dense_keypoints": distance.sum() / len(pairs.token_index)}
        posed = torch.cat([people.global_orient, people.body_pose], -1)
        annotated = axis_angle_to_rotmat(posed.unflatten(-1, (_ROTATIONS, 3)))
        valid = people.smplx_valid.float()
        divisor = valid.sum().clamp(min=1.0)
        mask = valid[:, None].expand(-1, _ROTATIONS)
        for name, joints in (("dense_root", slice(0, 1)), ("dense_body", slice(1, None))):
            distance = rotation_l1(rotations[:, joints], annotated[:, joints], mask[:, joints])
            terms[name] = distance.sum() / divisor
        return terms


def _away_from_annotated(grid: TokenGrid, batch: Batch) -> Tensor:
    """(B, S) bool: outside every annotated box, in an image where other people may be."""
    inside = torch.zeros(len(batch), len(grid.sizes), device=grid.sizes.device)
    boxes = batch.targets.boxes
    offset = (grid.centres[None] - boxes[:, None, :2]).abs()
    offset = offset / boxes[:, None, 2:].clamp(min=_MIN_BOX_SIDE)
    inside.index_add_(0, batch.image_index, (offset < 0.55).all(-1).float())
    return (inside == 0) & batch.ignore_unmatched[:, None]


def _box_terms(
    proposals: ProposalOutput, pairs: TokenAssignment, batch: Batch
) -> dict[str, Tensor]:
    """Box losses of the paired tokens that are among the selected proposals."""
    tokens = proposals.token_class_logits.shape[1]
    person_of = torch.full((len(batch), tokens), -1, device=proposals.boxes.device)
    person_of[pairs.image_index, pairs.token_index] = pairs.person_index
    person = person_of.gather(1, proposals.token_indices)
    boxes = proposals.boxes[person >= 0]
    annotated = batch.targets.boxes[person[person >= 0]]
    divisor = max(len(boxes), 1)
    return {
        "dense_box": vector_l1(boxes, annotated).sum() / divisor,
        "dense_giou": (1 - box_giou(boxes, annotated)).sum() / divisor,
    }
