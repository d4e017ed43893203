"""Known changes of a perfect prediction give known figures."""

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
    measure_picture,
    outcome,
    summarise,
)

PARTS = small_parts()
MODES = ("official", "plain")
AGORA_PARTS = ("", "body_", "left_hand_", "right_hand_", "face_")


def measured(predicted, truth, protocol=AGORA, threshold=0.3):
    record = measure_picture("a.png", predicted, truth, protocol, PARTS)
    return summarise(Records(protocol, [record]), threshold)


def errors_of(figures):
    return {name: value for name, value in figures.items() if name.endswith("_mm")}


@pytest.mark.parametrize("protocol", [AGORA, AGORA_SMPL, VERTICES])
@pytest.mark.parametrize("count", [1, 4])
def test_the_truth_is_perfect(protocol, count):
    truth = make_truth(count, kid=np.arange(count) == 0)
    for mode, figures in measured(as_prediction(truth), truth, protocol).items():
        errors = errors_of(figures)
        assert len(errors) >= 4
        assert max(errors.values()) < 1e-6
        if mode == "plain" or protocol is not VERTICES:
            assert figures["f1"] == figures["precision"] == figures["recall"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_where_people_stand_does_not_matter(mode):
    truth = make_truth(3)
    shifted = moved(as_prediction(truth), lambda x: x + [0.3, -0.2, 5.0])
    assert max(errors_of(measured(shifted, truth)[mode]).values()) < 1e-6
    assert max(errors_of(measured(shifted, truth, VERTICES)[mode]).values()) < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_a_moved_hand(mode):
    """10 mm on the vertices of the left hand: its own error, a third of it in the full body."""
    truth = make_truth(2)
    vertices = truth.vertices.copy()
    vertices[:, PARTS.left_hand] += [0.006, 0, 0.008]
    figures = measured(replace(as_prediction(truth), vertices=vertices), truth)[mode]
    assert figures["left_hand_mve_mm"] == pytest.approx(10)
    assert figures["right_hand_mve_mm"] == figures["body_mve_mm"] == 0
    assert figures["mve_mm"] == figures["nmve_mm"] == pytest.approx(3.3, abs=0.034)
    assert figures["mpjpe_mm"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_turned_person(mode):
    """Every point moves along a chord around the pelvis, neck or wrist; PA knows nothing of it."""
    truth, angle = make_truth(1), 0.5
    turn = Rotation.from_rotvec([0, angle, 0]).as_matrix()
    turned = moved(as_prediction(truth), lambda x: x @ turn.T)
    figures = measured(turned, truth)[mode]
    hips = truth.joints_3d[0, 1:3].mean(0)
    radius = np.linalg.norm((truth.joints_3d[0, :22] - hips)[:, [0, 2]], axis=1).mean()
    assert figures["body_mpjpe_mm"] == pytest.approx(2000 * np.sin(angle / 2) * radius, abs=0.051)
    figures = measured(turned, truth, VERTICES)[mode]
    pelvis = PARTS.joint_regressor[0] @ truth.vertices[0]
    radius = np.linalg.norm((truth.vertices[0] - pelvis)[:, [0, 2]], axis=1).mean()
    assert figures["pve_all_mm"] == pytest.approx(2000 * np.sin(angle / 2) * radius)
    assert figures["pa_pve_all_mm"] < 1e-6 and figures["pa_mpjpe_hands_mm"] < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_a_larger_person(mode):
    """A tenth larger: a tenth of the distance to the root; PA knows nothing of it."""
    truth = make_truth(1)
    larger = moved(as_prediction(truth), lambda x: 1.1 * x)
    neck = PARTS.joint_regressor[12] @ truth.vertices[0]
    radius = np.linalg.norm(truth.vertices[0, PARTS.face] - neck, axis=1).mean()
    figures = measured(larger, truth, VERTICES)[mode]
    assert figures["pve_face_mm"] == pytest.approx(100 * radius)
    assert figures["pa_pve_face_mm"] < 1e-6 and figures["pa_mpjpe_body_mm"] < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_two_bodies_swapped(mode):
    """Found where they are in the picture, with each other's body."""
    truth = make_truth(2)
    swapped = moved(as_prediction(truth), lambda x: x[::-1])
    figures = measured(swapped, truth)[mode]
    hips = truth.joints_3d[:, 1:3].mean(1, keepdims=True)
    first, second = (truth.joints_3d - hips)[:, :22]
    wanted = 1000 * np.linalg.norm(first - second, axis=1).mean()
    assert figures["f1"] == 1
    assert figures["body_mpjpe_mm"] == pytest.approx(wanted, abs=0.051)


def test_two_predictions_swapped_is_nothing():
    truth = make_truth(2)
    swapped = as_prediction(truth).select(np.array([1, 0]))
    assert max(errors_of(measured(swapped, truth)["plain"]).values()) == 0


def test_somebody_left_out():
    """`official` counts the missed hands and face as perfect, `plain` does not."""
    truth = make_truth(4)
    shifted = truth.vertices.copy()
    shifted[:, PARTS.face] += [0, 0.02, 0]
    three = replace(as_prediction(truth), vertices=shifted).select(slice(3))
    both = measured(three, truth)
    assert both["plain"]["recall"] == 0.75 and both["plain"]["precision"] == 1
    assert both["plain"]["f1"] == pytest.approx(6 / 7)
    assert both["official"]["f1"] == 0.86
    assert both["plain"]["face_mve_mm"] == pytest.approx(20)
    assert both["official"]["face_mve_mm"] == pytest.approx(15)
    assert both["plain"]["nmve_mm"] == pytest.approx(20 / 3 * 7 / 6)
    assert both["official"]["nmve_mm"] == round(5.0 / 0.86, 1)


def test_somebody_found_twice():
    truth = make_truth(4)
    perfect = as_prediction(truth)
    twice = perfect.select(np.array([0, 1, 2, 3, 2]))
    figures = measured(twice, truth)["plain"]
    assert (figures["precision"], figures["recall"]) == (0.8, 1)
    assert figures["f1"] == pytest.approx(8 / 9)
    assert measured(twice, truth)["official"]["f1"] == 0.89
    assert figures["false_positives"] == 1
    assert max(errors_of(figures).values()) == 0


@pytest.mark.parametrize("protocol", [AGORA, VERTICES])
def test_nobody_predicted(protocol):
    truth = make_truth(2)
    both = measured(PredictedPeople.empty(), truth, protocol)
    assert both["plain"]["recall"] == 0 and both["plain"]["f1"] == 0
    assert np.isnan(list(errors_of(both["plain"]).values())).all()
    if protocol is VERTICES:
        assert both["official"]["people"] == 0
    else:
        assert both["official"]["recall"] == 0


def test_nobody_there():
    truth = make_truth(0)
    both = measured(as_prediction(make_truth(2)), truth)
    for figures in both.values():
        assert figures["false_positives"] == 2 and figures["precision"] == 0


def test_hidden_people_are_not_asked():
    """A prediction on them is wrong by the official rule only; without it nothing changes."""
    truth = make_truth(2, occlusion=np.array([10.0, 95.0]))
    both = measured(as_prediction(truth), truth)
    assert both["plain"]["f1"] == 1 and both["plain"]["people"] == 1
    assert both["official"]["precision"] == 0.5
    alone = measured(as_prediction(truth).select(slice(1)), truth)
    assert alone["plain"]["f1"] == alone["official"]["f1"] == 1


def test_kids_have_their_own_figures():
    """Full-body figures of kids are divided by everybody's F1 in mode `official`."""
    truth = make_truth(4, kid=np.array([True, True, False, False]))
    vertices = truth.vertices.copy()
    vertices[0, PARTS.body] += [0.05, 0, 0]
    predicted = replace(as_prediction(truth), vertices=vertices).select(np.array([0, 2, 3]))
    both = measured(predicted, truth)
    for figures in both.values():
        assert figures["kid_recall"] == 0.5 and figures["kid_precision"] == 1
        assert figures["kid_body_mve_mm"] == pytest.approx(50)
        assert figures["body_mve_mm"] == pytest.approx(50 / 3, abs=0.051)
    assert both["plain"]["kid_nmve_mm"] == pytest.approx(75)
    assert both["official"]["kid_body_nmve_mm"] == round(50 / 0.67, 1)
    assert both["official"]["kid_nmve_mm"] == round(50 / 0.86, 1)
    assert "kid_f1" not in measured(as_prediction(make_truth(1)), make_truth(1))["plain"]


def test_only_the_best_person_counts_where_one_is_asked():
    """`official` takes the best score whatever the threshold, and whoever is nearest to it."""
    truth = make_truth(3)
    vertices = truth.vertices.copy()
    vertices[1] += 0.01 * np.eye(60, 3)
    predicted = replace(as_prediction(truth, [0.1, 0.25, 0.2]), vertices=vertices)
    both = measured(predicted, truth, VERTICES)
    assert both["official"]["people"] == both["official"]["found"] == 1
    assert both["official"]["pve_all_mm"] > 0.1
    assert "f1" not in both["official"]
    assert both["plain"]["recall"] == 0
    rows = outcome(
        Records(VERTICES, [measure_picture("a", predicted, truth, VERTICES, PARTS)]),
        0.3,
        "official",
    ).rows()
    assert [(row["prediction"], row["person"]) for row in rows] == [(1, 1)]


def test_points_outside_the_picture_do_not_count():
    """A hand outside is left out by `plain`, 0 by `official`; fitting still sees all points."""
    truth = make_truth(1)
    vertices = truth.vertices.copy()
    vertices[:, PARTS.left_hand] += [0.02, 0, 0]
    vertices[:, PARTS.face] += [0, 0.01, 0]
    predicted = replace(as_prediction(truth), vertices=vertices)
    left = {tuple(point) for point in truth.vertices[0, PARTS.left_hand]}

    def in_picture(predictions, points):
        assert predictions.tolist() == [0]
        return np.array([[tuple(p) not in left for p in points[0]]])

    record = measure_picture("a", predicted, truth, VERTICES, PARTS, in_picture)
    both = summarise(Records(VERTICES, [record]), 0)
    whole = measured(predicted, truth, VERTICES)["plain"]
    right = record.errors[0, VERTICES.error_names.index("pve_right_hand")] * 1000
    assert both["plain"]["pve_hands_mm"] == pytest.approx(right)
    assert both["official"]["pve_hands_mm"] == pytest.approx(right / 2)
    assert both["plain"]["pve_face_mm"] == pytest.approx(whole["pve_face_mm"])
    assert both["plain"]["pve_all_mm"] != pytest.approx(whole["pve_all_mm"], abs=0.1)
    with pytest.raises(ValueError, match="agora counts vertices outside"):
        measure_picture("a", predicted, truth, AGORA, PARTS, in_picture)


def test_nothing_is_measured_without_its_vertices():
    """An empty list is an error, never 0 mm; without the 14 joints only PA-MPJPE is unknown."""
    truth = make_truth(1)
    for protocol, name in ((AGORA, "body"), (VERTICES, "face"), (AGORA, "left_hand")):
        parts = replace(PARTS, **{name: np.zeros(0, np.int64)})
        with pytest.raises(ValueError, match=f"{protocol.name} needs vertices of {name}"):
            measure_picture("a", as_prediction(truth), truth, protocol, parts)
    parts = replace(PARTS, j14_regressor=PARTS.j14_regressor[:0])
    record = measure_picture("a", as_prediction(truth), truth, VERTICES, parts)
    for figures in summarise(Records(VERTICES, [record]), 0).values():
        assert np.isnan(figures["pa_mpjpe_body_mm"]) and figures["pve_all_mm"] == 0
