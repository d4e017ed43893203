"""Reading of Leeds Sports Pose Extended, from made-up archives."""

import io
import tarfile

import cv2
import numpy as np
import pytest
import torch

from training.data.real_photos import (
    COCO_FROM_LSPET,
    EmptyPhotos,
    LspetPhotos,
    RealDataError,
    lspet_targets,
)

LSPET_NAMES = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
)
COCO_LIMBS = [
    f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]


def jpeg(colour: int) -> bytes:
    picture = np.full((90, 60, 3), colour, np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def standing() -> np.ndarray:
    """Joints of a person who faces the camera: the left side is on the right of the image."""
    heights = {"ankle": 80, "knee": 65, "hip": 50, "wrist": 48, "elbow": 38, "shoulder": 25}
    joints = np.ones((14, 3), np.float32)
    for row, name in enumerate(LSPET_NAMES):
        side, _, part = name.partition("_")
        x = {"left": 40, "right": 20}.get(side, 30)
        joints[row, :2] = x, heights.get(part, 12)
    joints[13, :2] = 30, 5
    return joints


@pytest.fixture
def root(tmp_path):
    joints = np.stack([standing(), standing(), standing()])
    joints[1, 3:, 2] = 0  # too few joints
    np.savez(
        tmp_path / "lspet.npz",
        name=np.array(["a.jpg", "b.jpg", "gone.jpg"]),
        joints_px=joints,
        size_wh=np.array([[60, 90]] * 3, np.int32),
        joint_names=np.array(LSPET_NAMES),
    )
    write_tar(tmp_path / "lspet_00.tar", {"a.jpg": jpeg(50), "b.jpg": jpeg(90)})
    write_tar(tmp_path / "backgrounds_00.tar", {"x.jpg": jpeg(10), "y.jpg": jpeg(20)})
    return tmp_path


def test_joint_order_matches_the_names():
    assert [LSPET_NAMES[k] for k in COCO_FROM_LSPET] == COCO_LIMBS


def test_left_is_the_persons_own_left():
    targets = lspet_targets(standing(), (60, 90))
    left, right = targets.keypoints_2d[0, 5], targets.keypoints_2d[0, 6]
    torch.testing.assert_close(left, torch.tensor([40 / 60, 25 / 90]))
    assert left[0] > right[0]


def test_only_annotated_joints_have_targets():
    joints = standing()
    joints[11, 2] = 0  # left wrist
    targets = lspet_targets(joints, (60, 90))
    # COCO: five face points, shoulders, elbows, then the left wrist.
    assert targets.keypoints_visible[0].tolist() == [0.0] * 5 + [1.0] * 4 + [0.0] + [1.0] * 7
    assert not bool(targets.smplx_valid.any() or targets.joints_3d_valid.any())
    assert not bool(targets.face_box_valid.any() or targets.left_hand_box_valid.any())
    assert targets.ignore_unmatched


def test_box_surrounds_all_joints_and_stays_in_the_photo():
    targets = lspet_targets(standing(), (60, 90))
    centre, size = targets.boxes[0, :2], targets.boxes[0, 2:]
    low, high = centre - size / 2, centre + size / 2
    assert float(low[1]) <= 5 / 90 and float(high[1]) >= 80 / 90
    assert float(low.min()) >= 0 and float(high.max()) <= 1


def test_photos_of_a_folder_are_read(root):
    people = LspetPhotos(root)
    assert len(people) == 1  # one has too few joints, one has no photo
    sample = people[0]
    assert sample.picture.shape == (90, 60, 3)
    assert len(sample.targets) == 1
    empty = EmptyPhotos(root)
    assert len(empty) == 2
    assert len(empty[1].targets) == 0
    assert not empty[1].targets.ignore_unmatched


def test_missing_files_are_named(tmp_path):
    with pytest.raises(RealDataError, match=r"lspet\.npz"):
        LspetPhotos(tmp_path)
    with pytest.raises(RealDataError, match="backgrounds_00"):
        EmptyPhotos(tmp_path)


def test_people_with_too_few_joints_are_refused():
    joints = standing()
    joints[2:, 2] = 0
    with pytest.raises(RealDataError, match="too few joints"):
        lspet_targets(joints, (60, 90))
