"""Names of the released weights -> names of this network, as one table of patterns.

Input are the 927 canonical released names, see `checkpoint.canonical_name`.  The parity tests
verify the table numerically.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..network.config import AiOSConfig

_RENAMED = (
    (r"backbone\.0\.body\.", "backbone."),
    (r"input_proj\.", "level_projections."),
    (r"transformer\.level_embed", "encoder.level_embed"),
    (r"transformer\.encoder\.", "encoder."),
    (r"transformer\.enc_output\.", "proposals.projection."),
    (r"transformer\.enc_output_norm\.", "proposals.norm."),
    (r"transformer\.enc_out_class_embed\.", "proposals.class_head."),
    (r"transformer\.enc_out_bbox_embed\.", "proposals.box_head."),
    (r"transformer\.decoder\.ref_point_head\.", "decoder.position_mlp."),
    (r"transformer\.decoder\.(layers|norm)\.", r"decoder.\1."),
    (r"transformer\.decoder\.keypoint_embed\.weight", "decoder.body_expansion.joints.content"),
    (r"transformer\.decoder\.hw\.weight", "decoder.body_expansion.joints.size_logits"),
    (r"transformer\.decoder\.lhand_box_embed\.weight", "decoder.body_expansion.left_hand.content"),
    (r"transformer\.decoder\.rhand_box_embed\.weight", "decoder.body_expansion.right_hand.content"),
    (r"transformer\.decoder\.face_box_embed\.weight", "decoder.body_expansion.face.content"),
    (
        r"transformer\.decoder\.hw_lhand_bbox\.weight",
        "decoder.body_expansion.left_hand.size_logits",
    ),
    (
        r"transformer\.decoder\.hw_rhand_bbox\.weight",
        "decoder.body_expansion.right_hand.size_logits",
    ),
    (r"transformer\.decoder\.hw_face_bbox\.weight", "decoder.body_expansion.face.size_logits"),
    (
        r"transformer\.decoder\.lhand_keypoint_embed\.weight",
        "decoder.whole_body_expansion.left_hand.content",
    ),
    (
        r"transformer\.decoder\.rhand_keypoint_embed\.weight",
        "decoder.whole_body_expansion.right_hand.content",
    ),
    (
        r"transformer\.decoder\.face_keypoint_embed\.weight",
        "decoder.whole_body_expansion.face.content",
    ),
    (
        r"transformer\.decoder\.hw_lhand_kps\.weight",
        "decoder.whole_body_expansion.left_hand.size_logits",
    ),
    (
        r"transformer\.decoder\.hw_rhand_kps\.weight",
        "decoder.whole_body_expansion.right_hand.size_logits",
    ),
    (r"transformer\.decoder\.hw_face_kps\.weight", "decoder.whole_body_expansion.face.size_logits"),
    (r"pose_hw_embed\.0\.", "decoder.heads.joint_size."),
    (r"pose_hand_hw_embed\.0\.", "decoder.heads.hand_point_size."),
    (r"pose_face_hw_embed\.0\.", "decoder.heads.face_point_size."),
)

# Released module list -> (decoder stage of its entry 0, head,
#                          expansion of its last entry if it has one entry more than layers).
_PER_LAYER: dict[str, tuple[int, str, str | None]] = {
    "class_embed": (0, "class_logits", None),
    "bbox_embed": (0, "body_box", None),
    "pose_embed": (1, "joint_centre", "body_expansion.joint_centre"),
    "bbox_hand_embed": (1, "hand_box_centre", "body_expansion.hand_box_centre"),
    "bbox_hand_hw_embed": (1, "hand_box_size", None),
    "bbox_face_embed": (1, "face_box_centre", "body_expansion.face_box_centre"),
    "bbox_face_hw_embed": (1, "face_box_size", None),
    "pose_hand_embed": (2, "hand_point_centre", "whole_body_expansion.hand_point_centre"),
    "pose_face_embed": (2, "face_point_centre", "whole_body_expansion.face_point_centre"),
    "smpl_pose_embed": (1, "smplx.body_pose", None),
    "smpl_beta_embed": (1, "smplx.betas", None),
    "smpl_cam_embed": (1, "smplx.weak_camera", None),
    "smpl_hand_pose_embed": (1, "smplx.hand_pose", None),
    "smpl_expr_embed": (1, "smplx.expression", None),
    "smpl_jaw_embed": (1, "smplx.jaw_pose", None),
}
_PER_LAYER_PATTERN = re.compile(rf"({'|'.join(_PER_LAYER)})\.(\d+)\.(.+)")


def rename_tensor(name: str, config: AiOSConfig) -> str:
    """Name in this network of a canonical released name.

    Unknown names are returned unchanged; the strict loader refuses them.
    """
    for pattern, replacement in _RENAMED:
        renamed, found = re.subn(rf"^{pattern}", replacement, name)
        if found:
            return renamed
    match = _PER_LAYER_PATTERN.fullmatch(name)
    if match is None:
        return name
    released, entry, rest = match.groups()
    stage, head, expansion = _PER_LAYER[released]
    first = (0, config.locate_layers, config.locate_layers + config.refine_body_layers)[stage]
    layer = first + int(entry)
    if expansion is not None and layer == config.decoder_layers:
        return f"decoder.{expansion}.{rest}"
    return f"decoder.heads.layers.{layer}.{head}.{rest}"


def rename_official(state: dict[str, Tensor], config: AiOSConfig) -> dict[str, Tensor]:
    """Rename all tensors of a state dict."""
    return {rename_tensor(name, config): tensor for name, tensor in state.items()}
