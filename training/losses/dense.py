"""Dense targets on the encoder's tokens: many tokens learn from each person.

A set-prediction network learns slowly from nothing; one person teaches one query a picture.  Here
the few tokens nearest to each person all learn its class and box through the network's own
proposal heads, and its keypoints and rotations through a head that exists only in training; all
tokens learn where keypoints are, see `heat`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aios.geometry.rotations import axis_angle_to_rotmat, rotation_6d_to_rotmat
from aios.network.outputs import PERSON_CLASS, EncodedImage, ProposalOutput

from ..data.batch import Batch
from .functions import box_giou, quality_focal_loss, rotation_l1, vector_l1
from .heatmap import HeatHead, heat_term
from .projection import point_distance

_BORDER = 0.01
_OTHERS_LABEL = 0.25


@dataclass(frozen=True)
class TokenGrid:
    """Where the encoder's tokens sit; S tokens of all levels."""

    centres: Tensor
    """(S, 2) 0-1."""
    sizes: Tensor
    """(S,) side of the proposal at each token, 0-1."""


def token_grid(
    shapes: tuple[tuple[int, int], ...],
    proposal_size: float,
    device: torch.device | str = "cpu",
) -> TokenGrid:
    """Centres and proposal sizes of the tokens of un-padded levels of (height, width)."""
    centres, sizes = [], []
    for level, (height, width) in enumerate(shapes):
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) / height,
            (torch.arange(width, device=device) + 0.5) / width,
            indexing="ij",
        )
        centres.append(torch.stack([x, y], -1).flatten(0, 1))
        sizes.append(torch.full((height * width,), proposal_size * 2**level, device=device))
    return TokenGrid(torch.cat(centres), torch.cat(sizes))


@dataclass(frozen=True)
class DenseAssignment:
    """Pairs of token and person; a token belongs to at most one person."""

    image_index: Tensor
    """(M,) int64."""
    token_index: Tensor
    """(M,) int64."""
    person_index: Tensor
    """(M,) int64 in the joined list of people."""
    is_first: Tensor
    """(M,) bool: the token that fits its person best."""


@torch.no_grad()
def assign_tokens(
    grid: TokenGrid, boxes: Tensor, image_index: Tensor, per_person: int
) -> DenseAssignment:
    """The `per_person` tokens that lie nearest to each box, by place and by size.

    A token wanted by several people goes to the one it fits best.

    Args:
        grid: S tokens.
        boxes: (P, 4) centre x, centre y, width, height.
        image_index: (P,) picture of each person.
        per_person: tokens a person.
    """
    gap = (grid.centres[None] - boxes[:, None, :2]) / boxes[:, None, 2:].clamp(min=0.02)
    side = boxes[:, 2:].prod(-1).sqrt().clamp(min=0.02)
    size_gap = (side[:, None] / (2 * grid.sizes[None])).log().abs()
    cost = gap.square().sum(-1) + 0.1 * size_gap
    cost = torch.where(gap.abs().max(-1).values < 0.5, cost, cost + 10.0)
    value, token = cost.topk(min(per_person, cost.shape[1]), largest=False)
    person = torch.arange(len(boxes), device=boxes.device)[:, None].expand_as(token)
    keep = (value < 10.0) | (torch.arange(token.shape[1], device=token.device) == 0)
    best = torch.arange(token.shape[1], device=token.device).expand_as(token) == 0
    value, token, person, best = value[keep], token[keep], person[keep], best[keep]
    # Cheapest first; of every (picture, token) the first stays.
    order = value.argsort(stable=True)
    token, person, best = token[order], person[order], best[order]
    key = image_index[person] * len(grid.sizes) + token
    unique, inverse = torch.unique(key, return_inverse=True)
    place = torch.arange(len(key), device=key.device)
    first = torch.full((len(unique),), len(key), device=key.device)
    first = first.scatter_reduce(0, inverse, place, "amin")
    return DenseAssignment(image_index[person[first]], token[first], person[first], best[first])


