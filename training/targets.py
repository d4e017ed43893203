"""Annotations of the people in one image: output of the data sets, input of the losses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from aios.body.parameters import SMPLX_SIZES
from aios.geometry.constants import index_tensor
from aios.network.config import BODY_KEYPOINT_JOINTS as BODY_KEYPOINTS

LEFT_HAND_KEYPOINTS = (20, 66, 67, 68, 69, 70)
"""Joints of the left wrist and the tips of thumb, index, middle, ring and pinky."""
RIGHT_HAND_KEYPOINTS = (21, 71, 72, 73, 74, 75)
"""The same of the right hand."""
FACE_KEYPOINTS = (55, 110, 22, 127, 135, 143)
"""Joints of nose, upper lip, jaw joint, right contour end, chin and left contour end."""

_SHAPES: dict[str, tuple[int, ...]] = {
    "boxes": (4,),
    "box_valid": (),
    "left_hand_boxes": (4,),
    "left_hand_box_valid": (),
    "right_hand_boxes": (4,),
    "right_hand_box_valid": (),
    "face_boxes": (4,),
    "face_box_valid": (),
    "keypoints_2d": (17, 2),
    "keypoints_visible": (17,),
    "keypoints_occluded": (17,),
    "left_hand_keypoints_2d": (6, 2),
    "left_hand_keypoints_visible": (6,),
    "right_hand_keypoints_2d": (6, 2),
    "right_hand_keypoints_visible": (6,),
    "face_keypoints_2d": (6, 2),
    "face_keypoints_visible": (6,),
    "smplx_valid": (),
    **{name: (size,) for name, size in SMPLX_SIZES.items()},
    "left_hand_pose_valid": (),
    "right_hand_pose_valid": (),
    "jaw_pose_valid": (),
    "betas_valid": (),
    "expression_valid": (),
    "joints_3d": (144, 3),
    "joints_3d_valid": (),
    "joints_3d_confidence": (144,),
    "joints_2d": (144, 2),
    "joints_2d_visible": (144,),
    "visible_share": (),
    "gender": (),
}
_BOOLEAN = {
    "box_valid",
    "left_hand_box_valid",
    "right_hand_box_valid",
    "face_box_valid",
    "smplx_valid",
    "joints_3d_valid",
    "keypoints_occluded",
    "left_hand_pose_valid",
    "right_hand_pose_valid",
    "jaw_pose_valid",
    "betas_valid",
    "expression_valid",
}
_INTEGER = {"gender"}
_DTYPES = {
    name: torch.bool if name in _BOOLEAN else torch.int64 if name in _INTEGER else torch.float32
    for name in _SHAPES
}
_DEFAULTS = {
    "left_hand_pose_valid": True,
    "right_hand_pose_valid": True,
    "jaw_pose_valid": True,
    "betas_valid": True,
    "expression_valid": True,
    "joints_3d_confidence": 1,
    "visible_share": 1,
    "gender": -1,
}
NEUTRAL, MALE, FEMALE = -1, 0, 1
"""Values of `Targets.gender`."""


@dataclass(frozen=True)
class Targets:
    """G annotated people of one image; tensors on one device, float32 unless stated.

    Boxes and 2D points are 0-1 of the un-padded image: x over its width, y over its height; pixel
    column c covers c/width to (c+1)/width.  Boxes are cxcywh and lie in the image; points may lie
    outside.  The camera frame is x right, y down, z forward, metres.  Rotations are axis-angle.
    Values that are not valid are not annotated and must be ignored.  G may be 0.
    """

    boxes: Tensor
    """(G, 4) extent of the whole body including hidden parts, clipped to the image."""
    box_valid: Tensor
    """(G,) bool"""
    left_hand_boxes: Tensor
    """(G, 4)"""
    left_hand_box_valid: Tensor
    """(G,) bool: annotated, overlaps the image and is not mostly hidden."""
    right_hand_boxes: Tensor
    """(G, 4)"""
    right_hand_box_valid: Tensor
    """(G,) bool, as for the left hand."""
    face_boxes: Tensor
    """(G, 4)"""
    face_box_valid: Tensor
    """(G,) bool, as for the left hand; a face seen from behind is hidden."""
    keypoints_2d: Tensor
    """(G, 17, 2) COCO order, joints `BODY_KEYPOINTS`."""
    keypoints_visible: Tensor
    """(G, 17) 0-1 confidence of the annotation; 0 outside the image, not 0 where occluded."""
    keypoints_occluded: Tensor
    """(G, 17) bool: known to be behind another person or an object, not the own body."""
    left_hand_keypoints_2d: Tensor
    """(G, 6, 2) joints `LEFT_HAND_KEYPOINTS`."""
    left_hand_keypoints_visible: Tensor
    """(G, 6) as `keypoints_visible`."""
    right_hand_keypoints_2d: Tensor
    """(G, 6, 2) joints `RIGHT_HAND_KEYPOINTS`."""
    right_hand_keypoints_visible: Tensor
    """(G, 6)"""
    face_keypoints_2d: Tensor
    """(G, 6, 2) joints `FACE_KEYPOINTS`."""
    face_keypoints_visible: Tensor
    """(G, 6)"""
    smplx_valid: Tensor
    """(G,) bool: the parameters below are annotated."""
    global_orient: Tensor
    """(G, 3) pelvis to camera frame."""
    body_pose: Tensor
    """(G, 63) 21 joints."""
    left_hand_pose: Tensor
    """(G, 45) 15 joints, relative to the body model's mean hand."""
    right_hand_pose: Tensor
    """(G, 45) 15 joints, relative to the body model's mean hand."""
    jaw_pose: Tensor
    """(G, 3)"""
    betas: Tensor
    """(G, 10) shape."""
    expression: Tensor
    """(G, 10)"""
    transl: Tensor
    """(G, 3) translation from the body model's output to the camera frame."""
    left_hand_pose_valid: Tensor
    """(G,) bool; this and the next four count only where `smplx_valid`."""
    right_hand_pose_valid: Tensor
    """(G,) bool"""
    jaw_pose_valid: Tensor
    """(G,) bool"""
    betas_valid: Tensor
    """(G,) bool"""
    expression_valid: Tensor
    """(G,) bool"""
    joints_3d: Tensor
    """(G, 144, 3) camera frame, including `transl`."""
    joints_3d_valid: Tensor
    """(G,) bool"""
    joints_3d_confidence: Tensor
    """(G, 144) 0-1 confidence of each; counts only where `joints_3d_valid`."""
    joints_2d: Tensor
    """(G, 144, 2) projections of the joints, or annotated points."""
    joints_2d_visible: Tensor
    """(G, 144) as `keypoints_visible`; independent of 3D joints."""
    visible_share: Tensor
    """(G,) 0-1 share of the person's pixels in the image that are not occluded; 1 if unknown."""
    gender: Tensor
    """(G,) int64 `NEUTRAL`, `MALE` or `FEMALE`: body model of `betas`."""
    focal_length: float
    """Pixels of this image, principal point at its centre; 0 if unknown."""
    ignore_unmatched: bool
    """Other people without annotation may be in the image."""

    def __post_init__(self) -> None:
        """Check every shape and dtype against the number of people."""
        count = len(self.boxes)
        for name, shape in _SHAPES.items():
            value = getattr(self, name)
            dtype = _DTYPES[name]
            if tuple(value.shape) != (count, *shape) or value.dtype != dtype:
                raise ValueError(
                    f"Targets.{name} is {tuple(value.shape)} {value.dtype}, "
                    f"expected {(count, *shape)} {dtype}"
                )

    def __len__(self) -> int:
        """Number of annotated people."""
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Self:
        """The same targets on `device`."""
        return replace(
            self, **{name: getattr(self, name).to(device, non_blocking=True) for name in _SHAPES}
        )

    def select(self, index: Tensor) -> Self:
        """People at `index` (boolean mask or integers), in that order."""
        return replace(self, **{name: getattr(self, name)[index] for name in _SHAPES})

    @classmethod
    def unannotated(
        cls, count: int, *, focal_length: float = 0.0, ignore_unmatched: bool = False
    ) -> Self:
        """`count` people without any annotation, to be filled by `dataclasses.replace`.

        All values are zero and invalid.  Flags and weights that only restrict another flag start
        at 1: parts of the pose, confidence of 3D joints, `visible_share`.
        """
        blank = {
            name: torch.full((count, *shape), _DEFAULTS.get(name, 0), dtype=_DTYPES[name])
            for name, shape in _SHAPES.items()
        }
        return cls(**blank, focal_length=focal_length, ignore_unmatched=ignore_unmatched)

    @classmethod
    def empty(cls, *, focal_length: float = 0.0, ignore_unmatched: bool = False) -> Self:
        """No people."""
        return cls.unannotated(0, focal_length=focal_length, ignore_unmatched=ignore_unmatched)


