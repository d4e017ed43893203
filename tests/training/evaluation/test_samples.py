"""Ground truth of an image: scored keypoints, filled joints, and metrics computed from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from tests.helpers.metric_people import as_prediction, make_truth, small_parts
from tests.training.evaluation.test_coco_boxes import prediction_record
from training.data.annotation import PARAMETERS, PARTS, Annotation
from training.evaluation.benchmark_samples import annotation_to_ground_truth
from training.evaluation.benchmarks import BENCHMARKS
from training.evaluation.bodies import Bodies
from training.evaluation.metrics import AGORA, Records, TruePeople, measure_image
from training.evaluation.run import EvaluationRun
from training.evaluation.run_summary import by_property, summarise_run
from training.evaluation.samples import (
    EvaluationSample,
    GroundTruth,
    clipped_joint_boxes,
)
from training.evaluation.worst_images import shift_into_view
from training.targets import BODY_KEYPOINTS, NEUTRAL

RESOLUTION = (1920, 1080)
COCO = list(BODY_KEYPOINTS)
CAMERA = Camera(900.0, (320.0, 180.0), 640, 360)


def truth_of(people: TruePeople) -> GroundTruth:
    return GroundTruth(people, clipped_joint_boxes(people.joints_2d, RESOLUTION), RESOLUTION)


def test_keypoints_are_correct_within_a_tenth_of_the_person_size():
    people = make_truth(2)
    truth = truth_of(people)
    low, high = people.joints_2d.min(1), people.joints_2d.max(1)
    side = (high - low).max(1)
    predicted = people.joints_2d[:, COCO].copy()
    predicted[0, 0] += [0.099 * side[0], 0]
    predicted[0, 1] += [0.101 * side[0], 0]
    assert np.diagonal(truth.keypoints_right(predicted)).tolist() == [16, 17]
    assert truth.keypoints_right(predicted[:0]).shape == (0, 2)


def test_keypoints_outside_or_not_annotated_are_not_scored():
    people = make_truth(1)
    joints = people.joints_2d.copy()
    joints[0, COCO[0]] = [-1, 500]
    joints[0, COCO[1]] = [1920, 500]
    confidence = people.confidence.copy()
    confidence[0, COCO[2]] = 0
    truth = truth_of(replace(people, joints_2d=joints, confidence=confidence))
    assert np.flatnonzero(~truth.keypoints_shown()[0]).tolist() == [0, 1, 2]
    assert truth.keypoints_right(joints[:, COCO]).tolist() == [[14]]


def run_of(people: TruePeople, kept: int) -> EvaluationRun:
    """Run of one image in which the first `kept` people are found."""
    benchmark = replace(BENCHMARKS["bedlam-val"], thresholds=(0.5,))
    predicted = as_prediction(people).select(slice(kept))
    records = Records(AGORA, [measure_image("a", predicted, people, AGORA, small_parts())])
    return EvaluationRun(
        benchmark, [EvaluationSample("a", "", lambda: None)], {"agora": records}, Path(), 0.5
    )


def test_keypoints_of_missed_people_are_wrong(monkeypatch):
    people = make_truth(4)
    truth = truth_of(people)
    record = replace(
        prediction_record("a", true=np.zeros((4, 4))),
        keypoints_right=truth.keypoints_right(people.joints_2d[:3, COCO]),
        keypoints_shown=np.full(4, 17),
        depths_m=np.zeros(3),
    )
    monkeypatch.setattr(EvaluationRun, "predictions", lambda *_: iter([record]))
    assert summarise_run(run_of(people, 3), {}, ()).main()["pck"] == pytest.approx(0.75)


def test_depth_order_counts_pairs_with_a_clear_order(monkeypatch):
    """Four of five people are found; two of them are too close in depth to have an order."""
    people = make_truth(5)
    record = replace(
        prediction_record("a", true=np.zeros((5, 4))),
        keypoints_right=np.zeros((4, 5), np.int64),
        depths_m=np.array([4.0, 5.0, 3.0, 2.0]),
        true_depths_m=np.array([3.0, 3.2, 5.0, np.nan, 1.0]),
    )
    monkeypatch.setattr(EvaluationRun, "predictions", lambda *_: iter([record]))
    # People 0 and 1 are nearer than 2; the prediction puts 2 in front of both.
    assert summarise_run(run_of(people, 4), {}, ()).main()["depth_order"] == 0
    correct = replace(record, depths_m=np.array([2.0, 5.0, 3.0, 9.0]))
    monkeypatch.setattr(EvaluationRun, "predictions", lambda *_: iter([correct]))
    metrics = summarise_run(run_of(people, 4), {}, ()).main()
    assert metrics["depth_order"] == 0.5 and metrics["depth_pairs"] == 2
    unknown = replace(record, true_depths_m=np.full(5, np.nan))
    monkeypatch.setattr(EvaluationRun, "predictions", lambda *_: iter([unknown]))
    assert "depth_order" not in summarise_run(run_of(people, 4), {}, ()).main()


def test_errors_are_binned_by_occlusion():
    """Two people in the first bin, one of them missed; none in the second; one in the third."""
    people = make_truth(3, occlusion=np.array([5.0, 80.0, 10.0]))
    records = run_of(people, 2).records["agora"]
    edges = np.array([0.0, 30, 60, 90])
    means, found, count = by_property(records, 0.5, "body_mve", "occlusion", edges)
    assert count.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(found, [0.5, np.nan, 1])
    np.testing.assert_allclose(means, [0, np.nan, 0], atol=1e-9)


def test_bodies_are_shifted_to_their_annotated_joints():
    joints = np.random.default_rng(0).normal(size=(3, 55, 3)) * 0.4
    shift = np.array([[0.5, 0.2, 6.0], [-1, 0, 9], [0, 0, 4]])
    pixels = CAMERA.project(joints + shift[:, None])
    np.testing.assert_allclose(shift_into_view(joints, pixels, CAMERA), shift, atol=1e-9)


@pytest.fixture(scope="module")
def bodies():
    return Bodies(BodyModel.load(), None)


def annotation(bodies: Bodies, count: int) -> Annotation:
    parameters = {name: np.zeros((count, size), np.float32) for name, size in PARAMETERS.items()}
    _, joints = bodies.pose(
        {n: v for n, v in parameters.items() if n != "transl"}, np.full(count, NEUTRAL)
    )
    pixels = 80.0 * joints[..., :2] + [300, 180]
    boxes = clipped_joint_boxes(pixels, (640, 360)) if count else np.zeros((0, 4))
    boxes[:, 2:] -= boxes[:, :2]
    joints_2d = np.zeros((count, 144, 3))
    joints_2d[:, :127] = np.concatenate([pixels, np.ones((count, 127, 1))], -1)
    yes = np.ones(count, bool)
    return Annotation(
        image="a.png",
        size_wh=(640, 360),
        boxes={"body": boxes},
        part_valid=dict.fromkeys(PARTS, yes),
        joints_2d=joints_2d,
        joints_3d=None,
        parameters=parameters,
        smplx_valid=yes,
        betas_valid=yes,
        expression_valid=yes,
        gender=np.full(count, NEUTRAL),
        occlusion=np.zeros(count),
    )


def test_missing_joints_are_projected_from_the_body(bodies):
    whole = annotation(bodies, 2)
    partly = whole.joints_2d.copy()
    partly[0, 10:60] = 0
    partly[1, 5] = np.nan
    for name, confidence in (("ubody", 0.5), ("ehf", 1.0)):
        given = replace(whole, joints_2d=partly * [1, 1, 0.5])
        people = annotation_to_ground_truth(BENCHMARKS[name], given, bodies).people
        np.testing.assert_allclose(people.joints_2d, whole.joints_2d[:, :127, :2], atol=1e-3)
        assert (people.confidence[0, 10:60] == 0).all() and people.confidence[1, 5] == 0
        assert set(people.confidence[0, :10]) == {confidence}
        assert people.valid.all() and np.isnan(people.occlusion).all()


def test_people_with_too_few_joints_are_excluded(bodies):
    some = annotation(bodies, 3)
    joints = some.joints_2d.copy()
    joints[0, 2:, 2] = 0
    given = replace(some, joints_2d=joints, smplx_valid=np.array([True, False, True]))
    assert annotation_to_ground_truth(BENCHMARKS["ehf"], given, bodies).people.valid.tolist() == [
        *(False, False, True)
    ]
    empty = annotation_to_ground_truth(BENCHMARKS["ehf"], annotation(bodies, 0), bodies)
    assert len(empty.people) == 0 and empty.boxes_xyxy.shape == (0, 4)