class DenseHead(nn.Module):
    """Keypoints and rotations straight from an encoder token, and heat maps from all of them.

    Thrown away after training.
    """

    def __init__(self, width: int) -> None:
        """`width` of the tokens."""
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU())
        self.keypoints = nn.Linear(2 * width, 17 * 2)
        self.rotations = nn.Linear(2 * width, 22 * 6)
        self.heat = HeatHead(width)
        nn.init.zeros_(self.keypoints.bias)
        with torch.no_grad():
            self.rotations.weight.mul_(0.1)
            self.rotations.bias.copy_(torch.tensor([1.0, 0, 0, 1, 0, 0]).repeat(22))
            # The root starts upright before a camera whose y points down.
            self.rotations.bias[:6] = torch.tensor([1.0, 0, 0, -1, 0, 0])

    def forward(
        self, tokens: Tensor, grid: TokenGrid, token_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(M, D) tokens -> keypoints (M, 17, 2) in 0-1 and rotations (M, 22, 3, 3)."""
        hidden = self.hidden(tokens)
        offsets = self.keypoints(hidden).unflatten(-1, (17, 2))
        scale = 2 * grid.sizes[token_index][:, None, None]
        keypoints = grid.centres[token_index][:, None] + offsets * scale
        return keypoints, rotation_6d_to_rotmat(self.rotations(hidden).unflatten(-1, (22, 6)))


def _unannotated(grid: TokenGrid, batch: Batch) -> Tensor:
    """(B, S) bool: tokens outside every annotated box of pictures that hide other people."""
    inside = torch.zeros(len(batch), len(grid.sizes), device=grid.sizes.device)
    boxes = batch.targets.boxes
    gap = (grid.centres[None] - boxes[:, None, :2]).abs() / boxes[:, None, 2:].clamp(min=0.02)
    inside.index_add_(0, batch.image_index, (gap < 0.55).all(-1).float())
    return (inside == 0) & batch.ignore_unmatched[:, None]


def dense_terms(
    encoded: EncodedImage,
    proposals: ProposalOutput,
    batch: Batch,
    head: DenseHead,
    per_person: int,
    proposal_size: float,
    unannotated_weight: float,
) -> dict[str, Tensor]:
    """Dense losses, each one number, divided by the number of taught tokens.

    Args:
        encoded: the image tokens.
        proposals: what the network's own heads say of them.
        batch: what is true.
        head: what else is asked of a token.
        per_person: how many tokens learn from each person.
        proposal_size: side of a proposal of level 0, as the network has it.
        unannotated_weight: of tokens away from everyone annotated where others may be.
    """
    targets = batch.targets
    logits = proposals.token_class_logits
    grid = token_grid(encoded.spatial_shapes, proposal_size, logits.device)
    labels = torch.zeros_like(logits)
    pairs = assign_tokens(grid, targets.boxes, batch.image_index, per_person)
    # One token a person stands out, or the decoder would be given the same person many times.
    quality = torch.where(pairs.is_first, 1.0, _OTHERS_LABEL)
    labels[pairs.image_index, pairs.token_index, PERSON_CLASS] = quality
    weight = torch.ones_like(logits[..., 0])
    weight[_unannotated(grid, batch)] = unannotated_weight
    weight[pairs.image_index, pairs.token_index] = 1.0
    border = torch.minimum(grid.centres, 1 - grid.centres).min(-1).values < _BORDER
    weight[:, border] = 0.0
    divisor = max(len(pairs.token_index), 1)
    terms = {
        "dense_class": (quality_focal_loss(logits, labels) * weight[..., None]).sum() / divisor,
        "dense_heat": heat_term(head.heat, encoded, batch),
    }
    if len(pairs.token_index) == 0:
        return terms
    tokens = encoded.memory[pairs.image_index, pairs.token_index]
    keypoints, rotations = head(tokens, grid, pairs.token_index)
    people = targets.select(pairs.person_index)
    distance = point_distance(
        keypoints, people.keypoints_2d, people.keypoints_visible, people.boxes, True
    )
    terms["dense_keypoints"] = distance.sum() / divisor
    valid = people.smplx_valid.float()
    posed = torch.cat([people.global_orient, people.body_pose], -1).unflatten(-1, (22, 3))
    wanted = axis_angle_to_rotmat(posed)
    known = valid.sum().clamp(min=1.0)
    valid = valid[:, None].expand(-1, 22)
    for name, joints in (("dense_root", slice(0, 1)), ("dense_body", slice(1, None))):
        gap = rotation_l1(rotations[:, joints], wanted[:, joints], valid[:, joints])
        terms[name] = gap.sum() / known
    return terms | _box_terms(proposals, batch, pairs)


def _box_terms(
    proposals: ProposalOutput, batch: Batch, pairs: DenseAssignment
) -> dict[str, Tensor]:
    """Box losses of those taught tokens that are among the chosen proposals."""
    count = proposals.token_class_logits.shape[1]
    owner = torch.full((len(batch), count), -1, device=proposals.boxes.device)
    owner[pairs.image_index, pairs.token_index] = pairs.person_index
    chosen_owner = owner.gather(1, proposals.token_indices)
    chosen = chosen_owner >= 0
    boxes = proposals.boxes[chosen]
    wanted = batch.targets.boxes[chosen_owner[chosen]]
    divisor = max(len(boxes), 1)
    return {
        "dense_box": vector_l1(boxes, wanted).sum() / divisor,
        "dense_giou": (1 - box_giou(boxes, wanted)).sum() / divisor,
    }
