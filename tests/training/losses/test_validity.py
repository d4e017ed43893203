"""Which annotation counts, and for how many people."""

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


def known(masks):
    """Names of masks with anything in them."""
    return {name for name, mask in masks.items() if bool(mask.any())}


def without(targets, *names):
    changes = {name: torch.zeros_like(getattr(targets, name)) for name in names}
    return replace(targets, **changes)


@pytest.mark.parametrize("by_box", [True, False])
def test_everything_is_annotated(targets, by_box):
    masks = annotation_masks(targets, by_box)
    assert set(masks) == set(MASKED) - {"camera"} == known(masks)
    assert all(mask.shape[0] == 3 and mask.dim() == 2 for mask in masks.values())


@pytest.mark.parametrize(
    ("missing", "gone"),
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
def test_what_is_missing_takes_its_terms_along(targets, missing, gone):
    masks = annotation_masks(without(targets, missing), parts_by_box=False)
    assert set(masks) - known(masks) == gone


def test_parts_may_need_their_boxes(targets):
    hidden = without(targets, "left_hand_box_valid", "face_box_valid")
    free, bound = annotation_masks(hidden, False), annotation_masks(hidden, True)
    assert known(free) - known(bound) == {*HAND, *FACE}


def test_keypoints_stand_in_for_joints_only_where_there_are_none(targets):
    columns = annotation_masks(targets, False)["body_joints_2d"]
    assert not bool(columns[:, 25:].any())
    visible = targets.joints_2d_visible.clone()
    visible[0] = 0.0
    columns = annotation_masks(replace(targets, joints_2d_visible=visible), False)["body_joints_2d"]
    assert not bool(columns[0, :25].any())
    assert torch.equal(columns[0, 25:], targets.keypoints_visible[0])
    assert not bool(columns[1:, 25:].any())


def test_counts_are_people_with_anything(targets):
    sure = targets.joints_3d_confidence.clone()
    sure[0] = 0.0
    sure[1, 1:] = 0.0
    sure[1, 0] = 0.3
    masks = annotation_masks(replace(targets, joints_3d_confidence=sure), False)
    counts = Counts.of(masks | {"camera": torch.zeros(3, 1)}, images=2)
    assert len(counts.values) == len(COUNTED)
    wanted = {"images": 2, "people": 3, "body_joints_3d": 2, "left_hand_joints_3d": 1}
    assert {name: float(counts[name]) for name in wanted} == wanted
    assert float(counts.values[COUNTED.index("camera")]) == 0.0
    assert float(counts["camera"]) == 1.0
