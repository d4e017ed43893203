"""Procedural poses: joint limits, mirroring, direction of angles, hand contacts."""

from __future__ import annotations

import pytest
import torch

from training.synthetic import BodySurface
from training.synthetic.anatomy import (
    ANGLES,
    COLUMN,
    HIGH,
    LOW,
    angles_to_body_pose,
    angles_to_rotations,
    mirror_angles,
    shoulder_angles,
)
from training.synthetic.body_parameters import HAND_KINDS, sample_betas, sample_faces, sample_hand
from training.synthetic.clips import keyframe_angles
from training.synthetic.contacts import CONTACT_NUMBER, ContactPoints, full_pose, palm, reach, touch
from training.synthetic.poses import CLIPS, Poses, sample_poses
from training.synthetic.rng import CounterRng


@pytest.fixture(scope="module")
def body() -> BodySurface:
    return BodySurface()


def sampled(count: int, *, test: bool = False) -> Poses:
    rng = CounterRng.for_scenes(5, range(count))
    return sample_poses(rng, rng.child("scene"), test=test)


def angles_of(**angles: float) -> torch.Tensor:
    values = torch.zeros(1, len(ANGLES))
    for name, value in angles.items():
        values[0, COLUMN[name]] = value
    return values


def test_poses_respect_the_joint_limits() -> None:
    poses = sampled(3000)
    assert (poses.angles >= LOW - 1e-5).all()
    assert (poses.angles <= HIGH + 1e-5).all()
    pose = angles_to_body_pose(poses.angles)
    assert pose[:, 3:5, 0].min() > -1e-5  # knees flex backwards only
    assert pose[:, 3:5, 1:].abs().max() < 1e-5
    assert pose[:, 17, 1].max() < 1e-5  # elbows flex forwards only
    assert pose[:, 18, 1].min() > -1e-5
    assert pose.norm(dim=-1).max() < torch.pi + 1e-4
    unit = poses.tilt @ poses.tilt.transpose(1, 2)
    torch.testing.assert_close(unit, torch.eye(3).expand_as(unit), atol=1e-5, rtol=0)


def test_every_clip_is_sampled_and_splits_share_none() -> None:
    train, test = (
        sampled(4000).clip.unique().tolist(),
        sampled(4000, test=True).clip.unique().tolist(),
    )
    assert {CLIPS[number].test for number in train} == {False}
    assert {CLIPS[number].test for number in test} == {True}
    assert len(train) + len(test) == len(CLIPS)
    for clip in CLIPS:
        for keyframe in clip.keyframes:
            angles = keyframe_angles(keyframe)[0]
            assert (angles >= LOW - 0.35).all(), clip.name
            assert (angles <= HIGH + 0.35).all(), clip.name


def test_mirrored_angles_give_the_mirrored_pose() -> None:
    angles = sampled(50).angles
    partner = [1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14, 16, 15, 18, 17, 20, 19]
    mirrored = angles_to_body_pose(angles)[:, partner] * torch.tensor([1.0, -1.0, -1.0])
    again = angles_to_body_pose(mirror_angles(angles))
    torch.testing.assert_close(again, mirrored, atol=1e-4, rtol=0)
    assert torch.equal(mirror_angles(mirror_angles(angles)), angles)


def test_anatomical_angles_have_the_documented_direction(body: BodySurface) -> None:
    def joints(**angles: float) -> torch.Tensor:
        pose = torch.zeros(1, 55, 3)
        pose[:, 1:22] = angles_to_body_pose(angles_of(**angles))
        return body.pose(pose, torch.zeros(1, 10), torch.zeros(1, 10)).joints_3d[0]

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
    assert joints(l_ankle=0.6)[10, 1] < rest[10, 1] - 0.04
    assert joints(spine_flex=1.0)[15, 2] > rest[15, 2] + 0.2
    assert joints(neck_flex=0.6)[55, 1] < rest[55, 1] - 0.03


