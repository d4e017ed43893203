"""Baselines that predictions are compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from aios.body.model import BodyModel
from aios.prediction import Prediction


def with_mean_hands(prediction: Prediction, body: BodyModel) -> Prediction:
    """Pose both hands of everyone as the mean hand; body and wrists stay as predicted.

    Args:
        prediction: P people.
        body: the body model of the prediction, on any device.
    """
    if not len(prediction):
        return prediction
    people = prediction.people
    mean = np.zeros_like(people.left_hand_pose)
    people = replace(people, left_hand_pose=mean, right_hand_pose=mean)
    parameters = {
        name: torch.from_numpy(values).to(body.device)
        for name, values in people.smplx_parameters().items()
    }
    with torch.inference_mode():
        posed = body(parameters)
    return replace(
        prediction,
        people=people,
        vertices=posed.vertices.cpu().numpy(),
        joints_3d=posed.joints_3d.cpu().numpy(),
    )
