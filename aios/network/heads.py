"""Heads: class, boxes, keypoints and SMPL-X parameters from the tokens of a person."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..geometry.boxes import inverse_sigmoid
from ..geometry.constants import index_tensor
from ..geometry.rotations import rotation_6d_to_rotmat
from .config import (
    NUM_BETAS,
    NUM_BODY_JOINTS,
    NUM_EXPRESSION,
    NUM_HAND_JOINTS,
    AiOSConfig,
)
from .float32 import float32_under_autocast
from .mlp import MLP
from .outputs import LayerOutput, SmplxOutput
from .queries import LOCATE, TokenLayout, layer_layouts

_PRIOR_LOGIT = -math.log(99)
_IDENTITY_6D = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_FIRST_CAMERA_SCALE = 0.1
# The hands share weights although their inputs are not mirrored: the second token is the left
# hand's own box, but the other hand's box for the right hand. Released weights depend on this.
_LEFT_HAND_TOKENS = (0, 18, 19, 20, 21, 22, 23, 24, 25)
_RIGHT_HAND_TOKENS = (0, 18, 25, 26, 27, 28, 29, 30, 31)
_FACE_TOKENS = (0, 32, 33, 34, 35, 36, 37, 38)


def _body_tokens(layout: TokenLayout) -> tuple[int, ...]:
    """Indices of all box and joint tokens, ascending."""
    joints = () if layout.joints is None else range(layout.joints.start, layout.joints.stop)
    return tuple(sorted([*layout.box_tokens, *joints]))


def _part_tokens(layout: TokenLayout) -> tuple[tuple[int, ...], ...]:
    """Indices of the input tokens of the left-hand, right-hand and face heads."""
    body, left, right, face = layout.box_tokens
    if layout.stage == "refine_body":
        return (left,), (right,), (face,)
    if layout.left_hand_points is None:
        # The weights are shared; with the same order both hands would get the same output.
        return (body, left, right), (body, right, left), (body, face)
    return _LEFT_HAND_TOKENS, _RIGHT_HAND_TOKENS, _FACE_TOKENS


class SmplxHeads(nn.Module):
    """SMPL-X parameters of one decoder layer: absolute, no mean and no residual over layers."""

    def __init__(self, config: AiOSConfig, layout: TokenLayout) -> None:
        """Input tokens depend on the stage of `layout`."""
        super().__init__()
        width = config.hidden_dim
        self.body_tokens = _body_tokens(layout)
        self.has_parts = layout is not LOCATE

        def head(tokens: tuple[int, ...], out: int) -> MLP:
            return MLP(len(tokens) * width, width, out, zero_last=True)

        self.body_pose = head(self.body_tokens, NUM_BODY_JOINTS * 6)
        self.betas = head(self.body_tokens, NUM_BETAS)
        self.weak_camera = head(self.body_tokens, 3)
        if self.has_parts:
            self.left_tokens, self.right_tokens, self.face_tokens = _part_tokens(layout)
            self.hand_pose = head(self.left_tokens, NUM_HAND_JOINTS * 6)
            self.jaw_pose = head(self.face_tokens, 6)
            self.expression = head(self.face_tokens, NUM_EXPRESSION)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        # Six zeros are not a rotation and have an unbounded gradient, and s = 0 is infinite depth.
        # The released network starts there and relies on gradient clipping.
        poses = (self.body_pose, self.hand_pose, self.jaw_pose) if self.has_parts else ()
        for pose in poses or (self.body_pose,):
            bias = pose.last.bias
            bias.copy_(torch.tensor(_IDENTITY_6D).repeat(len(bias) // 6))
        self.weak_camera.last.bias[0] = _FIRST_CAMERA_SCALE

    @float32_under_autocast
    def forward(self, tokens: Tensor) -> SmplxOutput:
        """Tokens (B, P, T, D) -> parameters of each people slot."""
        body = _pick(tokens, self.body_tokens)
        body_rotmat = _rotations(self.body_pose(body))
        return SmplxOutput(
            body_rotmat=body_rotmat,
            **(self._parts(tokens) if self.has_parts else _neutral_parts(body_rotmat)),
            betas=self.betas(body),
            weak_camera=self.weak_camera(body),
        )

    def _parts(self, tokens: Tensor) -> dict[str, Tensor]:
        face = _pick(tokens, self.face_tokens)
        return {
            "left_hand_rotmat": _rotations(self.hand_pose(_pick(tokens, self.left_tokens))),
            "right_hand_rotmat": _rotations(self.hand_pose(_pick(tokens, self.right_tokens))),
            "jaw_rotmat": _rotations(self.jaw_pose(face)),
            "expression": self.expression(face),
        }


def _pick(tokens: Tensor, indices: tuple[int, ...]) -> Tensor:
    """(B, P, T, D) -> (B, P, len(indices) * D)."""
    return tokens.index_select(2, index_tensor(indices, tokens.device)).flatten(2)


def _rotations(rotation_6d: Tensor) -> Tensor:
    """(B, P, J * 6) -> (B, P, J, 3, 3)."""
    return rotation_6d_to_rotmat(rotation_6d.unflatten(-1, (-1, 6)))


def _neutral_parts(body_rotmat: Tensor) -> dict[str, Tensor]:
    """Mean hands, closed mouth, neutral expression, for a layout of body boxes only."""
    slots = body_rotmat.shape[:2]

    def identity(joints: int) -> Tensor:
        rotmat = torch.eye(3, dtype=body_rotmat.dtype, device=body_rotmat.device)
        return rotmat.expand(*slots, joints, 3, 3)

    return {
        "left_hand_rotmat": identity(NUM_HAND_JOINTS),
        "right_hand_rotmat": identity(NUM_HAND_JOINTS),
        "jaw_rotmat": identity(1),
        "expression": body_rotmat.new_zeros(*slots, NUM_EXPRESSION),
    }


class LayerHeads(nn.Module):
    """Heads of one decoder layer."""

    def __init__(self, config: AiOSConfig, layout: TokenLayout) -> None:
        """The heads depend on the stage of `layout`."""
        super().__init__()
        self.layout = layout
        width = config.hidden_dim

        def head(out: int) -> MLP:
            return MLP(width, width, out, zero_last=True)

        self.class_logits = nn.Linear(width, 2)
        nn.init.constant_(self.class_logits.bias, _PRIOR_LOGIT)
        self.body_box = head(4)
        if layout is not LOCATE:
            self._add_parts(layout, head)
        self.smplx = SmplxHeads(config, layout) if layout.stage in config.smplx_stages else None
        if layout.left_hand_points is not None:
            self.hand_point_centre = head(2)
            self.face_point_centre = head(2)

    def _add_parts(self, layout: TokenLayout, head: Callable[[int], MLP]) -> None:
        if layout.joints is not None:
            self.joint_centre = head(2)
        self.hand_box_centre = head(2)
        self.hand_box_size = head(2)
        self.face_box_centre = head(2)
        self.face_box_size = head(2)


class Heads(nn.Module):
    """All heads of the decoder; the heads of point sizes are shared by all layers."""

    def __init__(self, config: AiOSConfig) -> None:
        """One `LayerHeads` per decoder layer."""
        super().__init__()
        width = config.hidden_dim
        self.layers = nn.ModuleList(LayerHeads(config, layout) for layout in layer_layouts(config))
        if config.point_tokens:
            self.joint_size = MLP(width, width, 2, zero_last=True)
            self.hand_point_size = MLP(width, width, 2, zero_last=True)
            self.face_point_size = MLP(width, width, 2, zero_last=True)

    def layer(self, index: int) -> LayerHeads:
        """Heads of decoder layer `index`."""
        heads = self.layers[index]
        assert isinstance(heads, LayerHeads)
        return heads

    @float32_under_autocast
    def refine(self, index: int, tokens: Tensor, boxes: Tensor, sizes: bool = True) -> Tensor:
        """Refined boxes of all tokens after layer `index`.

        Args:
            index: of the decoder layer.
            tokens: (B, P, T, D).
            boxes: (B, P, T, 4) reference boxes of the layer.
            sizes: also refine the sizes of point tokens, which only the next layer reads.

        Returns:
            (B, P, T, 4); with `sizes` False the sizes of points are meaningless.
        """
        return (inverse_sigmoid(boxes) + self._deltas(index, tokens, sizes)).sigmoid()

    def _deltas(self, index: int, tokens: Tensor, sizes: bool) -> Tensor:
        heads = self.layer(index)
        layout = heads.layout
        body = heads.body_box(tokens[:, :, :1])
        if layout is LOCATE:
            return body

        def points(where: slice, centre: MLP, size: MLP) -> Tensor:
            part = tokens[:, :, where]
            xy = centre(part)
            return torch.cat([xy, size(part) if sizes else torch.zeros_like(xy)], -1)

        def part_box(token: int, centre: MLP, size: MLP) -> Tensor:
            part = tokens[:, :, token : token + 1]
            return torch.cat([centre(part), size(part)], -1)

        deltas = [body]
        if layout.joints is not None:
            deltas.append(points(layout.joints, heads.joint_centre, self.joint_size))
        _, left, right, face = layout.box_tokens
        for token, where, part in (
            (left, layout.left_hand_points, "hand"),
            (right, layout.right_hand_points, "hand"),
            (face, layout.face_points, "face"),
        ):
            centre, size = getattr(heads, f"{part}_box_centre"), getattr(heads, f"{part}_box_size")
            deltas.append(part_box(token, centre, size))
            if where is not None:
                centre = getattr(heads, f"{part}_point_centre")
                deltas.append(points(where, centre, getattr(self, f"{part}_point_size")))
        return torch.cat(deltas, 2)

    def predict(self, index: int, tokens: Tensor, boxes: Tensor) -> LayerOutput:
        """Outputs of layer `index`.

        Args:
            index: of the decoder layer.
            tokens: (B, P, T, D) after the decoder's norm.
            boxes: (B, P, T, 4) reference boxes of the layer.
        """
        heads = self.layer(index)
        layout = heads.layout
        class_logits = heads.class_logits(tokens[:, :, 0])
        refined = self.refine(index, tokens, boxes, sizes=False)
        smplx = None if heads.smplx is None else heads.smplx(tokens)
        if layout is LOCATE:
            return LayerOutput(layout.stage, class_logits, refined[:, :, 0], smplx=smplx)

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
            smplx=smplx,
        )