def inside(points: Tensor) -> Tensor:
    """(..., 2) points in 0-1 of an image -> (...) bool, whether they lie in it."""
    return ((points >= 0) & (points <= 1)).all(-1)


def mirrorable(values: Tensor) -> Tensor:
    """Nearest float32 values that mirroring twice, x -> 1 - x, restores to the bit.

    x and 1 - x become multiples of one power of two that 24 bits can hold; in an image this moves
    a point by 6e-8 at most.
    """
    exact = values.double()
    exponent = torch.frexp(torch.maximum(exact.abs(), (1 - exact).abs())).exponent
    steps = torch.ldexp(exact, 24 - exponent).round()
    return torch.ldexp(steps, exponent - 24).float()


def joint_keypoints(joints_2d: Tensor, confidence: Tensor | None = None) -> dict[str, Tensor]:
    """Pick the four keypoint sets from the 144 joints, with visibilities.

    Args:
        joints_2d: (G, 144, 2) in 0-1 of the image.
        confidence: (G, 144) 0-1; None for 1.

    Returns:
        The fields of `Targets` named `*keypoints_2d` and `*keypoints_visible`, and
        `joints_2d_visible`.
    """
    visible = inside(joints_2d).to(joints_2d.dtype)
    if confidence is not None:
        visible = visible * confidence
    sets: dict[str, tuple[int, ...]] = {
        "": BODY_KEYPOINTS,
        "left_hand_": LEFT_HAND_KEYPOINTS,
        "right_hand_": RIGHT_HAND_KEYPOINTS,
        "face_": FACE_KEYPOINTS,
    }
    picked = {"joints_2d_visible": visible}
    for prefix, joints in sets.items():
        index = index_tensor(joints, joints_2d.device)
        picked[f"{prefix}keypoints_2d"] = joints_2d[:, index]
        picked[f"{prefix}keypoints_visible"] = visible[:, index]
    return picked


TENSOR_FIELDS = tuple(f.name for f in fields(Targets) if f.name in _SHAPES)
"""Names of the tensors of `Targets`."""
