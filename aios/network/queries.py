"""Proposals from the image tokens, and the expansion of queries from 1 to 21 to 39 tokens.

Proposals are the two-stage form of Deformable DETR (Sec. 4.2); AiOS expands the queries between its
stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..geometry.boxes import inverse_sigmoid
from .config import (
    NUM_BODY_KEYPOINTS,
    NUM_FACE_KEYPOINTS,
    NUM_HAND_KEYPOINTS,
    AiOSConfig,
)
from .float32 import float32_under_autocast
from .mlp import MLP
from .outputs import EncodedImage, ProposalOutput
from .sampling import level_sizes

_PROPOSAL_MARGIN = 0.01
_PARTS = ("left_hand", "right_hand", "face")


@dataclass(frozen=True)
class TokenLayout:
    """Meaning of the tokens of a person in one decoder stage."""

    stage: str
    num_tokens: int
    box_tokens: tuple[int, ...]
    """Body, left hand, right hand, face; only the body in stage `locate`."""
    joints: slice | None = None
    left_hand_points: slice | None = None
    right_hand_points: slice | None = None
    face_points: slice | None = None

    @property
    def point_tokens(self) -> tuple[int, ...]:
        """Every token that is not a box."""
        return tuple(t for t in range(self.num_tokens) if t not in self.box_tokens)

    def __deepcopy__(self, memo: dict) -> TokenLayout:
        """The layout itself, so that `is` also holds in a copied network."""
        return self


LOCATE = TokenLayout("locate", 1, (0,))
REFINE_BODY = TokenLayout("refine_body", 21, (0, 18, 19, 20), slice(1, 18))
REFINE_WHOLE_BODY = TokenLayout(
    "refine_whole_body",
    39,
    (0, 18, 25, 32),
    slice(1, 18),
    slice(19, 25),
    slice(26, 32),
    slice(33, 39),
)
NAIVE_BODY = TokenLayout("refine_body", 4, (0, 1, 2, 3))
NAIVE_WHOLE_BODY = TokenLayout("refine_whole_body", 4, (0, 1, 2, 3))
"""Layouts without point tokens: the two refinement stages differ only in their heads."""


def layer_layouts(config: AiOSConfig) -> list[TokenLayout]:
    """Token layout of each decoder layer."""
    points = config.point_tokens
    body, whole_body = (
        (REFINE_BODY, REFINE_WHOLE_BODY) if points else (NAIVE_BODY, NAIVE_WHOLE_BODY)
    )
    return (
        [LOCATE] * config.locate_layers
        + [body] * config.refine_body_layers
        + [whole_body] * config.refine_whole_body_layers
    )


class Proposals(nn.Module):
    """Select the image tokens with the highest class scores as queries."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.num_proposals = config.num_proposals
        self.proposal_size = config.proposal_size
        self.projection = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.class_head = nn.Linear(width, 2)
        self.box_head = MLP(width, width, 4)

    def features(self, encoded: EncodedImage) -> tuple[Tensor, Tensor]:
        """Feature and initial box logits of every image token.

        Returns:
            (B, S, D), and (B, S, 4) logits of cxcywh, +inf for an invalid token: one that is
            padding, or whose initial box has a coordinate outside 0.01-0.99.
        """
        logits = self._anchor_logits(encoded)
        invalid = logits.isinf().any(-1, keepdim=True)
        return self.norm(self.projection(encoded.memory.masked_fill(invalid, 0.0))), logits

    def forward(self, encoded: EncodedImage) -> tuple[ProposalOutput, Tensor]:
        """Select proposals.

        Returns:
            The proposals, and the content (B, Q, D) of their queries, without gradient.
        """
        features, anchor_logits = self.features(encoded)
        token_logits = self.class_head(features)
        count = min(self.num_proposals, features.shape[1])
        indices = token_logits.max(-1).values.topk(count, 1).indices
        selected = _gather(features, indices)
        boxes = self._boxes(selected, _gather(anchor_logits, indices))
        output = ProposalOutput(token_logits, indices, _gather(token_logits, indices), boxes)
        return output, selected.detach()

    @float32_under_autocast
    def _boxes(self, features: Tensor, anchor_logits: Tensor) -> Tensor:
        """(B, Q, D) and (B, Q, 4) -> (B, Q, 4)."""
        return (self.box_head(features) + anchor_logits).sigmoid()

    def _anchor_logits(self, encoded: EncodedImage) -> Tensor:
        device, dtype = encoded.memory.device, encoded.memory.dtype
        sizes = level_sizes(encoded.spatial_shapes, encoded.valid_ratios)
        anchors = []
        for level, (h, w) in enumerate(encoded.spatial_shapes):
            valid_size = (encoded.valid_ratios[:, level] * sizes[level]).round()
            y = torch.arange(h, device=device, dtype=dtype)[:, None].expand(h, w)
            x = torch.arange(w, device=device, dtype=dtype).expand(h, w)
            centre = (torch.stack([x, y], -1).flatten(0, 1) + 0.5) / valid_size[:, None]
            size = torch.full_like(centre, self.proposal_size * 2**level)
            anchors.append(torch.cat([centre, size], -1))
        anchor = torch.cat(anchors, 1)
        inside = (anchor > _PROPOSAL_MARGIN) & (anchor < 1 - _PROPOSAL_MARGIN)
        valid = inside.all(-1, keepdim=True)
        if encoded.padding_mask is not None:
            valid = valid & ~encoded.padding_mask[..., None]
        return torch.log(anchor / (1 - anchor)).masked_fill(~valid, torch.inf)


