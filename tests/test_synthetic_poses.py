"""Poses of synthetic people: limits, mirror images, and angles that bend the right way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.synthetic import BodySurface
from training.synthetic.anatomy import LIMITS, angles_to_body_pose
from training.synthetic.families import FAMILIES
from training.synthetic.poses import draw_angles, draw_hand

ELBOW_ROWS = {"l": 17, "r": 18}


@pytest.fixture(scope="module")
def body() -> BodySurface:
    return BodySurface()


def test_poses_stay_within_the_limits_of_the_joints() -> None:
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        for _ in range(40):
            angles = draw_angles(rng, family)
            for name, (low, high) in LIMITS.items():
                assert low <= angles[name] <= high
            pose = angles_to_body_pose(angles)
            assert pose[3:5, 0].min() >= 0  # knees bend backwards only
            assert np.allclose(pose[3:5, 1:], 0)
            assert pose[ELBOW_ROWS["l"], 1] <= 0 <= pose[ELBOW_ROWS["r"], 1]
            assert np.linalg.norm(pose, axis=1).max() <= np.pi + 1e-6


def test_mirrored_angles_give_the_mirrored_pose() -> None:
    angles = draw_angles(np.random.default_rng(3), "sport")
    swapped = {}
    for name, value in angles.items():
        if name[:2] in ("l_", "r_"):
            swapped[("r_" if name[0] == "l" else "l_") + name[2:]] = value
        else:
            swapped[name] = -value if name.endswith(("side", "twist")) else value
    partner = [1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14, 16, 15, 18, 17, 20, 19]
    mirrored = angles_to_body_pose(angles)[partner] * [1, -1, -1]
    np.testing.assert_allclose(angles_to_body_pose(swapped), mirrored, atol=1e-6)


def test_anatomical_angles_move_the_body_the_right_way(body: BodySurface) -> None:
    def joints(**angles: float) -> torch.Tensor:
        pose = torch.zeros(1, 55, 3)
        pose[0, 1:22] = torch.from_numpy(angles_to_body_pose({n: 0.0 for n in LIMITS} | angles))
        return body.pose(pose, torch.zeros(1, 10), torch.zeros(1, 10))[1][0]

    rest = joints()
    assert rest[20, 1] < rest[16, 1] - 0.4  # the arm hangs
    assert joints(l_shoulder_flex=1.5)[20, 2] > rest[20, 2] + 0.4
    assert joints(l_shoulder_out=1.5)[20, 0] > rest[20, 0] + 0.35
    assert joints(l_elbow=1.5)[20, 2] > rest[20, 2] + 0.15
    assert joints(l_elbow=1.5, l_shoulder_twist=1.0)[20, 0] < rest[20, 0] - 0.1
    assert joints(r_elbow=1.5, r_shoulder_twist=1.0)[21, 0] > rest[21, 0] + 0.1
    assert joints(l_hip_flex=1.0)[4, 2] > rest[4, 2] + 0.25
    assert joints(r_hip_out=0.6)[8, 0] < rest[8, 0] - 0.3
    assert joints(l_knee=1.5)[7, 2] < rest[7, 2] - 0.3
    assert joints(spine_flex=1.0)[15, 2] > rest[15, 2] + 0.2
    assert joints(neck_flex=0.6)[55, 1] < rest[55, 1] - 0.03


def test_hands_close_towards_the_palm(body: BodySurface) -> None:
    rng = np.random.default_rng(0)
    hands = [draw_hand(rng, "left") for _ in range(60)]
    grip = min(hands, key=lambda hand: abs(hand[:12, 2].mean() + 0.35))
    pose = torch.zeros(2, 55, 3)
    pose[1, 25:40] = torch.from_numpy(grip)
    pose[1, 40:55] = torch.from_numpy(grip * [1, -1, -1])
    _, joints = body.pose(pose, torch.zeros(2, 10), torch.zeros(2, 10))
    for wrist, tips in ((20, slice(67, 71)), (21, slice(72, 76))):
        lowered = joints[0, tips, 1] - joints[1, tips, 1]  # palms look down at rest
        assert lowered.min() > 0.003
        assert lowered.mean() > 0.012
        reach = (joints[:, tips] - joints[:, wrist, None]).norm(dim=-1).mean(1)
        assert reach[1] < 0.9 * reach[0]
