"""Calibrated scores: order, bounds and the inverse used to skip people."""

import math

import pytest
import torch

from aios.network.outputs import PERSON_CLASS, LayerOutput
from aios.network.score_calibration import ScoreCalibration, log_clearness

CALIBRATION = ScoreCalibration(2.5, 2.0, 1.2)


def output_of(logits, keypoint_scores=None):
    """Output for one image with these person logits (P,) and keypoint scores (P, 17)."""
    classes = torch.zeros(1, len(logits), 2)
    classes[0, :, PERSON_CLASS] = torch.tensor(logits)
    scores = None if keypoint_scores is None else torch.tensor(keypoint_scores)[None]
    return LayerOutput("locate", classes, torch.zeros(1, len(logits), 4), keypoint_scores=scores)


def test_default_keeps_the_scores_of_the_network():
    output = output_of([-1.0, 0.5], [[0.1] * 17] * 2)
    expected = torch.tensor([[-1.0, 0.5]]).sigmoid()
    assert torch.equal(ScoreCalibration().scores(output), expected)
    assert ScoreCalibration().least_class_score(0.3) == 0.3


def test_scores_follow_the_formula():
    clear = [0.8] * 6 + [0.0] * 11
    found = CALIBRATION.scores(output_of([-1.0], [clear]))
    logit = 2.5 - 2.0 + 1.2 * math.log(0.8)
    torch.testing.assert_close(found, torch.tensor([[1 / (1 + math.exp(-logit))]]))


def test_of_two_equal_detections_the_one_with_clear_keypoints_scores_higher():
    found = CALIBRATION.scores(output_of([0.0, 0.0], [[0.7] * 17, [0.05] * 17]))[0]
    assert found[0] > found[1]


def test_networks_without_keypoint_maps_are_calibrated_by_their_logits():
    found = CALIBRATION.scores(output_of([-1.0]))
    torch.testing.assert_close(found, torch.tensor([[0.5]]).logit().add(0.5).sigmoid())


@pytest.mark.parametrize("score", [0.1, 0.5, 0.9])
def test_nobody_below_the_least_class_score_reaches_the_score(score):
    least = CALIBRATION.least_class_score(score)
    logits = torch.logit(torch.tensor([least - 0.01, least + 0.01])).tolist()
    found = CALIBRATION.scores(output_of(logits, [[1.0] * 17] * 2))[0]
    assert found[0] < score < found[1]


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_extreme_scores_are_their_own_least_class_score(score):
    assert CALIBRATION.least_class_score(score) == score


def test_clearness_is_the_mean_of_the_six_best():
    scores = torch.zeros(17)
    scores[[1, 3, 5, 7, 9, 11]] = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    torch.testing.assert_close(log_clearness(scores).exp(), torch.tensor(0.65))
    assert torch.isfinite(log_clearness(torch.zeros(17)))


@pytest.mark.parametrize(
    "wrong", [(math.nan, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.5), (0.0, 1.0, -0.5)]
)
def test_coefficients_that_turn_scores_around_are_refused(wrong):
    with pytest.raises(ValueError, match="coefficient"):
        ScoreCalibration(*wrong)
