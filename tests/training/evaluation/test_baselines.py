"""Baselines of the evaluation."""

import numpy as np

from aios.body.file import read_body_file
from aios.body.model import BodyModel
from aios.resources import STANDIN_BODY
from tests.helpers.predictions import synthetic_prediction
from training.evaluation.baselines import with_mean_hands


def test_mean_hands_change_the_hands_alone():
    prediction, body = synthetic_prediction(2), BodyModel.load(STANDIN_BODY)
    mean = with_mean_hands(prediction, body)
    assert not mean.people.left_hand_pose.any() and not mean.people.right_hand_pose.any()
    fingers = np.arange(25, 55)
    moved = np.linalg.norm(mean.joints_3d - prediction.joints_3d, axis=-1)
    assert moved[:, fingers].max() > 0.005
    assert moved[:, :22].max() < 1e-6
    weights = read_body_file(STANDIN_BODY).arrays["weights"][:, fingers].sum(1) > 0
    apart = np.linalg.norm(mean.vertices - prediction.vertices, axis=-1)
    assert apart[:, ~weights].max() < 0.005 < apart[:, weights].max()


def test_mean_hands_of_nobody():
    nobody = synthetic_prediction(0)
    assert with_mean_hands(nobody, BodyModel.load(STANDIN_BODY)) is nobody
