"""The check command: broken files and the error reported for each."""

import shutil

import cv2
import numpy as np
import pytest

from aios.body.model import BodyModel
from tests.helpers.humandata_files import open_set, rewrite, write_set
from tests.training.data.test_released_cache import write_cache
from training.data.__main__ import main


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def written(tmp_path_factory, body):
    root = tmp_path_factory.mktemp("written")
    write_set(root, body)
    return root


@pytest.fixture
def path(tmp_path, written):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "synthetic" / "annotations.npz"


def check(path, root, capsys, *more: str) -> tuple[int, list[str]]:
    code = main(["check", str(path), "--images", str(root / "synthetic"), *more])
    lines = capsys.readouterr().out.splitlines()
    return code, [line.removeprefix("wrong: ") for line in lines if line.startswith("wrong: ")]


def test_valid_file_has_no_errors(tmp_path, path, capsys):
    assert main(["check", str(path), "--images", str(tmp_path / "synthetic")]) == 0
    output = capsys.readouterr().out
    assert "note: 3 images can be used for training" in output
    assert output.splitlines()[-1] == f"{path}: nothing wrong"


def absolute_hands(content):
    body = BodyModel.load()
    content["smplx"]["left_hand_pose"] += body.left_hand_mean.reshape(15, 3)
    content["smplx"]["right_hand_pose"] += body.right_hand_mean.reshape(15, 3)


