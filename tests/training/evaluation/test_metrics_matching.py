"""Matching against hand-made cases and against a step-by-step form of AGORA's rule."""

import numpy as np
import pytest

from training.evaluation.metrics.matching import (
    MIN_IOU,
    joint_boxes,
    joint_costs,
    match_people,
    nearest_person,
    pixel_iou,
    score_prefixes,
)


def pairs(cost, iou, mode, valid=None):
    cost, iou = np.array(cost, float), np.array(iou, float)
    valid = np.ones(cost.shape[1], bool) if valid is None else np.array(valid)
    matching = match_people(cost, iou, valid, mode)
    return matching.pairs.tolist(), matching.false_positives.tolist()


def slow_official(cost, iou, valid):
    """The official rule as a loop."""
    predictions, people = set(range(cost.shape[0])), set(range(cost.shape[1]))
    matched, events = [], 0
    for p, g in sorted(np.ndindex(*cost.shape), key=lambda pair: cost[pair]):
        if not people or len(matched) + events >= cost.shape[0]:
            break
        if iou[p, g] < MIN_IOU:
            events += 1
            if not valid[g]:
                people.discard(g)
        elif p in predictions and g in people:
            people.remove(g)
            if valid[g]:
                predictions.remove(p)
                matched.append([p, g])
    return matched, sorted(predictions)


def test_official_matching_equals_the_loop():
    random = np.random.default_rng(0)
    stopped = 0
    for _ in range(400):
        shape = random.integers(1, 7, 2)
        cost, iou = random.random(shape), random.random(shape) * 0.25
        valid = random.random(shape[1]) < 0.7
        ours = pairs(cost, iou, "official", valid)
        assert ours == slow_official(cost, iou, valid)
        stopped += len(ours[0]) < len(pairs(cost, iou, "plain", valid)[0])
    assert stopped > 20


@pytest.mark.parametrize("mode", ["official", "plain"])
def test_pairs_are_matched_by_ascending_cost(mode):
    assert pairs([[1, 2], [0.5, 9]], [[1, 1], [1, 1]], mode) == ([[1, 0], [0, 1]], [])
    assert pairs([[1, 2], [0.5, 9]], [[1, 0.05], [1, 1]], mode) == ([[1, 0]], [0])


def test_pairs_without_overlap_end_official_matching():
    cost, iou = [[1, 2], [3, 4]], [[0.05, 0.05], [1, 1]]
    assert pairs(cost, iou, "official") == ([], [0, 1])
    assert pairs(cost, iou, "plain") == ([[1, 0]], [0])


def test_invalid_people():
    """Only the official rule frees their prediction for another person or counts it as wrong."""
    cost, iou = [[1, 2]], [[1, 0.2]]
    assert pairs(cost, iou, "official", [False, True]) == ([[0, 1]], [])
    assert pairs(cost, iou, "plain", [False, True]) == ([], [])
    assert pairs([[1]], [[1]], "official", [False]) == ([], [0])
    assert pairs([[1]], [[1]], "plain", [False]) == ([], [])


@pytest.mark.parametrize("mode", ["official", "plain"])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_predictions_or_no_people(mode, shape):
    assert pairs(np.zeros(shape), np.zeros(shape), mode) == ([], list(range(shape[0])))


def test_costs_and_boxes():
    true = np.zeros((1, 30, 2))
    true[0, 5] = 8, 4
    predicted = true[:, :24] + np.array([3.0, 4.0])
    cost = joint_costs(predicted, true)
    assert cost == pytest.approx(5 * np.sqrt(24))
    gap = np.random.default_rng(1).normal(size=(24, 2))
    spectral = np.linalg.svd(gap)[1].max()
    assert joint_costs(true[:, :24] + gap, true) == pytest.approx(spectral)
    assert joint_boxes(true).tolist() == [[0, 0, 8, 4]]
    iou = pixel_iou(joint_boxes(true), joint_boxes(predicted))
    assert iou == pytest.approx(6 / (45 + 45 - 6))
    assert pixel_iou(np.array([[0.0, 0, 1, 1]]), np.array([[5.0, 5, 6, 6]])) == 0


def test_nearest_person_weights_points_by_confidence():
    true = np.array([[[0.0, 0], [100, 0]], [[4, 4], [0, 0]], [[1, 1], [1, 1]]])
    predicted = np.zeros((2, 2))
    valid = np.array([True, True, False])
    assert nearest_person(predicted, true, np.ones((3, 2)), valid) == 1
    assert nearest_person(predicted, true, np.tile([1.0, 0], (3, 1)), valid) == 0
    assert nearest_person(predicted, true, np.ones((3, 2)), valid & False) is None


def test_score_prefixes():
    scores = np.array([0.2, 0.9, 0.5, 0.5])
    assert [p.tolist() for p in score_prefixes(scores)] == [[1], [1, 2, 3], [1, 2, 3, 0]]
    assert score_prefixes(np.zeros(0)) == []
