"""Which annotation may be used for which term, and how many people have it.

Training specification, sections 7 (rules) and 4 (divisors).  What is said of a part is divided by
the number of people of whom that part is annotated at all; class and body box by everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from aios.network.config import NUM_BODY_JOINTS, NUM_HAND_JOINTS

from ..joints import SCORED_JOINTS, index_tensor
from ..targets import Targets

PARTS = ("left_hand", "right_hand", "face")
_OF_PART = {
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
"""Everything that has a mask of its own."""
COUNTED = ("images", "people", *MASKED)
"""Everything that a loss may be divided by."""


def annotation_masks(targets: Targets, parts_by_box: bool) -> dict[str, Tensor]:
    """Weights 0-1 of what is annotated of P people, by the names of `MASKED` except camera.

    Args:
        targets: P people.
        parts_by_box: rotations and joints of a hand or the face also need its box.

    Returns:
        (P, K) each: one column for boxes, betas and expression, else one a point or joint.  The
        body's 2D joints have a column more for each of the 17 keypoints, which stand in for the
        joints of people of whom none of the 144 is annotated.
    """
    posed, boxed = targets.smplx_valid[:, None], targets.box_valid[:, None]
    known = {"boxes": boxed, "keypoints": targets.keypoints_visible * boxed}
    for part in PARTS:
        boxed = getattr(targets, f"{part}_box_valid")[:, None]
        known[f"{part}_boxes"] = boxed
        known[f"{part}_keypoints"] = getattr(targets, f"{part}_keypoints_visible") * boxed
    known["body_pose"] = posed.expand(-1, NUM_BODY_JOINTS)
    for part in ("left_hand", "right_hand"):
        valid = posed & getattr(targets, f"{part}_pose_valid")[:, None]
        known[f"{part}_pose"] = valid.expand(-1, NUM_HAND_JOINTS)
    for name in ("jaw_pose", "betas", "expression"):
        known[name] = posed & getattr(targets, f"{name}_valid")[:, None]
    sure = targets.joints_3d_confidence * targets.joints_3d_valid[:, None]
    for part, joints in SCORED_JOINTS.items():
        index = index_tensor(joints, sure.device)
        known[f"{part}_joints_3d"] = sure[:, index]
        known[f"{part}_joints_2d"] = targets.joints_2d_visible[:, index]
    no_joint = (targets.joints_2d_visible == 0).all(1, keepdim=True)
    stand_in = targets.keypoints_visible * no_joint
    known["body_joints_2d"] = torch.cat([known["body_joints_2d"], stand_in], 1)
    if parts_by_box:
        for part, names in _OF_PART.items():
            known |= {name: known[name] * known[f"{part}_boxes"] for name in names}
    return {name: mask.to(targets.boxes.dtype) for name, mask in known.items()}


@dataclass(frozen=True)
class Counts:
    """How many people have what, of one batch or of several: what losses are divided by.

    Where one step of the optimiser sees several batches (processes, accumulated micro-batches),
    every one of them divides by the counts of all, and the losses and gradients *add up* to those
    of one joined batch:

        counts = criterion.count(batch) + criterion.count(other) + ...    # the step's micro-batches
        torch.distributed.all_reduce(counts.values)                       # all processes
        losses = criterion(output, batch, denoising, counts=counts)       # each micro-batch

    Where gradients are averaged over W processes (DistributedDataParallel) instead of summed, the
    loss is to be multiplied by W.
    """

    values: Tensor
    """(len(COUNTED),) float32 in that order, on the batch's device."""

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], images: int) -> Self:
        """Count people of `images` pictures who have at least one entry of each mask (P, K)."""
        boxes = masks["boxes"]
        having = [(masks[name] > 0).any(1).sum() for name in MASKED]
        sizes = torch.tensor([images, len(boxes)], device=boxes.device)
        return cls(torch.cat([sizes, torch.stack(having)]).to(boxes.dtype))

    def __add__(self, other: Counts) -> Counts:
        """Of both together."""
        return Counts(self.values + other.values)

    def times(self, factor: Tensor) -> Counts:
        """Of so many batches like this one."""
        return Counts(self.values * factor)

    def __getitem__(self, name: str) -> Tensor:
        """One number, at least 1 so that it can divide."""
        return self.values[COUNTED.index(name)].clamp(min=1.0)
