"""Known changes of a perfect prediction give known metrics."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.helpers.metric_people import as_prediction, make_truth, moved, small_parts
from training.evaluation.metrics import (
    AGORA,
    AGORA_SMPL,
    VERTICES,
    PredictedPeople,
    Records,
    measure_image,
    outcome,
    summarise,
)

PARTS = small_parts()
MODES = ("official", "plain")
AGORA_PARTS = ("", "body_", "left_hand_", "right_hand_", "face_")


def metrics_of(predicted, truth, protocol=AGORA, threshold=0.3):
    record = measure_image("a.png", predicted, truth, protocol, PARTS)
    return summarise(Records(protocol, [record]), threshold)


def errors_of(metrics):
    return {name: value for name, value in metrics.items() if name.endswith("_mm")}


@pytest.mark.parametrize("protocol", [AGORA, AGORA_SMPL, VERTICES])
@pytest.mark.parametrize("count", [1, 4])
def test_ground_truth_as_prediction_is_perfect(protocol, count):
    truth = make_truth(count, kid=np.arange(count) == 0)
    for mode, metrics in metrics_of(as_prediction(truth), truth, protocol).items():
        errors = errors_of(metrics)
        assert len(errors) >= 4
        assert max(errors.values()) < 1e-6
        if mode == "plain" or protocol is not VERTICES:
            assert metrics["f1"] == metrics["precision"] == metrics["recall"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_translation_does_not_change_errors(mode):
    truth = make_truth(3)
    shifted = moved(as_prediction(truth), lambda x: x + [0.3, -0.2, 5.0])
    assert max(errors_of(metrics_of(shifted, truth)[mode]).values()) < 1e-6
    assert max(errors_of(metrics_of(shifted, truth, VERTICES)[mode]).values()) < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_shifted_hand_vertices(mode):
    """10 mm on the left hand: the error of this hand, and a third of it in the full body."""
    truth = make_truth(2)
    vertices = truth.vertices.copy()
    vertices[:, PARTS.left_hand] += [0.006, 0, 0.008]
    metrics = metrics_of(replace(as_prediction(truth), vertices=vertices), truth)[mode]
    assert metrics["left_hand_mve_mm"] == pytest.approx(10)
    assert metrics["right_hand_mve_mm"] == metrics["body_mve_mm"] == 0
    assert metrics["mve_mm"] == metrics["nmve_mm"] == pytest.approx(3.3, abs=0.034)
    assert metrics["mpjpe_mm"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_rotated_person(mode):
    """Points move by the chord around pelvis, neck or wrist; PA errors stay 0."""
    truth, angle = make_truth(1), 0.5
    turn = Rotation.from_rotvec([0, angle, 0]).as_matrix()
    turned = moved(as_prediction(truth), lambda x: x @ turn.T)
    metrics = metrics_of(turned, truth)[mode]
    hips = truth.joints_3d[0, 1:3].mean(0)
    radius = np.linalg.norm((truth.joints_3d[0, :22] - hips)[:, [0, 2]], axis=1).mean()
    assert metrics["body_mpjpe_mm"] == pytest.approx(2000 * np.sin(angle / 2) * radius, abs=0.051)
    metrics = metrics_of(turned, truth, VERTICES)[mode]
    pelvis = PARTS.joint_regressor[0] @ truth.vertices[0]
    radius = np.linalg.norm((truth.vertices[0] - pelvis)[:, [0, 2]], axis=1).mean()
    assert metrics["pve_all_mm"] == pytest.approx(2000 * np.sin(angle / 2) * radius)
    assert metrics["pa_pve_all_mm"] < 1e-6 and metrics["pa_mpjpe_hands_mm"] < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_scaled_person(mode):
    """A scale of 1.1 gives a tenth of the distance to the root; PA errors stay 0."""
    truth = make_truth(1)
    larger = moved(as_prediction(truth), lambda x: 1.1 * x)
    neck = PARTS.joint_regressor[12] @ truth.vertices[0]
    radius = np.linalg.norm(truth.vertices[0, PARTS.face] - neck, axis=1).mean()
    metrics = metrics_of(larger, truth, VERTICES)[mode]
    assert metrics["pve_face_mm"] == pytest.approx(100 * radius)
    assert metrics["pa_pve_face_mm"] < 1e-6 and metrics["pa_mpjpe_body_mm"] < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_swapped_bodies(mode):
    """2D joints match the right person, bodies belong to the other one."""
    truth = make_truth(2)
    swapped = moved(as_prediction(truth), lambda x: x[::-1])
    metrics = metrics_of(swapped, truth)[mode]
    hips = truth.joints_3d[:, 1:3].mean(1, keepdims=True)
    first, second = (truth.joints_3d - hips)[:, :22]
    wanted = 1000 * np.linalg.norm(first - second, axis=1).mean()
    assert metrics["f1"] == 1
    assert metrics["body_mpjpe_mm"] == pytest.approx(wanted, abs=0.051)


def test_order_of_predictions_does_not_matter():
    truth = make_truth(2)
    swapped = as_prediction(truth).select(np.array([1, 0]))
    assert max(errors_of(metrics_of(swapped, truth)["plain"]).values()) == 0


def test_missed_person():
    """`official` enters 0 for the hands and face of a missed person, `plain` leaves them out."""
    truth = make_truth(4)
    shifted = truth.vertices.copy()
    shifted[:, PARTS.face] += [0, 0.02, 0]
    three = replace(as_prediction(truth), vertices=shifted).select(slice(3))
    both = metrics_of(three, truth)
    assert both["plain"]["recall"] == 0.75 and both["plain"]["precision"] == 1
    assert both["plain"]["f1"] == pytest.approx(6 / 7)
    assert both["official"]["f1"] == 0.86
    assert both["plain"]["face_mve_mm"] == pytest.approx(20)
    assert both["official"]["face_mve_mm"] == pytest.approx(15)
    assert both["plain"]["nmve_mm"] == pytest.approx(20 / 3 * 7 / 6)
    assert both["official"]["nmve_mm"] == round(5.0 / 0.86, 1)


def test_duplicate_prediction_is_a_false_positive():
    truth = make_truth(4)
    perfect = as_prediction(truth)
    twice = perfect.select(np.array([0, 1, 2, 3, 2]))
    metrics = metrics_of(twice, truth)["plain"]
    assert (metrics["precision"], metrics["recall"]) == (0.8, 1)
    assert metrics["f1"] == pytest.approx(8 / 9)
    assert metrics_of(twice, truth)["official"]["f1"] == 0.89
    assert metrics["false_positives"] == 1
    assert max(errors_of(metrics).values()) == 0


@pytest.mark.parametrize("protocol", [AGORA, VERTICES])
def test_image_without_predictions(protocol):
    truth = make_truth(2)
    both = metrics_of(PredictedPeople.empty(), truth, protocol)
    assert both["plain"]["recall"] == 0 and both["plain"]["f1"] == 0
    assert np.isnan(list(errors_of(both["plain"]).values())).all()
    if protocol is VERTICES:
        assert both["official"]["people"] == 0
    else:
        assert both["official"]["recall"] == 0


def test_image_without_people():
    truth = make_truth(0)
    both = metrics_of(as_prediction(make_truth(2)), truth)
    for metrics in both.values():
        assert metrics["false_positives"] == 2 and metrics["precision"] == 0


def test_occluded_people_are_excluded():
    """A prediction on them is a false positive by the official rule only."""
    truth = make_truth(2, occlusion=np.array([10.0, 95.0]))
    both = metrics_of(as_prediction(truth), truth)
    assert both["plain"]["f1"] == 1 and both["plain"]["people"] == 1
    assert both["official"]["precision"] == 0.5
    alone = metrics_of(as_prediction(truth).select(slice(1)), truth)
    assert alone["plain"]["f1"] == alone["official"]["f1"] == 1


def test_kids_have_separate_figures():
    """Full-body errors of kids are divided by the F1 of all people in mode `official`."""
    truth = make_truth(4, kid=np.array([True, True, False, False]))
    vertices = truth.vertices.copy()
    vertices[0, PARTS.body] += [0.05, 0, 0]
    predicted = replace(as_prediction(truth), vertices=vertices).select(np.array([0, 2, 3]))
    both = metrics_of(predicted, truth)
    for metrics in both.values():
        assert metrics["kid_recall"] == 0.5 and metrics["kid_precision"] == 1
        assert metrics["kid_body_mve_mm"] == pytest.approx(50)
        assert metrics["body_mve_mm"] == pytest.approx(50 / 3, abs=0.051)
    assert both["plain"]["kid_nmve_mm"] == pytest.approx(75)
    assert both["official"]["kid_body_nmve_mm"] == round(50 / 0.67, 1)
    assert both["official"]["kid_nmve_mm"] == round(50 / 0.86, 1)
    assert "kid_f1" not in metrics_of(as_prediction(make_truth(1)), make_truth(1))["plain"]


def test_one_person_protocol_evaluates_the_best_score():
    """`official` takes the best prediction at any threshold and the person nearest to it."""
    truth = make_truth(3)
    vertices = truth.vertices.copy()
    vertices[1] += 0.01 * np.eye(60, 3)
    predicted = replace(as_prediction(truth, [0.1, 0.25, 0.2]), vertices=vertices)
    both = metrics_of(predicted, truth, VERTICES)
    assert both["official"]["people"] == both["official"]["found"] == 1
    assert both["official"]["pve_all_mm"] > 0.1
    assert "f1" not in both["official"]
    assert both["plain"]["recall"] == 0
    result = outcome(
        Records(VERTICES, [measure_image("a", predicted, truth, VERTICES, PARTS)]),
        0.3,
        "official",
    )
    assert (result.prediction.tolist(), result.person.tolist()) == ([1], [1])


def test_points_outside_the_image_are_left_out_of_the_mean():
    """`plain` leaves out a hand outside, `official` enters 0; the fit uses all points."""
    truth = make_truth(1)
    vertices = truth.vertices.copy()
    vertices[:, PARTS.left_hand] += [0.02, 0, 0]
    vertices[:, PARTS.face] += [0, 0.01, 0]
    predicted = replace(as_prediction(truth), vertices=vertices)
    left = {tuple(point) for point in truth.vertices[0, PARTS.left_hand]}

    def in_image(predictions, points):
        assert predictions.tolist() == [0]
        return np.array([[tuple(p) not in left for p in points[0]]])

    record = measure_image("a", predicted, truth, VERTICES, PARTS, in_image)
    both = summarise(Records(VERTICES, [record]), 0)
    whole = metrics_of(predicted, truth, VERTICES)["plain"]
    right = record.errors[0, VERTICES.error_names.index("pve_right_hand")] * 1000
    assert both["plain"]["pve_hands_mm"] == pytest.approx(right)
    assert both["official"]["pve_hands_mm"] == pytest.approx(right / 2)
    assert both["plain"]["pve_face_mm"] == pytest.approx(whole["pve_face_mm"])
    assert both["plain"]["pve_all_mm"] != pytest.approx(whole["pve_all_mm"], abs=0.1)
    with pytest.raises(ValueError, match="agora also uses vertices outside"):
        measure_image("a", predicted, truth, AGORA, PARTS, in_image)


def test_empty_vertex_lists_are_refused():
    """An empty list is an error, not 0 mm; without the 14 joints only PA-MPJPE is NaN."""
    truth = make_truth(1)
    for protocol, name in ((AGORA, "body"), (VERTICES, "face"), (AGORA, "left_hand")):
        parts = replace(PARTS, **{name: np.zeros(0, np.int64)})
        with pytest.raises(ValueError, match=f"{protocol.name} needs vertices of {name}"):
            measure_image("a", as_prediction(truth), truth, protocol, parts)
    parts = replace(PARTS, j14_regressor=PARTS.j14_regressor[:0])
    record = measure_image("a", as_prediction(truth), truth, VERTICES, parts)
    for metrics in summarise(Records(VERTICES, [record]), 0).values():
        assert np.isnan(metrics["pa_mpjpe_body_mm"]) and metrics["pve_all_mm"] == 0
