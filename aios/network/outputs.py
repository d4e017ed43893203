"""Outputs of the network, and its inputs besides the image.

Letters: B images, Q proposals, P people slots, S image tokens, D width, L levels, H heads,
N sampling points, T tokens per person. Coordinates are 0-1 of the un-padded image; boxes are
centre x, centre y, width, height.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

PERSON_CLASS = 1
"""Column of the two class logits for "person"; column 0 is never a target."""


@dataclass(frozen=True)
class SmplxOutput:
    """SMPL-X parameters of all people slots; rotations are relative to the parent joint."""

    body_rotmat: Tensor
    """(B, P, 22, 3, 3) pelvis (global orientation) first."""
    left_hand_rotmat: Tensor
    """(B, P, 15, 3, 3) relative to the mean hand."""
    right_hand_rotmat: Tensor
    """(B, P, 15, 3, 3) relative to the mean hand."""
    jaw_rotmat: Tensor
    """(B, P, 1, 3, 3)"""
    betas: Tensor
    """(B, P, 10)"""
    expression: Tensor
    """(B, P, 10)"""
    weak_camera: Tensor
    """(B, P, 3) s, tx, ty; see `aios.geometry.camera.weak_camera_to_transl`."""


@dataclass(frozen=True)
class LayerOutput:
    """Outputs of the heads after one decoder layer.

    P is `num_proposals` in stage `locate`, `num_people` afterwards. Hand and face boxes, body
    keypoints and SMPL-X exist from stage `refine_body` on, hand and face keypoints in stage
    `refine_whole_body`; missing outputs are None.
    """

    stage: str
    """One of "locate", "refine_body", "refine_whole_body"."""
    class_logits: Tensor
    """(B, P, 2), see `PERSON_CLASS`; scores are sigmoids."""
    boxes: Tensor
    """(B, P, 4)"""
    left_hand_boxes: Tensor | None = None
    """(B, P, 4)"""
    right_hand_boxes: Tensor | None = None
    """(B, P, 4)"""
    face_boxes: Tensor | None = None
    """(B, P, 4)"""
    keypoints_2d: Tensor | None = None
    """(B, P, 17, 2)"""
    left_hand_keypoints_2d: Tensor | None = None
    """(B, P, 6, 2)"""
    right_hand_keypoints_2d: Tensor | None = None
    """(B, P, 6, 2)"""
    face_keypoints_2d: Tensor | None = None
    """(B, P, 6, 2)"""
    keypoint_scores: Tensor | None = None
    """(B, P, 17) 0-1, height of the keypoint maps at the body keypoints; None without maps."""
    smplx: SmplxOutput | None = None
    prefix_class_logits: Tensor | None = None
    """(B, N, 2) of the prefix queries (denoising), or None."""
    prefix_boxes: Tensor | None = None
    """(B, N, 4) of the prefix queries (denoising), or None."""


@dataclass(frozen=True)
class ProposalOutput:
    """Two-stage selection of queries from the image tokens (Deformable DETR, Sec. 4.2)."""

    token_class_logits: Tensor
    """(B, S, 2) of every image token."""
    token_indices: Tensor
    """(B, Q) int64, selected tokens in descending order of score."""
    class_logits: Tensor
    """(B, Q, 2) of the selected tokens."""
    boxes: Tensor
    """(B, Q, 4) of the selected tokens."""


@dataclass(frozen=True)
class KeypointMaps:
    """Maps of the K body keypoints, see `keypoint_maps.KeypointHeads`."""

    heat_logits: Tensor
    """(B, K, h, w) logits of the heat."""
    offsets: Tensor
    """(B, K, 2, h, w) x and y from the index of a cell to the keypoint, cells."""

    @property
    def log_heat(self) -> Tensor:
        """(B, K, h, w) logarithm of the heat, which is 0-1."""
        return F.logsigmoid(self.heat_logits)


@dataclass(frozen=True)
class EncodedImage:
    """Image tokens after the encoder, and their layout."""

    memory: Tensor
    """(B, S, D)"""
    padding_mask: Tensor | None
    """(B, S) bool, True on padding; None without padding."""
    spatial_shapes: tuple[tuple[int, int], ...]
    """(height, width) of each of the L levels."""
    valid_ratios: Tensor
    """(B, L, 2) un-padded share of each level in x and y."""
    keypoint_maps: KeypointMaps | None = dataclasses.field(default=None, kw_only=True)
    """None for backbones without keypoint heads."""


@dataclass(frozen=True)
class LayerAttention:
    """Sampling points of the cross-attention of one decoder layer, for every token."""

    stage: str
    reference_points: Tensor
    """(B, P * T, 4) reference boxes of the layer, person by person."""
    sampling_locations: Tensor
    """(B, P * T, H, L, N, 2), 0-1 of the un-padded image."""
    attention_weights: Tensor
    """(B, P * T, H, L, N), summing to 1 over L and N."""


@dataclass(frozen=True)
class PrefixQueries:
    """Extra body-box queries in front of the network's own (denoising in training).

    They stay single box tokens through all layers. The network's own tokens never attend to them;
    they attend to all tokens of the network, and to each other where `blocked` is False.
    """

    content: Tensor
    """(B, N, D)"""
    boxes: Tensor
    """(B, N, 4)"""
    blocked: Tensor
    """(B, N, N) bool, True where row may not attend to column."""


@dataclass(frozen=True)
class AiOSOutput:
    """Output of `AiOS.forward`."""

    final: LayerOutput
    """After the last decoder layer."""
    proposals: ProposalOutput
    selected_queries: Tensor
    """(B, P) int64, index of the proposal of each people slot."""
    encoded: EncodedImage
    aux_outputs: tuple[LayerOutput, ...] = ()
    """Layers before the last, in order; only with `aux_outputs=True`."""
    attention: tuple[LayerAttention, ...] = ()
    """One entry per decoder layer; only with `keep_attention=True`."""
