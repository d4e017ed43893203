"""What is true of a picture: keypoints that count, joints that are missing, where bodies stand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from tests.helpers.metric_people import as_prediction, make_truth, small_parts
from tests.training.evaluation.test_boxes import answer
from training.data.annotation import PARAMETERS, PARTS, Annotation
from training.evaluation.benchmarks import BENCHMARKS
from training.evaluation.bodies import Bodies
from training.evaluation.cases import Case, Truth, joint_boxes_in, place_under
from training.evaluation.figures import by_property, summarise_run
from training.evaluation.metrics import AGORA, Records, TruePeople, measure_picture
from training.evaluation.run import Measured
from training.evaluation.sources import truth_of_annotation
from training.targets import BODY_KEYPOINTS, NEUTRAL

RESOLUTION = (1920, 1080)
COCO = list(BODY_KEYPOINTS)
CAMERA = Camera(900.0, (320.0, 180.0), 640, 360)


def truth_of(people: TruePeople) -> Truth:
    return Truth(people, joint_boxes_in(people.joints_2d, RESOLUTION), RESOLUTION)


def test_keypoints_are_right_within_a_tenth_of_the_person():
    people = make_truth(2)
    truth = truth_of(people)
    low, high = people.joints_2d.min(1), people.joints_2d.max(1)
    side = (high - low).max(1)
    predicted = people.joints_2d[:, COCO].copy()
    predicted[0, 0] += [0.099 * side[0], 0]
    predicted[0, 1] += [0.101 * side[0], 0]
    assert np.diagonal(truth.keypoints_right(predicted)).tolist() == [16, 17]
    assert truth.keypoints_right(predicted[:0]).shape == (0, 2)


def test_keypoints_outside_or_unknown_are_not_asked():
    people = make_truth(1)
    joints = people.joints_2d.copy()
    joints[0, COCO[0]] = [-1, 500]
    joints[0, COCO[1]] = [1920, 500]
    confidence = people.confidence.copy()
    confidence[0, COCO[2]] = 0
    truth = truth_of(replace(people, joints_2d=joints, confidence=confidence))
    assert np.flatnonzero(~truth.keypoints_shown()[0]).tolist() == [0, 1, 2]
    assert truth.keypoints_right(joints[:, COCO]).tolist() == [[14]]


def measured(people: TruePeople, kept: int) -> Measured:
    """A run of one picture in which the first `kept` people are found."""
    benchmark = replace(BENCHMARKS["bedlam-val"], thresholds=(0.5,))
    predicted = as_prediction(people).select(slice(kept))
    records = Records(AGORA, [measure_picture("a", predicted, people, AGORA, small_parts())])
    return Measured(benchmark, [Case("a", "", lambda: None)], {"agora": records}, Path(), 0.5)


def test_keypoints_of_missed_people_are_wrong(monkeypatch):
    people = make_truth(4)
    truth = truth_of(people)
    said = replace(
        answer("a", true=np.zeros((4, 4))),
        keypoints_right=truth.keypoints_right(people.joints_2d[:3, COCO]),
        keypoints_shown=np.full(4, 17),
        depths_m=np.zeros(3),
    )
    monkeypatch.setattr(Measured, "answers", lambda *_: iter([said]))
    assert summarise_run(measured(people, 3), {}, ()).main()["pck"] == pytest.approx(0.75)


def test_who_is_nearer(monkeypatch):
    """Of five people four are found; two of them stand too near to each other to have an order."""
    people = make_truth(5)
    said = replace(
        answer("a", true=np.zeros((5, 4))),
        keypoints_right=np.zeros((4, 5), np.int64),
        depths_m=np.array([4.0, 5.0, 3.0, 2.0]),
        true_depths_m=np.array([3.0, 3.2, 5.0, np.nan, 1.0]),
    )
    monkeypatch.setattr(Measured, "answers", lambda *_: iter([said]))
    # 0 and 1 are nearer than 2, of whom the answer says that it is nearer than both.
    assert summarise_run(measured(people, 4), {}, ()).main()["depth_order"] == 0
    right = replace(said, depths_m=np.array([2.0, 5.0, 3.0, 9.0]))
    monkeypatch.setattr(Measured, "answers", lambda *_: iter([right]))
    assert summarise_run(measured(people, 4), {}, ()).main()["depth_order"] == 0.5
    unknown = replace(said, true_depths_m=np.full(5, np.nan))
    monkeypatch.setattr(Measured, "answers", lambda *_: iter([unknown]))
    assert "depth_order" not in summarise_run(measured(people, 4), {}, ()).main()


def test_people_by_occlusion():
    """Two in the first bin, of whom one is missed; nobody in the second; one in the third."""
    people = make_truth(3, occlusion=np.array([5.0, 80.0, 10.0]))
    records = measured(people, 2).records["agora"]
    edges = np.array([0.0, 30, 60, 90])
    means, found, count = by_property(records, 0.5, "body_mve", "occlusion", edges)
    assert count.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(found, [0.5, np.nan, 1])
    np.testing.assert_allclose(means, [0, np.nan, 0], atol=1e-9)


def test_bodies_are_put_where_their_joints_are_seen():
    joints = np.random.default_rng(0).normal(size=(3, 55, 3)) * 0.4
    shift = np.array([[0.5, 0.2, 6.0], [-1, 0, 9], [0, 0, 4]])
    pixels = CAMERA.project(joints + shift[:, None])
    np.testing.assert_allclose(place_under(joints, pixels, CAMERA), shift, atol=1e-9)


@pytest.fixture(scope="module")
def bodies():
    return Bodies(BodyModel.load(), None)


def annotation(bodies: Bodies, count: int) -> Annotation:
    parameters = {name: np.zeros((count, size), np.float32) for name, size in PARAMETERS.items()}
    _, joints = bodies.pose(
        {n: v for n, v in parameters.items() if n != "transl"}, np.full(count, NEUTRAL)
    )
    pixels = 80.0 * joints[..., :2] + [300, 180]
    boxes = joint_boxes_in(pixels, (640, 360)) if count else np.zeros((0, 4))
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


def test_joints_that_are_not_annotated_are_guessed_from_the_body(bodies):
    whole = annotation(bodies, 2)
    partly = whole.joints_2d.copy()
    partly[0, 10:60] = 0
    partly[1, 5] = np.nan
    for name, sure in (("ubody", 0.5), ("ehf", 1.0)):
        given = replace(whole, joints_2d=partly * [1, 1, 0.5])
        people = truth_of_annotation(BENCHMARKS[name], given, bodies).people
        np.testing.assert_allclose(people.joints_2d, whole.joints_2d[:, :127, :2], atol=1e-3)
        assert (people.confidence[0, 10:60] == 0).all() and people.confidence[1, 5] == 0
        assert set(people.confidence[0, :10]) == {sure}
        assert people.valid.all() and np.isnan(people.occlusion).all()


def test_people_of_whom_too_little_is_annotated_are_not_asked(bodies):
    some = annotation(bodies, 3)
    joints = some.joints_2d.copy()
    joints[0, 2:, 2] = 0
    given = replace(some, joints_2d=joints, smplx_valid=np.array([True, False, True]))
    assert truth_of_annotation(BENCHMARKS["ehf"], given, bodies).people.valid.tolist() == [
        *(False, False, True)
    ]
    nobody = truth_of_annotation(BENCHMARKS["ehf"], annotation(bodies, 0), bodies)
    assert len(nobody.people) == 0 and nobody.boxes_xyxy.shape == (0, 4)
