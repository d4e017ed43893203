"""Calibrated person scores: from class logits and keypoint scores to probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .outputs import PERSON_CLASS, LayerOutput

NUM_CLEAREST = 6
"""Keypoints whose mean score counts: a person cut at the waist shows few more."""
_LEAST_KEYPOINT_SCORE = 1e-3


@dataclass(frozen=True)
class ScoreCalibration:
    """Logistic regression of whether a predicted person is right.

    The logit of the probability is

        bias + class_weight * class logit + keypoint_weight * log(mean of the best keypoint scores)

    `training.tools.calibrate_scores` fits the coefficients. The default leaves the scores of the
    network as they are.
    """

    bias: float = 0.0
    class_weight: float = 1.0
    keypoint_weight: float = 0.0

    def __post_init__(self) -> None:
        """Validate the coefficients: scores must grow with both inputs.

        Raises:
            ValueError: a coefficient is not finite or has the wrong sign.
        """
        if not all(map(math.isfinite, (self.bias, self.class_weight, self.keypoint_weight))):
            raise ValueError("A coefficient is not finite.")
        if self.class_weight <= 0 or self.keypoint_weight < 0:
            raise ValueError("A coefficient has the wrong sign.")

    def scores(self, output: LayerOutput) -> Tensor:
        """Scores (B, P), 0-1, of the people of a decoder layer."""
        logits = output.class_logits[..., PERSON_CLASS]
        if self == ScoreCalibration():
            return logits.sigmoid()
        logits = self.bias + self.class_weight * logits
        if output.keypoint_scores is not None:
            logits = logits + self.keypoint_weight * log_clearness(output.keypoint_scores)
        return logits.sigmoid()

    def least_class_score(self, score: float) -> float:
        """Class score, 0-1, below which no calibrated score reaches `score`, 0-1."""
        if self == ScoreCalibration() or not 0 < score < 1:
            return score
        logit = (math.log(score / (1 - score)) - self.bias) / self.class_weight
        return 1 / (1 + math.exp(-logit))


def log_clearness(keypoint_scores: Tensor) -> Tensor:
    """Keypoint scores (..., 17), 0-1 -> log of the mean of the `NUM_CLEAREST` highest (...)."""
    best = keypoint_scores.topk(NUM_CLEAREST, -1).values.mean(-1)
    return torch.log(best.clamp_min(_LEAST_KEYPOINT_SCORE))
