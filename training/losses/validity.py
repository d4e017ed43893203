"""Which annotations count for which loss term, and how many people have them.

Terms of a part are divided by the number of people who have an annotation of that part; class and
body box are divided by all people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from aios.geometry.constants import index_tensor
from aios.network.config import NUM_BODY_JOINTS, NUM_HAND_JOINTS

from ..joints import SCORED_JOINTS
from ..targets import Targets

PARTS = ("left_hand", "right_hand", "face")
_MASKS_OF_PART = {
    "left_hand": ("left_hand_pose", "left_hand_joints_3d", "left_hand_joints_2d"),
    "right_hand": ("right_hand_pose", "right_hand_joints_3d", "right_hand_joints_2d"),
    "face": ("jaw_pose", "expression", "face_joints_3d", "face_joints_2d"),
}

MASKED = (
    "boxes",
    *(f"{part}_boxes" for part in PARTS),
    "keypoints",
    *(f"{part}_keypoints" for part in PARTS),
    *("body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "betas", "expression"),
    *(f"{part}_joints_3d" for part in SCORED_JOINTS),
    *(f"{part}_joints_2d" for part in SCORED_JOINTS),
    "camera",
)
"""Names of all masks."""
COUNTED = ("images", "people", *MASKED)
"""Names of all divisors."""


def annotation_masks(targets: Targets, parts_need_box: bool) -> dict[str, Tensor]:
    """Weights 0-1 of the annotations of P people, by the names of `MASKED` except camera.

    Args:
        targets: P people.
        parts_need_box: rotations and joints of a hand or the face also need its box.

    Returns:
        (P, K) each: one column for boxes, betas and expression, otherwise one per point or joint.
        The body's 2D joints have 17 more columns, for the keypoints that replace the joints of
        people without any of the 144 joints.
    """
    posed, boxed = targets.smplx_valid[:, None], targets.box_valid[:, None]
    masks = {"boxes": boxed, "keypoints": targets.keypoints_visible * boxed}
    for part in PARTS:
        boxed = getattr(targets, f"{part}_box_valid")[:, None]
        masks[f"{part}_boxes"] = boxed
        masks[f"{part}_keypoints"] = getattr(targets, f"{part}_keypoints_visible") * boxed
    masks["body_pose"] = posed.expand(-1, NUM_BODY_JOINTS)
    for part in ("left_hand", "right_hand"):
        valid = posed & getattr(targets, f"{part}_pose_valid")[:, None]
        masks[f"{part}_pose"] = valid.expand(-1, NUM_HAND_JOINTS)
    for name in ("jaw_pose", "betas", "expression"):
        masks[name] = posed & getattr(targets, f"{name}_valid")[:, None]
    confidence = targets.joints_3d_confidence * targets.joints_3d_valid[:, None]
    for part, joints in SCORED_JOINTS.items():
        index = index_tensor(joints, confidence.device)
        masks[f"{part}_joints_3d"] = confidence[:, index]
        masks[f"{part}_joints_2d"] = targets.joints_2d_visible[:, index]
    no_joint = (targets.joints_2d_visible == 0).all(1, keepdim=True)
    replacements = targets.keypoints_visible * no_joint
    masks["body_joints_2d"] = torch.cat([masks["body_joints_2d"], replacements], 1)
    if parts_need_box:
        for part, names in _MASKS_OF_PART.items():
            masks |= {name: masks[name] * masks[f"{part}_boxes"] for name in names}
    return {name: mask.to(targets.boxes.dtype) for name, mask in masks.items()}


@dataclass(frozen=True)
class Counts:
    """Divisors of the loss terms: how many people of one or several batches have each annotation.

    If one optimizer step sees several batches (processes, accumulated batches), each batch is
    divided by the counts of all.  Losses and gradients then *sum* to those of one joined batch:

        counts = criterion.count(batch) + criterion.count(other) + ...   # batches of the step
        torch.distributed.all_reduce(counts.values)                      # all processes
        losses = criterion(output, matches, batch, counts=counts)        # each batch

    DistributedDataParallel averages gradients over W processes instead of summing them: multiply
    the loss by W.
    """

    values: Tensor
    """(len(COUNTED),) float32 in that order, on the batch's device."""

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], images: int) -> Self:
        """Count the people of `images` images with any non-zero entry in each mask (P, K)."""
        boxes = masks["boxes"]
        counts = [(masks[name] > 0).any(1).sum() for name in MASKED]
        sizes = torch.tensor([images, len(boxes)], device=boxes.device)
        return cls(torch.cat([sizes, torch.stack(counts)]).to(boxes.dtype))

    def __add__(self, other: Counts) -> Counts:
        """Counts of both batches together."""
        return Counts(self.values + other.values)

    def times(self, factor: Tensor) -> Counts:
        """All counts multiplied by `factor`."""
        return Counts(self.values * factor)

    def __getitem__(self, name: str) -> Tensor:
        """One divisor, at least 1."""
        return self.values[COUNTED.index(name)].clamp(min=1.0)
