"""Masks of the annotations that count, and the numbers of people who have them."""

from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_targets
from training.losses.validity import COUNTED, MASKED, Counts, annotation_masks

HAND = ("left_hand_pose", "left_hand_joints_3d", "left_hand_joints_2d")
FACE = ("jaw_pose", "expression", "face_joints_3d", "face_joints_2d")


@pytest.fixture(scope="module")
def targets():
    return random_targets(BodyModel.load(), 3)


def nonzero(masks):
    """Names of masks with any non-zero entry."""
    return {name for name, mask in masks.items() if bool(mask.any())}


def without(targets, *names):
    changes = {name: torch.zeros_like(getattr(targets, name)) for name in names}
    return replace(targets, **changes)


@pytest.mark.parametrize("parts_need_box", [True, False])
def test_complete_annotations_fill_every_mask(targets, parts_need_box):
    masks = annotation_masks(targets, parts_need_box)
    assert set(masks) == set(MASKED) - {"camera"} == nonzero(masks)
    assert all(mask.shape[0] == 3 and mask.dim() == 2 for mask in masks.values())


@pytest.mark.parametrize(
    ("missing", "empty"),
    [
        ("box_valid", {"boxes", "keypoints"}),
        ("left_hand_box_valid", {"left_hand_boxes", "left_hand_keypoints"}),
        ("left_hand_pose_valid", {"left_hand_pose"}),
        ("jaw_pose_valid", {"jaw_pose"}),
        ("betas_valid", {"betas"}),
        ("expression_valid", {"expression"}),
        (
            "smplx_valid",
            {"body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "betas", "expression"},
        ),
        *(
            (name, {f"{part}_joints_3d" for part in ("body", "left_hand", "right_hand", "face")})
            for name in ("joints_3d_valid", "joints_3d_confidence")
        ),
    ],
)
def test_missing_annotation_empties_its_masks(targets, missing, empty):
    masks = annotation_masks(without(targets, missing), parts_need_box=False)
    assert set(masks) - nonzero(masks) == empty


def test_masks_of_parts_need_their_box_if_asked(targets):
    hidden = without(targets, "left_hand_box_valid", "face_box_valid")
    without_rule, with_rule = annotation_masks(hidden, False), annotation_masks(hidden, True)
    assert nonzero(without_rule) - nonzero(with_rule) == {*HAND, *FACE}


def test_keypoints_replace_joints_only_for_people_without_joints(targets):
    columns = annotation_masks(targets, False)["body_joints_2d"]
    assert not bool(columns[:, 25:].any())
    visible = targets.joints_2d_visible.clone()
    visible[0] = 0.0
    columns = annotation_masks(replace(targets, joints_2d_visible=visible), False)["body_joints_2d"]
    assert not bool(columns[0, :25].any())
    assert torch.equal(columns[0, 25:], targets.keypoints_visible[0])
    assert not bool(columns[1:, 25:].any())


def test_counts_are_people_with_any_annotation(targets):
    confidence = targets.joints_3d_confidence.clone()
    confidence[0] = 0.0
    confidence[1, 1:] = 0.0
    confidence[1, 0] = 0.3
    masks = annotation_masks(replace(targets, joints_3d_confidence=confidence), False)
    counts = Counts.of(masks | {"camera": torch.zeros(3, 1)}, images=2)
    assert len(counts.values) == len(COUNTED)
    expected = {"images": 2, "people": 3, "body_joints_3d": 2, "left_hand_joints_3d": 1}
    assert {name: float(counts[name]) for name in expected} == expected
    assert float(counts.values[COUNTED.index("camera")]) == 0.0
    assert float(counts["camera"]) == 1.0