BROKEN = {
    "no-boxes": (lambda c: c.pop("bbox_xywh"), "bbox_xywh is missing; is this a HumanData file"),
    "no-parameters": (lambda c: c.pop("smplx"), "smplx or smplh or smpl is missing"),
    "no-joints": (lambda c: c.pop("keypoints2d_smplx"), "there are no 2D joints"),
    "box-shape": (lambda c: c.update(bbox_xywh=c["bbox_xywh"][:, :4]), "bbox_xywh must have 5"),
    "joint-number": (
        lambda c: c.update(keypoints2d_smplx=c["keypoints2d_smplx"][:, :17]),
        "has 17 joints instead of 144 or 190",
    ),
    "mask": (
        lambda c: c.update(
            __keypoints_compressed__=np.array(True), keypoints3d_cam_mask=np.ones(9)
        ),
        "keypoints3d_cam stores 144 joints, but its mask has 9",
    ),
    "rows": (lambda c: c["meta"].update(smplx_valid=[1, 1]), "smplx_valid has 2 rows for 6 people"),
    "flag-text": (
        lambda c: c["meta"].update(smplx_valid=["yes"] * 6),
        "smplx_valid must have one number per person",
    ),
    "size-nan": (
        lambda c: c["meta"].update(width=[np.nan] * 6),
        "meta has images without width or height",
    ),
    "matrices": (
        lambda c: c["smplx"].update(body_pose=np.tile(np.eye(3, dtype=np.float32), (6, 21, 1, 1))),
        "body_pose has 189 values per person instead of 63; are they rotation matrices?",
    ),
    "range-reversed": (
        lambda c: c.update(frame_range=c["frame_range"][:, ::-1]),
        "frame_range has rows 2 to 0 of 6",
    ),
    "range-gap": (
        lambda c: c.update(frame_range=c["frame_range"][:2]),
        "row 3 is in 0 ranges of frame_range",
    ),
    "range-mixed": (
        lambda c: c.update(frame_range=np.array([[0, 3], [3, 6]])),
        "rows 0 to 2 are one frame but have different images",
    ),
    "no-range": (lambda c: c.pop("frame_range"), "frame_range is missing, but 3 rows"),
    "no-image": (
        lambda c: c.update(image_path=np.char.add("train/", c["image_path"])),
        "3 of 3 images are not in",
    ),
    "image-size": (
        lambda c: c["meta"].update(width=[64] * 6, height=[96] * 6),
        "000000.png is 96 x 64 pixels, annotated as 64 x 96",
    ),
    "box-outside": (
        lambda c: c["bbox_xywh"].__setitem__((4, slice(0, 2)), [500, 20]),
        "row 4 has a body box outside the image",
    ),
    "corners": (
        lambda c: c.update(bbox_xywh=np.tile([60.0, 40, 95, 63, 1], (6, 1))),
        "are they corners instead of x, y, w, h",
    ),
    "relative-joints": (
        lambda c: c["keypoints2d_smplx"].__setitem__(
            ..., c["keypoints2d_smplx"] / np.array([960, 640, 1], np.float32)
        ),
        "of the 2D joints are inside the box of their person",
    ),
    "nan-2d": (
        lambda c: c["keypoints2d_smplx"].__setitem__((1, 0), [np.nan, 1, 1]),
        "row 1 has 2D joints that are not finite",
    ),
    "nan-3d": (
        lambda c: c["keypoints3d_cam"].__setitem__((5, 3, 1), np.nan),
        "row 5 has 3D joints that are not finite: the whole image is left out",
    ),
    "nan-pose": (
        lambda c: c["smplx"]["body_pose"].__setitem__(slice(0, 2), np.nan),
        "2 rows, first row 0, have a body_pose that is not finite",
    ),
    "millimetres": (
        lambda c: c["keypoints3d_cam"].__setitem__(
            ..., c["keypoints3d_cam"] * np.array([1000, 1000, 1000, 1], np.float32)
        ),
        "are they in millimetres",
    ),
    "degrees": (
        lambda c: c["smplx"].update(global_orient=np.degrees(c["smplx"]["global_orient"])),
        "global_orient exceeds two full turns; is it in degrees",
    ),
    "few-betas": (lambda c: c["smplx"].update(betas=np.zeros((6, 8))), "betas has 8 values"),
    "absolute-hands": (
        absolute_hands,
        "left hand poses look absolute instead of relative to the mean",
    ),
    "flat-hands": (
        lambda c: c.update(misc={"flat_hand_mean": True}),
        "misc has flat_hand_mean: hand poses are relative",
    ),
    "genders": (lambda c: c["meta"].update(gender=["m"] * 6), "meta has the genders m"),
    "no-size": (lambda c: c["meta"].pop("width"), "meta lacks width and height"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_error_has_its_own_message(tmp_path, path, capsys, name):
    change, message = BROKEN[name]
    code, wrong = check(rewrite(path, change), tmp_path, capsys)
    assert code == 1
    assert any(message in line for line in wrong), wrong
    others = [text for other, (_, text) in BROKEN.items() if other != name]
    matching = [line for line in wrong if message in line]
    assert not any(text in line for text in others for line in matching)


def test_extra_betas_and_missing_parts_are_noted(tmp_path, path, capsys):
    def change(content):
        content["smplx"]["betas"] = np.zeros((6, 11))
        content["smplx"].pop("expression")
        content.pop("face_bbox_xywh")
        content["keypoints2d_smplx"][..., 2] *= 1.1

    code = main(["check", str(rewrite(path, change)), "--images", str(tmp_path / "synthetic")])
    output = capsys.readouterr().out
    assert code == 0
    assert "note: betas has 11 values per person: the first 10 are used" in output
    assert "note: expression is missing" in output
    assert "note: some confidences of 2D joints exceed 1 and are clipped to 1" in output
    assert "note: face_bbox_xywh is missing: the face is not trained" in output


def test_other_files_and_broken_images_are_reported(tmp_path, path, capsys):
    code, wrong = check(tmp_path / "gone.npz", tmp_path, capsys)
    assert code == 1 and "cannot be opened" in wrong[0]
    (tmp_path / "text.npz").write_text("no archive")
    code, wrong = check(tmp_path / "text.npz", tmp_path, capsys)
    assert code == 1 and "is not a complete .npz archive" in wrong[0]
    (tmp_path / "synthetic" / "images" / "000001.png").write_bytes(b"no image")
    code, wrong = check(path, tmp_path, capsys)
    assert code == 1 and "000001.png cannot be decoded" in wrong[0]


def test_released_cache_is_checked(tmp_path, body, capsys):
    photos = open_set(write_set(tmp_path, body, "bedlam"), tmp_path, "bedlam", interval=1)
    cache = tmp_path / "cache.npz"
    write_cache(cache, photos)
    code, wrong = check(cache, tmp_path, capsys, "--set", "bedlam")
    assert code == 1 and "--trust-pickle" in wrong[0]
    images = str(tmp_path / "bedlam" / "train_images")
    trusted = ["check", str(cache), "--images", images, "--set", "bedlam", "--trust-pickle"]
    assert main(trusted) == 0
    (tmp_path / "bedlam" / "train_images" / "images" / "000002.png").unlink()
    assert main(trusted) == 1
    assert "1 of 3 images are not in" in capsys.readouterr().out


def test_synthetic_scenes_are_written_as_data_sets(tmp_path, capsys):
    arguments = ["make-synthetic", "--out", str(tmp_path), "--count", "2", "--height", "96"]
    assert main([*arguments, "--width", "128", "--sets", "synthetic", "ubody"]) == 0
    photos = open_set(tmp_path / "synthetic" / "annotations.npz", tmp_path)
    assert len(photos) == 2 and photos[1].picture.shape == (96, 128, 3)
    ubody = tmp_path / "ubody" / "annotations" / "ubody_train_intra.npz"
    others = open_set(ubody, tmp_path, "ubody", interval=1)
    assert len(others) == 2
    assert not np.array_equal(others[0].picture, photos[0].picture)
    images = [cv2.imread(str(p)) for p in sorted((tmp_path / "synthetic/images").iterdir())]
    assert len(images) == 2 and all(image.std() > 5 for image in images)
    assert main(["check", str(ubody), "--images", str(tmp_path / "ubody"), "--set", "ubody"]) == 0
