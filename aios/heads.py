"""Heads: what the tokens of a person say about it (specification sections 8 and 10)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .boxes import inverse_sigmoid
from .config import (
    NUM_BETAS,
    NUM_BODY_JOINTS,
    NUM_EXPRESSION,
    NUM_HAND_JOINTS,
    AiOSConfig,
)
from .layers import MLP
from .outputs import LayerOutput, SmplxOutput
from .queries import LOCATE, REFINE_WHOLE_BODY, TokenLayout, layer_layouts
from .rotations import rotation_6d_to_rotmat

_PRIOR_LOGIT = -math.log(99)
_IDENTITY_6D = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_FIRST_CAMERA_SCALE = 0.1
_NUM_BODY_TOKENS = 21
# The two hands share weights although the tokens are not mirrored: the first box is the left
# hand's own but the other one for the right hand (specification section 10).
_LEFT_HAND_TOKENS = (0, 18, 19, 20, 21, 22, 23, 24, 25)
_RIGHT_HAND_TOKENS = (0, 18, 25, 26, 27, 28, 29, 30, 31)
_FACE_TOKENS = (0, 32, 33, 34, 35, 36, 37, 38)


class SmplxHeads(nn.Module):
    """SMPL-X parameters of one decoder layer, absolute (no mean, no residual over layers)."""

    def __init__(self, config: AiOSConfig, layout: TokenLayout) -> None:
        """The input tokens depend on the stage that `layout` belongs to."""
        super().__init__()
        width = config.hidden_dim
        whole = layout is REFINE_WHOLE_BODY
        boxes = layout.box_tokens
        self.body_tokens = sorted([*range(18), *boxes[1:]])
        self.left_tokens = _LEFT_HAND_TOKENS if whole else boxes[1:2]
        self.right_tokens = _RIGHT_HAND_TOKENS if whole else boxes[2:3]
        self.face_tokens = _FACE_TOKENS if whole else boxes[3:4]
        body, hand, face = _NUM_BODY_TOKENS, len(self.left_tokens), len(self.face_tokens)

        def head(tokens: int, out: int) -> MLP:
            return MLP(tokens * width, width, out, zero_last=True)

        self.body_pose = head(body, NUM_BODY_JOINTS * 6)
        self.betas = head(body, NUM_BETAS)
        self.weak_camera = head(body, 3)
        self.hand_pose = head(hand, NUM_HAND_JOINTS * 6)
        self.jaw_pose = head(face, 6)
        self.expression = head(face, NUM_EXPRESSION)
        self._start_at_rest()

    @torch.no_grad()
    def _start_at_rest(self) -> None:
        # Six zeros are no rotation and have an unbounded gradient, s = 0 no depth; the released
        # network starts there and lives by gradient clipping alone.
        for pose in (self.body_pose, self.hand_pose, self.jaw_pose):
            bias = pose.last.bias
            bias.copy_(torch.tensor(_IDENTITY_6D).repeat(len(bias) // 6))
        self.weak_camera.last.bias[0] = _FIRST_CAMERA_SCALE

    def forward(self, tokens: Tensor) -> SmplxOutput:
        """Tokens (B, P, T, D) -> parameters of each of P people slots."""

        def pick(indices: list[int] | tuple[int, ...]) -> Tensor:
            return tokens[:, :, list(indices)].flatten(2)

        def rotations(rotation_6d: Tensor) -> Tensor:
            return rotation_6d_to_rotmat(rotation_6d.unflatten(-1, (-1, 6)))

        body, face = pick(self.body_tokens), pick(self.face_tokens)
        return SmplxOutput(
            body_rotmat=rotations(self.body_pose(body)),
            left_hand_rotmat=rotations(self.hand_pose(pick(self.left_tokens))),
            right_hand_rotmat=rotations(self.hand_pose(pick(self.right_tokens))),
            jaw_rotmat=rotations(self.jaw_pose(face)),
            betas=self.betas(body),
            expression=self.expression(face),
            weak_camera=self.weak_camera(body),
        )


class LayerHeads(nn.Module):
    """The heads that belong to one decoder layer alone."""

    def __init__(self, config: AiOSConfig, layout: TokenLayout) -> None:
        """Later stages have more heads."""
        super().__init__()
        self.layout = layout
        width = config.hidden_dim

        def head(out: int) -> MLP:
            return MLP(width, width, out, zero_last=True)

        self.class_logits = nn.Linear(width, 2)
        nn.init.constant_(self.class_logits.bias, _PRIOR_LOGIT)
        self.body_box = head(4)
        if layout is LOCATE:
            return
        self.joint_centre = head(2)
        self.hand_box_centre = head(2)
        self.hand_box_size = head(2)
        self.face_box_centre = head(2)
        self.face_box_size = head(2)
        self.smplx = SmplxHeads(config, layout)
        if layout is REFINE_WHOLE_BODY:
            self.hand_point_centre = head(2)
            self.face_point_centre = head(2)


class Heads(nn.Module):
    """All heads of the decoder; sizes of points are shared by every layer."""

    def __init__(self, config: AiOSConfig) -> None:
        """One `LayerHeads` for each decoder layer."""
        super().__init__()
        width = config.hidden_dim
        self.layers = nn.ModuleList(LayerHeads(config, layout) for layout in layer_layouts(config))
        self.joint_size = MLP(width, width, 2, zero_last=True)
        self.hand_point_size = MLP(width, width, 2, zero_last=True)
        self.face_point_size = MLP(width, width, 2, zero_last=True)

    def layer(self, index: int) -> LayerHeads:
        """Heads of decoder layer `index`."""
        heads = self.layers[index]
        assert isinstance(heads, LayerHeads)
        return heads

    def refine(self, index: int, tokens: Tensor, boxes: Tensor, sizes: bool = True) -> Tensor:
        """Boxes of all tokens after layer `index`.

        Args:
            index: of the decoder layer.
            tokens: (B, P, T, D).
            boxes: (B, P, T, 4) that the layer was given.
            sizes: also refine the size of point tokens, which only the next layer needs.

        Returns:
            (B, P, T, 4); with `sizes` False the last two numbers of points mean nothing.
        """
        return (inverse_sigmoid(boxes) + self._deltas(index, tokens, sizes)).sigmoid()

    def _deltas(self, index: int, tokens: Tensor, sizes: bool) -> Tensor:
        heads = self.layer(index)
        layout = heads.layout
        body = heads.body_box(tokens[:, :, :1])
        if layout is LOCATE:
            return body

        def points(where: slice | None, centre: MLP, size: MLP) -> Tensor:
            part = tokens[:, :, where]
            xy = centre(part)
            return torch.cat([xy, size(part) if sizes else torch.zeros_like(xy)], -1)

        def part_box(token: int, centre: MLP, size: MLP) -> Tensor:
            part = tokens[:, :, token : token + 1]
            return torch.cat([centre(part), size(part)], -1)

        left, right, face = layout.box_tokens[1:]
        hand_heads = (heads.hand_box_centre, heads.hand_box_size)
        left_box, right_box = part_box(left, *hand_heads), part_box(right, *hand_heads)
        face_box = part_box(face, heads.face_box_centre, heads.face_box_size)
        joints = points(layout.joints, heads.joint_centre, self.joint_size)
        if layout is not REFINE_WHOLE_BODY:
            return torch.cat([body, joints, left_box, right_box, face_box], 2)
        hand_points = (heads.hand_point_centre, self.hand_point_size)
        left_points = points(layout.left_hand_points, *hand_points)
        right_points = points(layout.right_hand_points, *hand_points)
        face_points = points(layout.face_points, heads.face_point_centre, self.face_point_size)
        return torch.cat(
            [body, joints, left_box, left_points, right_box, right_points, face_box, face_points],
            2,
        )

    def predict(self, index: int, tokens: Tensor, boxes: Tensor) -> LayerOutput:
        """What layer `index` says.

        Args:
            index: of the decoder layer.
            tokens: (B, P, T, D) after the decoder's norm.
            boxes: (B, P, T, 4) that the layer was given.
        """
        heads = self.layer(index)
        layout = heads.layout
        class_logits = heads.class_logits(tokens[:, :, 0])
        refined = self.refine(index, tokens, boxes, sizes=False)
        if layout is LOCATE:
            return LayerOutput(layout.stage, class_logits, refined[:, :, 0])

        def centres(where: slice | None) -> Tensor | None:
            return None if where is None else refined[:, :, where, :2]

        body, left, right, face = (refined[:, :, token] for token in layout.box_tokens)
        return LayerOutput(
            stage=layout.stage,
            class_logits=class_logits,
            boxes=body,
            left_hand_boxes=left,
            right_hand_boxes=right,
            face_boxes=face,
            keypoints_2d=centres(layout.joints),
            left_hand_keypoints_2d=centres(layout.left_hand_points),
            right_hand_keypoints_2d=centres(layout.right_hand_points),
            face_keypoints_2d=centres(layout.face_points),
            smplx=heads.smplx(tokens),
        )
