"""Small random bodies for tests of the metrics: 60 vertices, 127 joints."""

from dataclasses import replace

import numpy as np

from training.evaluation.metrics import BodyParts, PredictedPeople, TruePeople

NUM_VERTICES = 60
FOCAL_LENGTH = 1000.0
MIDDLE = np.array([960.0, 540.0])


def small_parts(seed=0) -> BodyParts:
    """Disjoint vertex lists, and regressors whose rows sum to 1."""
    random = np.random.default_rng(seed)
    order = random.permutation(NUM_VERTICES)

    def regressor(rows):
        matrix = random.random((rows, NUM_VERTICES))
        return matrix / matrix.sum(1, keepdims=True)

    return BodyParts(
        body=order[:30],
        left_hand=order[30:38],
        right_hand=order[38:46],
        face=order[46:],
        joint_regressor=regressor(55),
        j14_regressor=regressor(14),
        left_hand_regressor=regressor(21),
        right_hand_regressor=regressor(21),
    )


def project(points):
    return points[..., :2] / points[..., 2:] * FOCAL_LENGTH + MIDDLE


def make_truth(count, seed=0, **more) -> TruePeople:
    """People in a row, 1.5 m apart, at a depth of 6 m."""
    random = np.random.default_rng(seed)
    middle = np.zeros((count, 1, 3))
    middle[:, 0, 0] = 1.5 * (np.arange(count) - (count - 1) / 2)
    middle[:, 0, 2] = 6
    joints = middle + random.normal(size=(count, 127, 3)) * 0.2
    vertices = middle + random.normal(size=(count, NUM_VERTICES, 3)) * 0.2
    return TruePeople.from_arrays(project(joints), joints, vertices, more)


def as_prediction(truth: TruePeople, scores=None) -> PredictedPeople:
    """The ground truth as a prediction."""
    scores = np.linspace(0.9, 0.5, len(truth)) if scores is None else np.asarray(scores, float)
    return PredictedPeople(scores, truth.joints_2d, truth.joints_3d, truth.vertices)


def moved(people, change):
    """Apply `change` to 3D joints and vertices; 2D joints stay."""
    return replace(people, joints_3d=change(people.joints_3d), vertices=change(people.vertices))