def test_shoulder_angles_reproduce_the_rotation() -> None:
    angles = sampled(300).angles
    rotation = angles_to_rotations(angles)[:, 15]
    found = shoulder_angles(rotation)
    columns = [COLUMN[f"l_shoulder_{name}"] for name in ("flex", "out", "twist")]
    again = angles.clone()
    again[:, columns] = found
    torch.testing.assert_close(angles_to_rotations(again)[:, 15], rotation, atol=1e-4, rtol=0)
    inside = (found >= LOW[columns] - 1e-3) & (found <= HIGH[columns] + 1e-3)
    assert inside.all(1).float().mean() > 0.95


def test_fingers_flex_towards_the_palm(body: BodySurface) -> None:
    rng = CounterRng.for_scenes(0, range(40))
    for side, wrist, tips in ((0, 20, slice(67, 71)), (1, 21, slice(72, 76))):
        rows = slice(25, 40) if side == 0 else slice(40, 55)
        reaches = {}
        for name in ("open", "fist"):
            kind = torch.full((40,), list(HAND_KINDS).index(name))
            pose = torch.zeros(40, 55, 3)
            pose[:, rows] = sample_hand(rng, side, kind)
            joints = body.pose(pose, torch.zeros(40, 10), torch.zeros(40, 10)).joints_3d
            reaches[name] = (joints[:, tips] - joints[:, wrist, None]).norm(dim=-1).mean()
            if name == "fist":  # palms face down in the T-pose
                assert (joints[:, tips, 1] < joints[:, wrist, None, 1]).float().mean() > 0.95
        assert reaches["fist"] < 0.8 * reaches["open"]


def test_faces_and_shapes_stay_within_bounds() -> None:
    rng = CounterRng.for_scenes(1, range(500))
    expression, jaw = sample_faces(rng)
    assert expression.abs().max() <= 1.9
    assert 0 <= jaw[:, 0].min()
    assert 0.2 < jaw[:, 0].max() <= 0.45
    betas = sample_betas(rng)
    assert betas[:, 1:].abs().max() <= 2.3
    assert betas[:, 0].min() < -2.4


def test_reach_meets_targets_within_joint_limits(body: BodySurface) -> None:
    """Reachable targets are met; unreachable targets do not violate the joint limits."""
    angles, zeros = sampled(200).angles, torch.zeros(200, 20)
    pose = full_pose(angles, torch.zeros(200, 3), torch.zeros(200, 30, 3), torch.zeros(200, 3))
    _, world, joints = body.pose_joints(pose, zeros)
    for side in (0, 1):
        target = palm(world, joints, side)
        start = angles.clone()
        names = [f"{'lr'[side]}_{n}" for n in ("shoulder_flex", "shoulder_out", "elbow")]
        start[:, [COLUMN[name] for name in names]] = 0.3
        found = reach(start, world, joints, target, side, torch.zeros(200))
        assert (found >= LOW).all()
        assert (found <= HIGH).all()
        bent = torch.cat([pose[:, :1], angles_to_body_pose(found), pose[:, 22:]], 1)
        _, turned, moved = body.pose_joints(bent, zeros)
        gap = (palm(turned, moved, side) - target).norm(dim=-1)
        assert gap.median() < 0.06
        far = reach(start, world, joints, target + 5.0, side, torch.zeros(200))
        assert (far >= LOW).all()
        assert (far <= HIGH).all()


@pytest.mark.parametrize("place", ["hip", "pocket", "belly", "chin", "ear", "crown"])
def test_palms_touch_contact_points(body: BodySurface, place: str) -> None:
    angles = keyframe_angles({})[0].expand(4, -1)
    coefficients = torch.randn(4, 20, generator=torch.Generator().manual_seed(0)) * 0.7
    pose = full_pose(angles, torch.zeros(4, 3), torch.zeros(4, 30, 3), torch.zeros(4, 3))
    wanted = torch.full((4, 2), CONTACT_NUMBER[place])
    places = ContactPoints(body)
    swivel = torch.zeros(4, 2)
    found = touch(body, places, pose, coefficients, angles, wanted, swivel)
    bent = torch.cat([pose[:, :1], angles_to_body_pose(found), pose[:, 22:]], 1)
    _, world, joints = body.pose_joints(bent, coefficients)
    for side in (0, 1):
        target = places.positions(world, joints, coefficients, wanted[:, side], side)
        assert (palm(world, joints, side) - target).norm(dim=-1).max() < 0.11
