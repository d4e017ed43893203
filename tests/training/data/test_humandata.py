"""HumanData files in all forms used by the data sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.humandata_files import COUNTS, open_set, random_samples, rewrite, write_set
from training.data.archive import DataError
from training.data.sets import DATA_SETS
from training.targets import TENSOR_FIELDS


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture
def path(tmp_path, body):
    return write_set(tmp_path, body)


def test_written_files_are_read(tmp_path, body, path):
    photos = open_set(path, tmp_path)
    samples = random_samples(body)
    assert len(photos) == len(COUNTS)
    for index, sample in enumerate(samples):
        again = photos[index]
        assert np.array_equal(again.picture, sample.picture)
        for name in TENSOR_FIELDS:
            if name == "keypoints_occluded":
                continue
            before, after = getattr(sample.targets, name), getattr(again.targets, name)
            torch.testing.assert_close(after, before, atol=2e-6, rtol=1e-6, msg=name)


def test_rows_are_images_without_frame_range(tmp_path, path):
    rewrite(path, lambda c: c.pop("frame_range"))
    photos = open_set(path, tmp_path)
    assert [len(photos.targets(k)) for k in range(len(photos))] == [1] * sum(COUNTS)


def test_intervals_count_images(tmp_path, path):
    photos = open_set(path, tmp_path, interval=2)
    assert [len(photos.targets(k)) for k in range(len(photos))] == [COUNTS[0], COUNTS[2]]
    every_fifth = replace(DATA_SETS["synthetic"], train_interval=5)
    assert len(open_set(path, tmp_path, every_fifth)) == 1
    assert len(open_set(path, tmp_path, every_fifth, split="test")) == 3


@pytest.mark.parametrize("joints", [144, 190])
def test_compressed_joints_are_expanded(tmp_path, path, joints):
    whole = open_set(path, tmp_path).targets(0)
    kept = np.zeros(joints, np.uint8)
    kept[np.r_[0:40, 60:144:2]] = 1

    def compress(content):
        for key in ("keypoints2d_smplx", "keypoints3d_cam"):
            wide = np.zeros((len(content[key]), joints, content[key].shape[2]), np.float32)
            wide[:, :144] = content[key]
            content[key], content[f"{key}_mask"] = wide[:, kept == 1], kept
        content["__keypoints_compressed__"] = np.array(True)

    targets = open_set(rewrite(path, compress), tmp_path).targets(0)
    there = torch.from_numpy(kept[:144] == 1)
    torch.testing.assert_close(targets.joints_2d[:, there], whole.joints_2d[:, there])
    torch.testing.assert_close(targets.joints_3d[:, there], whole.joints_3d[:, there])
    assert not targets.joints_2d_visible[:, ~there].any()
    assert not targets.joints_3d_confidence[:, ~there].any()
    assert torch.equal(targets.joints_2d_visible[:, there], whole.joints_2d_visible[:, there])


def test_masked_joints_are_invisible(tmp_path, path):
    rewrite(path, lambda c: c["keypoints2d_smplx_mask"].__setitem__(20, 0))
    assert not open_set(path, tmp_path).targets(0).joints_2d_visible[:, 20].any()


def test_neutral_betas_are_used_in_training_only(tmp_path, path):
    neutral = np.full((sum(COUNTS), 10), 0.25, np.float32)

    def change(content):
        content["smplx"]["betas_neutral"] = neutral
        content["meta"]["gender"] = ["female"] * sum(COUNTS)

    rewrite(path, change)
    train, test = (open_set(path, tmp_path, split=split).targets(0) for split in ("train", "test"))
    assert bool((train.betas == 0.25).all()) and train.gender.tolist() == [-1, -1]
    assert not bool((test.betas == 0.25).any()) and test.gender.tolist() == [1, 1]


def test_extra_betas_are_dropped(tmp_path, path):
    before = open_set(path, tmp_path).targets(0).betas
    rewrite(path, lambda c: c["smplx"].update(betas=np.pad(c["smplx"]["betas"], ((0, 0), (0, 1)))))
    assert torch.equal(open_set(path, tmp_path).targets(0).betas, before)


def test_smpl_parameters_give_body_targets_only(tmp_path, path):
    def change(content):
        smplx = content.pop("smplx")
        body = smplx["body_pose"].reshape(-1, 63)
        smplx["body_pose"] = np.concatenate([body, np.ones((len(body), 6), np.float32)], 1)
        content["smpl"] = {k: smplx[k] for k in ("global_orient", "body_pose", "betas")}

    before = open_set(path, tmp_path).targets(0)
    targets = open_set(rewrite(path, change), tmp_path).targets(0)
    assert torch.equal(targets.body_pose, before.body_pose)
    assert bool(targets.smplx_valid.all())
    for name in ("left_hand_pose", "right_hand_pose", "jaw_pose", "betas", "expression"):
        assert not getattr(targets, f"{name}_valid").any(), name


def test_mean_hand_is_subtracted_from_flat_hands(tmp_path, path):
    before = open_set(path, tmp_path).targets(0)
    means = (np.full(45, 0.5), np.full(45, -0.25))
    flat = replace(DATA_SETS["synthetic"], hands_from_flat=True)
    targets = open_set(path, tmp_path, flat, hand_means=means).targets(0)
    torch.testing.assert_close(targets.left_hand_pose, before.left_hand_pose - 0.5)
    torch.testing.assert_close(targets.right_hand_pose, before.right_hand_pose + 0.25)
    with pytest.raises(DataError, match="AIOS_SMPLX"):
        open_set(path, tmp_path, flat)


def test_paths_are_remapped(tmp_path, path):
    rewrite(path, lambda c: c.update(image_path=np.char.add("old/", c["image_path"])))
    with pytest.raises(DataError, match="old/images/000000.png cannot be read"):
        open_set(path, tmp_path)[0]
    assert open_set(path, tmp_path, remap=(("^old/", ""),))[0].picture.shape == (64, 96, 3)


def test_images_with_nan_joints_are_dropped(tmp_path, path):
    rewrite(path, lambda c: c["keypoints3d_cam"].__setitem__((2, 5, 0), np.nan))
    photos = open_set(path, tmp_path)
    assert [len(photos.targets(k)) for k in range(len(photos))] == [COUNTS[0], COUNTS[2]]


def test_people_with_empty_boxes_are_dropped(tmp_path, path):
    def change(content):
        content["bbox_xywh"][0, :4] = [-50, -50, 20, 20]
        content["bbox_xywh"][2, :4] = [10, 10, 0, 30]
        content["bbox_xywh"][4, 0] = np.nan

    photos = open_set(rewrite(path, change), tmp_path)
    assert [len(photos.targets(k)) for k in range(len(photos))] == [1, 2]


def test_targets_are_finite(tmp_path, path):
    def change(content):
        content["smplx"]["body_pose"][0] = np.nan
        content["keypoints2d_smplx"][0, 3] = np.nan
        content["lhand_bbox_xywh"][0, 0] = np.nan

    targets = open_set(rewrite(path, change), tmp_path).targets(0)
    for name in TENSOR_FIELDS:
        assert bool(torch.isfinite(getattr(targets, name)).all()), name
    assert targets.smplx_valid.tolist() == [False, True]
    assert targets.left_hand_box_valid.tolist() == [False, True]
    assert float(targets.joints_2d_visible[0, 3]) == 0


def test_ubody_filters_by_labels(tmp_path, body):
    path = write_set(tmp_path, body, "ubody", (3, 3, 1, 1))
    np.save(path.parent / "intra_scene_test_list.npy", np.array(["Show_S1"]))
    count = 8

    def change(content):
        names = content["image_path"].astype("U60")
        names[6] = "TV/Show_S1_Trim4/000002.png"
        content["image_path"] = names
        content["meta"]["iscrowd"] = [0, 1, 0] + [0] * 5
        content["meta"]["valid_label"] = [2, 2, 0] + [2] * 5
        content["meta"]["lefthand_valid"] = [0] + [1] * 7
        content["meta"]["righthand_valid"] = [1] * count
        content["meta"]["face_valid"] = [1] * count
        content["bbox_xywh"][4] = content["bbox_xywh"][3]
        content["keypoints2d_ubody"][..., 2] *= 0.5

    photos = open_set(rewrite(path, change), tmp_path, "ubody", interval=1)
    assert [len(photos.targets(k)) for k in range(len(photos))] == [1, 2, 1]
    targets = photos.targets(0)
    assert targets.left_hand_pose_valid.tolist() == [False]
    assert targets.right_hand_pose_valid.tolist() == [True]
    # Pseudo labels: joints of an invalid hand are used neither in 2D nor in 3D.
    assert not targets.left_hand_keypoints_visible[:, 1:].any()
    assert not targets.joints_3d_confidence[0, 25:40].any()
    assert set(targets.joints_3d_confidence[0, 40:55].tolist()) <= {0.0, 0.5}
    (path.parent / "intra_scene_test_list.npy").unlink()
    with pytest.raises(DataError, match="intra_scene_test_list"):
        open_set(path, tmp_path, "ubody")
    assert len(open_set(path, tmp_path, "ubody", split="test")) == 4


def test_coco_has_no_3d_joints(tmp_path, body):
    path = write_set(tmp_path, body, "coco")
    targets = open_set(path, tmp_path, "coco").targets(0)
    assert not targets.joints_3d_valid.any() and targets.smplx_valid.all()
    assert targets.joints_2d_visible.any()


def test_image_size_may_come_from_the_data_set(tmp_path, path):
    rewrite(path, lambda c: (c["meta"].pop("height"), c["meta"].pop("width")))
    with pytest.raises(DataError, match="width and height"):
        open_set(path, tmp_path)
    sized = replace(DATA_SETS["synthetic"], size_hw=(64, 96))
    assert open_set(path, tmp_path, sized)[0].picture.shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("bbox_xywh"), "lacks bbox_xywh"),
        (lambda c: c.pop("smplx"), "no smplx, smplh or smpl"),
        (lambda c: c.pop("keypoints2d_smplx"), "no 2D joints"),
        (lambda c: c.update(frame_range=np.array([[0, 99]])), "rows from 0 to 6"),
        (lambda c: c["meta"].update(smplx_valid=[1]), "smplx_valid has 1 rows for 6 people"),
        (lambda c: c["smplx"].update(betas=np.zeros((6, 9))), "betas has 9 values"),
        (lambda c: c.update(keypoints2d_smplx=np.zeros((6, 133, 3))), "133 joints instead of 144"),
        (lambda c: c.update(bbox_xywh=np.zeros((6, 4))), "5 numbers per person"),
        (
            lambda c: c.update(keypoints3d_cam=np.zeros((6, 144, 3))),
            "3 values per joint instead of 4",
        ),
    ],
)
def test_invalid_files_are_named(tmp_path, path, change, message):
    rewrite(path, change)
    with pytest.raises(DataError, match=message) as caught:
        open_set(path, tmp_path)
    assert str(path) in str(caught.value)


def test_missing_list_of_test_videos_is_named(tmp_path, body):
    path = write_set(tmp_path, body, "ubody")
    (path.parent / "intra_scene_test_list.npy").unlink()
    with pytest.raises(DataError, match="intra_scene_test_list.npy does not exist: it lists the"):
        open_set(path, tmp_path, "ubody", interval=1)


def test_children_and_occluded_people_have_fewer_targets(tmp_path, path):
    """AGORA: children have no shape target, people occluded by 97 % only box and class."""
    flags = {"occ": [0, 97.5, *[0] * 4], "is_kid": [1, *[0] * 5]}
    rewrite(path, lambda c: c["meta"].update(flags))
    agora = replace(DATA_SETS["agora"], images="synthetic", box_scale=1.0)
    targets = open_set(path, tmp_path, agora).targets(0)
    assert targets.betas_valid.tolist() == [False, True]
    assert targets.smplx_valid.tolist() == [True, False]
    assert targets.box_valid.tolist() == [True, True]
    assert not targets.joints_2d_visible[1].any() and targets.joints_2d_visible[0].any()
    assert not targets.joints_3d_confidence[1].any() and targets.joints_3d_confidence[0].any()
    assert not (targets.left_hand_box_valid | targets.face_box_valid)[1]
    scaled = replace(agora, box_scale=DATA_SETS["agora"].box_scale)
    smaller = open_set(path, tmp_path, scaled).targets(0)
    torch.testing.assert_close(smaller.boxes[:, 2:], targets.boxes[:, 2:] * 0.9996)
