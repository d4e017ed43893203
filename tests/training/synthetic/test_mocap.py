"""Motion-capture packs: reading, licences, joint limits, sampling, and use in scenes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.mixture import DataConfig, Sources
from training.synthetic import TEST_SEED, BodySurface, SceneBatchGenerator
from training.synthetic.anatomy import (
    COLUMN,
    angles_to_rotations,
    axis_rotation,
    euler,
    rotations_to_axis_angle,
)
from training.synthetic.characters import CharacterSlots, sample_characters
from training.synthetic.joint_limits import clamp_to_limits, euler_angles
from training.synthetic.mocap import (
    JOINT_NAMES,
    MocapConfig,
    MocapError,
    MocapLibrary,
    is_free,
    load_mocap,
    mirror,
    quaternions_to_rotations,
    without_heading,
)
from training.synthetic.poses import sample_poses
from training.synthetic.rng import CounterRng
from training.targets import TENSOR_FIELDS

FREE, NON_COMMERCIAL = (
    "CMU Graphics Lab Motion Capture Database (free for all uses)",
    "CC BY-NC 4.0",
)


def about_x(angle: float) -> np.ndarray:
    """Quaternion w x y z."""
    return np.array([np.cos(angle / 2), np.sin(angle / 2), 0, 0])


def clip(frames: int, **angles: float) -> np.ndarray:
    """(F, 22, 4) with some joints rotated about x, growing from half to all of their angle."""
    quaternions = np.zeros((frames, 22, 4))
    quaternions[..., 0] = 1
    for name, angle in angles.items():
        for frame in range(frames):
            share = 0.5 + 0.5 * frame / max(frames - 1, 1)
            quaternions[frame, JOINT_NAMES.index(name)] = about_x(share * angle)
    return quaternions


def write_pack(
    folder: Path, clips: list[np.ndarray], licence: str = FREE, name: str = "pack.npz"
) -> MocapConfig:
    """Append a pack to the index of a folder."""
    quaternions = np.concatenate(clips).astype(np.float16)
    np.savez(folder / name, quat=quaternions, joint_names=np.array(JOINT_NAMES))
    start = 0
    with (folder / "index.jsonl").open("a") as index:
        for number, one in enumerate(clips):
            entry = {"file": name, "clip": str(number), "start": start, "frames": len(one)}
            index.write(json.dumps(entry | {"fps": 15.0, "licence": licence}) + "\n")
            start += len(one)
    return MocapConfig(str(folder), share=1.0)


@pytest.fixture
def config(tmp_path: Path) -> MocapConfig:
    clips = [clip(9, left_hip=-1.2, left_knee=1.4), clip(5, right_hip=-0.9, spine2=0.4)]
    return write_pack(tmp_path, clips)


@pytest.fixture
def library(config: MocapConfig) -> MocapLibrary:
    loaded = load_mocap(config)
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def body() -> BodySurface:
    return BodySurface()


def test_pack_is_read_as_unit_quaternions_per_clip(library: MocapLibrary) -> None:
    assert library.first.tolist() == [0, 9]
    assert library.count.tolist() == [9, 5]
    lengths = library.quaternions.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-6, rtol=0)
    hip = quaternions_to_rotations(library.quaternions[8, 1])
    torch.testing.assert_close(hip, axis_rotation("X", torch.tensor(-1.2)), atol=2e-3, rtol=0)


def test_no_folder_means_no_library() -> None:
    assert load_mocap(MocapConfig()) is None
    with pytest.raises(ValueError, match="use 0 to 1"):
        MocapConfig(share=1.5)


def test_restricted_licences_are_loaded_on_request_only(tmp_path: Path) -> None:
    write_pack(tmp_path, [clip(4)])
    config = write_pack(tmp_path, [clip(6), clip(7)], NON_COMMERCIAL, "restricted.npz")
    assert load_mocap(config).count.tolist() == [4]
    assert load_mocap(replace(config, restricted=True)).count.tolist() == [4, 6, 7]


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        (FREE, True),
        ("repository MIT (DeepMimic reference clips)", True),
        ("CC0 1.0", True),
        ("CC BY 4.0", True),
        (NON_COMMERCIAL, False),
        ("for research only", False),
        ("", False),
    ],
)
def test_only_known_free_licences_are_free(licence: str, free: bool) -> None:
    assert is_free(licence) == free


def test_frames_beyond_the_joint_limits_are_clamped_or_dropped(tmp_path: Path) -> None:
    bad = clip(6)
    bad[3, JOINT_NAMES.index("left_knee")] = about_x(-1.5)
    slight = clip(4)
    slight[:, JOINT_NAMES.index("right_knee")] = about_x(-0.2)
    library = load_mocap(write_pack(tmp_path, [bad, slight]))
    assert library.count.tolist() == [3, 2, 4]
    knee = library.quaternions[5:, JOINT_NAMES.index("right_knee"), 1]
    torch.testing.assert_close(knee, torch.zeros(4), atol=1e-5, rtol=0)


def test_procedural_poses_are_not_changed_by_clamping() -> None:
    rng = CounterRng.for_scenes(5, range(500))
    rotations = angles_to_rotations(sample_poses(rng, rng.child("scene"), test=False).angles)
    clamped, excess = clamp_to_limits(rotations)
    torch.testing.assert_close(clamped, rotations, atol=1e-3, rtol=0)
    assert excess.max() < 1e-4


def test_clamping_is_symmetric() -> None:
    angles = torch.zeros(2, len(COLUMN))
    angles[0, COLUMN["l_hip_flex"]] = angles[1, COLUMN["r_hip_flex"]] = 2.8
    angles[0, COLUMN["l_shoulder_out"]] = angles[1, COLUMN["r_shoulder_out"]] = 3.1
    clamped, excess = clamp_to_limits(angles_to_rotations(angles))
    partner = [1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14, 16, 15, 18, 17, 20, 19]
    mirrored = rotations_to_axis_angle(clamped[1])[partner] * torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(rotations_to_axis_angle(clamped[0]), mirrored, atol=1e-4, rtol=0)
    torch.testing.assert_close(excess[0], excess[1][partner], atol=1e-4, rtol=0)
    torch.testing.assert_close(excess[0, 0], torch.tensor(0.6), atol=1e-4, rtol=0)


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_euler_angles_invert_euler(order: str) -> None:
    angles = (torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 3
    found = euler_angles(order, euler(order, *angles.unbind(-1)))
    torch.testing.assert_close(found, angles, atol=1e-4, rtol=0)


def test_mirrored_pose_gives_mirrored_joints(library: MocapLibrary, body: BodySurface) -> None:
    both = torch.stack([library.quaternions[8], mirror(library.quaternions[8])])
    pose = torch.zeros(2, 55, 3)
    pose[:, :22] = rotations_to_axis_angle(quaternions_to_rotations(both))
    joints = body.pose_joints(pose, torch.zeros(2, 20))[2]
    partner = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20]
    flipped = joints[1, :22][partner] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(joints[0, :22], flipped, atol=1e-3, rtol=0)
    assert torch.equal(mirror(mirror(both)), both)


def test_heading_is_removed_and_tilt_is_kept() -> None:
    yaw = torch.linspace(-3, 3, 7)
    tilts = [
        torch.eye(3),
        axis_rotation("X", torch.tensor(0.5)),
        axis_rotation("X", torch.tensor(-torch.pi / 2)),  # on the back
        axis_rotation("X", torch.tensor(torch.pi / 2)),  # on the front
    ]
    for tilt in tilts:
        found = without_heading(axis_rotation("Y", yaw) @ tilt)
        torch.testing.assert_close(found, tilt.expand_as(found), atol=1e-5, rtol=0)


def test_samples_cover_clips_and_both_sides_and_repeat(library: MocapLibrary) -> None:
    rng = CounterRng.for_scenes(1, range(400))
    tilt, rotations = library.sample(rng)
    assert torch.equal(rotations, library.sample(rng)[1])
    torch.testing.assert_close(tilt, torch.eye(3).expand_as(tilt), atol=1e-5, rtol=0)
    pose = rotations_to_axis_angle(rotations)
    left, right = pose[:, 0, 0] < -0.5, pose[:, 1, 0] < -0.4
    assert ((left | right) & ~(left & right)).float().mean() > 0.9
    assert 0.3 < left.float().mean() < 0.7
    knee = pose[:, 3:5, 0].amax(1)
    assert knee.max() <= 1.4 + 1e-3
    assert 0.2 < (knee < 0.1).float().mean() < 0.7


def test_time_moves_poses_continuously_and_back(library: MocapLibrary) -> None:
    rng = CounterRng.for_scenes(2, range(50))
    times = torch.arange(0, 3, 0.02).tolist()
    poses = torch.stack([rotations_to_axis_angle(library.sample(rng, t)[1]) for t in times])
    steps = (poses[1:] - poses[:-1]).abs().amax((1, 2, 3))
    assert 0 < steps.max() < 0.06
    assert torch.equal(library.sample(rng, 0.0)[1], library.sample(rng)[1])


def test_captured_people_stand_on_the_floor(library: MocapLibrary, body: BodySurface) -> None:
    generator = SceneBatchGenerator((64, 64), body, 1, people=(2, 2), mocap=library)
    rng = CounterRng.for_scenes(1, range(6))
    index = torch.arange(12)
    everyone = torch.ones(12, dtype=torch.bool)
    slots = CharacterSlots(index // 2, index % 2, torch.ones(6, 2, dtype=torch.bool), everyone)
    characters, _ = sample_characters(generator._assets, rng, slots)
    assert characters.poses.captured is not None
    assert characters.poses.captured.used.all()
    assert not characters.poses.held.any()
    assert not characters.poses.touch.any()
    skin = characters.body.vertices[:, : body.num_vertices] - characters.body.joints_3d[:, :1]
    world = skin @ characters.orientation.transpose(1, 2) + characters.pelvis[:, None]
    torch.testing.assert_close(world[..., 1].amin(1), torch.zeros(12), atol=1e-4, rtol=0)


def test_labels_hold_the_captured_pose(library: MocapLibrary, body: BodySurface) -> None:
    scenes = SceneBatchGenerator((64, 64), body, 1, people=(1, 3), mocap=library).generate(range(6))
    pose = scenes.people.body_pose.view(-1, 21, 3)
    bent = pose[:, [0, 1, 3, 4, 5], 0].abs().amax(1)
    assert (bent > 0.15).all()
    others = [row for row in range(21) if row not in (0, 1, 3, 4, 5)]
    assert pose[:, others].abs().max() < 1e-3
    assert scenes.people.left_hand_pose.abs().max() > 0.1  # fingers stay procedural
    assert scenes.people.expression.abs().max() > 0.1


def test_share_zero_gives_the_scenes_without_packs(config: MocapConfig, body: BodySurface) -> None:
    none = load_mocap(replace(config, share=0.0))
    plain = SceneBatchGenerator((64, 64), body, 1).generate(range(4))
    same = SceneBatchGenerator((64, 64), body, 1, mocap=none).generate(range(4))
    assert torch.equal(plain.images, same.images)
    for name in TENSOR_FIELDS:
        assert torch.equal(getattr(plain.people, name), getattr(same.people, name)), name


def test_half_share_leaves_the_other_people_as_they_were(
    config: MocapConfig, body: BodySurface
) -> None:
    half = load_mocap(replace(config, share=0.5))
    plain = SceneBatchGenerator((64, 64), body, 1, people=(1, 1)).generate(range(16))
    mixed = SceneBatchGenerator((64, 64), body, 1, people=(1, 1), mocap=half).generate(range(16))
    same = (plain.people.body_pose == mixed.people.body_pose).all(1)
    assert 4 <= int(same.sum()) <= 12


def test_test_seeds_refuse_motion_capture(library: MocapLibrary, body: BodySurface) -> None:
    with pytest.raises(ValueError, match="procedural poses only"):
        SceneBatchGenerator((64, 64), body, TEST_SEED, mocap=library)


def test_training_data_use_the_packs(config: MocapConfig) -> None:
    captured = Sources(DataConfig(mocap=config)).scenes
    plain = Sources(DataConfig()).scenes
    assert captured is not None
    assert plain is not None
    indices = [index for index in range(4) if len(plain[index].targets)]
    poses = [source[index].targets.body_pose for source in (captured, plain) for index in indices]
    assert len(poses[0]) != len(poses[len(indices)]) or not torch.equal(
        poses[0], poses[len(indices)]
    )


def test_unusable_packs_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = MocapConfig(str(tmp_path))
    with pytest.raises(MocapError, match="not a readable index"):
        load_mocap(folder)
    (tmp_path / "index.jsonl").write_text('{"file": "a.npz"}\n')
    with pytest.raises(MocapError, match="without file, start"):
        load_mocap(folder)
    (tmp_path / "index.jsonl").write_text("")
    write_pack(tmp_path, [clip(3)], NON_COMMERCIAL)
    with pytest.raises(MocapError, match="1 clips have a restricted licence"):
        load_mocap(folder)
    (tmp_path / "pack.npz").write_bytes(b"no pack")
    with pytest.raises(MocapError, match="not a readable motion-capture pack"):
        load_mocap(replace(folder, restricted=True))
    np.savez(tmp_path / "pack.npz", quat=np.zeros((3, 5, 4)), joint_names=np.array(["pelvis"]))
    with pytest.raises(MocapError, match="22 quaternions per frame"):
        load_mocap(replace(folder, restricted=True))
