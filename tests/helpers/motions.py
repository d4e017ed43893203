"""Synthetic motion records of a video, for tests of exporters."""

import numpy as np
import torch

from aios.body.kinematics import CAMERA_TO_WORLD
from aios.body.parameters import SMPLX_NAMES
from aios.export.motion import MotionStore
from tests.helpers.people_makers import make_person, together


def wild_person(time, who):
    """A person with all joints bent; smooth in time, different for each `who`."""
    phase = np.random.default_rng(who).uniform(0, 6, 200)

    def wave(count, size):
        return size * np.sin(1.5 * time + phase[:count] + np.arange(count))

    return make_person(
        (100 + 200 * who, 200),
        global_orient=np.array([3.0, 0.2, 0.1]) + wave(3, 0.3),
        body_pose=wave(63, 0.5),
        jaw_pose=wave(3, 0.1),
        left_hand_pose=wave(45, 0.4),
        right_hand_pose=wave(45, 0.3),
        betas=np.full(10, 0.3 * who - 0.4),
        expression=wave(10, 1.0),
        transl=np.array([0.4 * who, 0.2, 7.0]) + wave(3, 0.5),
    )


def make_store(path, count=12, rate=10.0, seen=None):
    """Two people in `count` frames; `seen(who, frame)` is whether a person is in a frame."""
    store = MotionStore(path)
    for frame in range(count):
        there = [who for who in (1, 2) if seen is None or seen(who, frame)]
        people = together(*(wild_person(frame / rate, who) for who in there))
        store.add(people, np.array(there, np.int64), frame / rate)
    store.finish(1, mean_shape=True)
    return store


def records(store, number):
    """All records of a track."""
    return np.concatenate(list(store.track_chunks(number)))


def true_joints(predictor, store, number):
    """Joints of a track from the body model: (T, 55, 3) metres, y up."""
    rows = records(store, number)
    parameters = {name: torch.from_numpy(rows[name].copy()) for name in SMPLX_NAMES}
    adapted = predictor.body.adapt(parameters, predictor.weights.body_convention == "smplx")
    joints = predictor.body(adapted).joints_3d[:, :55]
    return joints.double().numpy() * CAMERA_TO_WORLD
