"""Figures of merit by hand, and the whole measurement on an answer that is the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body_model import BodyModel
from aios.camera import Camera
from aios.people import People, Prediction
from training.evaluate import add_picture, first_people
from training.metrics import (
    Tally,
    box_iou,
    count_keypoints,
    match_greedily,
    pelvis_aligned_mm,
)

from .training_samples import SIZE_HW, random_targets


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_iou_by_hand():
    first = np.array([[0.0, 0, 2, 2]])
    second = np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])
    np.testing.assert_allclose(box_iou(first, second), [[1 / 3, 0]])


def test_greedy_matching_is_one_to_one():
    wanted = np.array([[0.0, 0, 10, 10]])
    twice = np.array([[0.0, 0, 10, 9], [0, 0, 10, 10]])
    assert match_greedily(twice, wanted) == [(0, 0)]
    assert match_greedily(np.zeros((0, 4)), wanted) == []
    assert match_greedily(twice, np.zeros((0, 4))) == []


def test_keypoints_of_missed_people_are_wrong():
    tally = Tally()
    wanted, box = np.zeros((17, 2)), np.array([0.0, 0, 50, 100])
    predicted = wanted.copy()
    predicted[0] = 9.9, 0
    predicted[1] = 10.1, 0
    count_keypoints(tally, predicted, wanted, np.ones(17), box)
    assert tally.summary()["pck"] == pytest.approx(16 / 17)
    count_keypoints(tally, None, wanted, np.ones(17), box)
    assert tally.summary()["pck"] == pytest.approx(16 / 34)


def test_distance_after_putting_pelvis_on_pelvis():
    wanted = np.random.default_rng(0).normal(size=(5, 3))
    moved = wanted + 7
    assert pelvis_aligned_mm(moved, wanted, np.stack([moved[0], wanted[0]])) < 1e-9
    moved[1] += [0.005, 0, 0]
    gap = pelvis_aligned_mm(moved, wanted, np.stack([moved[0], wanted[0]]))
    assert gap == pytest.approx(1.0)


def truth_as_prediction(targets, body) -> Prediction:
    height, width = SIZE_HW
    scale = torch.tensor([width, height, width, height])
    low_high = torch.cat(
        [
            targets.boxes[:, :2] - targets.boxes[:, 2:] / 2,
            targets.boxes[:, :2] + targets.boxes[:, 2:] / 2,
        ],
        -1,
    )
    count = len(targets)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    parameters = {name: getattr(targets, name) for name in (*names, "betas", "expression")}
    posed = body(parameters | {"transl": targets.transl})
    people = replace(
        People.empty().select(np.zeros(0, np.int64)),
        **{
            name: np.zeros((count, *getattr(People.empty(), name).shape[1:]), np.float32)
            for name in People.__dataclass_fields__
        }
        | {
            "scores": np.linspace(0.9, 0.5, count, dtype=np.float32),
            "boxes_xyxy_px": (low_high * scale).numpy(),
            "keypoints_2d_px": (targets.keypoints_2d * scale[:2]).numpy(),
        },
    )
    camera = Camera(200.0, (width / 2, height / 2), width, height)
    vertices, joints = posed.vertices.numpy(), posed.joints_3d.numpy()
    return Prediction(people, camera, vertices, joints, body.faces, "test", body.name)


def test_the_truth_is_perfect(body):
    targets = random_targets(body, 3)
    tally = Tally()
    height, width = SIZE_HW
    prediction = truth_as_prediction(targets, body)
    add_picture(tally, prediction, targets, (width, height), body)
    figures = tally.summary()
    assert figures["f1"] == 1 and figures["pck"] == 1
    assert figures["mpjpe_mm"] < 0.01 and figures["mve_mm"] < 0.01
    add_picture(tally, first_people(prediction, 1), targets, (width, height), body)
    assert tally.summary()["recall"] == pytest.approx(4 / 6)


def test_hidden_people_are_neither_missed_nor_invented(body):
    targets = random_targets(body, 2)
    hidden = replace(targets, visible_share=torch.tensor([1.0, 0.02]))
    height, width = SIZE_HW
    for count in (1, 2):
        tally = Tally()
        prediction = first_people(truth_as_prediction(targets, body), count)
        add_picture(tally, prediction, hidden, (width, height), body)
        assert tally.summary()["f1"] == 1