def _gather(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of (B, S, C) at indices (B, Q) -> (B, Q, C)."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))


def select_queries(
    content: Tensor, boxes: Tensor, class_logits: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Select the queries with the highest class logits.

    Args:
        content: (B, Q, D).
        boxes: (B, Q, 4).
        class_logits: (B, Q, 2).
        count: maximum number.

    Returns:
        Content (B, P, D), boxes (B, P, 4) and indices (B, P), in descending order of score.
    """
    scores = class_logits.max(-1).values
    indices = scores.topk(min(count, scores.shape[1]), 1).indices
    return _gather(content, indices), _gather(boxes, indices), indices


class _ChildTokens(nn.Module):
    """Learned embedding and relative box size of each child token of a parent box."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.empty(count, width))
        self.size_logits = nn.Parameter(torch.zeros(count, 2))
        nn.init.normal_(self.content)

    @float32_under_autocast
    def expand(self, content: Tensor, boxes: Tensor, centre_head: MLP) -> tuple[Tensor, Tensor]:
        """Parent content (B, P, D) and box (B, P, 4) -> (B, P, K, D) and (B, P, K, 4)."""
        content = content[:, :, None] + self.content
        parent = boxes[:, :, None]
        centre = (inverse_sigmoid(parent[..., :2]) + centre_head(content)).sigmoid()
        size = self.size_logits.sigmoid() * parent[..., 2:]
        return content, torch.cat([centre, size], -1)


class BodyExpansion(nn.Module):
    """1 -> 21 tokens: add 17 joints, two hand boxes and a face box to the body box.

    Without point tokens there are no joints: 1 -> 4.
    """

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.has_joints = config.point_tokens
        if self.has_joints:
            self.joints = _ChildTokens(NUM_BODY_KEYPOINTS, width)
        self.left_hand = _ChildTokens(1, width)
        self.right_hand = _ChildTokens(1, width)
        self.face = _ChildTokens(1, width)
        if self.has_joints:
            self.joint_centre = MLP(width, width, 2, zero_last=True)
        self.hand_box_centre = MLP(width, width, 2, zero_last=True)
        self.face_box_centre = MLP(width, width, 2, zero_last=True)

    def forward(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 1, D) and (B, P, 1, 4) -> (B, P, 21, D) and (B, P, 21, 4)."""
        parent, parent_box = content[:, :, 0], boxes[:, :, 0]
        tokens = [(content, boxes)]
        if self.has_joints:
            tokens.append(self.joints.expand(parent, parent_box, self.joint_centre))
        tokens += [
            self.left_hand.expand(parent, parent_box, self.hand_box_centre),
            self.right_hand.expand(parent, parent_box, self.hand_box_centre),
            self.face.expand(parent, parent_box, self.face_box_centre),
        ]
        return torch.cat([c for c, _ in tokens], 2), torch.cat([b for _, b in tokens], 2)


class WholeBodyExpansion(nn.Module):
    """21 -> 39 tokens: add six points to each hand box and to the face box."""

    def __init__(self, config: AiOSConfig) -> None:
        """Sizes from `config`."""
        super().__init__()
        width = config.hidden_dim
        self.left_hand = _ChildTokens(NUM_HAND_KEYPOINTS, width)
        self.right_hand = _ChildTokens(NUM_HAND_KEYPOINTS, width)
        self.face = _ChildTokens(NUM_FACE_KEYPOINTS, width)
        self.hand_point_centre = MLP(width, width, 2, zero_last=True)
        self.face_point_centre = MLP(width, width, 2, zero_last=True)

    def forward(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 21, D) and (B, P, 21, 4) -> (B, P, 39, D) and (B, P, 39, 4)."""
        body = slice(0, REFINE_BODY.box_tokens[1])
        contents, all_boxes = [content[:, :, body]], [boxes[:, :, body]]
        centres = (self.hand_point_centre, self.hand_point_centre, self.face_point_centre)
        for part, token, centre in zip(_PARTS, REFINE_BODY.box_tokens[1:], centres, strict=True):
            children: _ChildTokens = getattr(self, part)
            points, point_boxes = children.expand(content[:, :, token], boxes[:, :, token], centre)
            contents += [content[:, :, token : token + 1], points]
            all_boxes += [boxes[:, :, token : token + 1], point_boxes]
        return torch.cat(contents, 2), torch.cat(all_boxes, 2)
