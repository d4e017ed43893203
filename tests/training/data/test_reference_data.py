"""Reading and augmentation against recordings of the released loaders.

Where a recorded value contains an error of that code, the test derives the expected value from the
recorded inputs instead.  The tests assume neither sizes nor values of the recording.
"""

import re

import cv2
import numpy as np
import pytest

from aios.network.config import ImageConfig
from aios.network.preprocessing import place_photo
from tests.helpers.reference import Recording, reference_folder
from training.data.annotation import clip_boxes
from training.data.augment import PHOTO_FRAMING, Window, warp_window
from training.data.batch import Sample
from training.data.humandata import BOX_KEYS, ReadOptions
from training.data.instance_crop import PHOTO_AUGMENT, CropPlan, apply_crop, crop_around
from training.data.photos import PhotoSet
from training.data.released_cache import CACHE_JOINTS
from training.data.sets import DATA_SETS
from training.joints import (
    BODY_JOINTS,
    BODY_POSE_MIRROR,
    FACE_JOINTS,
    JOINTS_MIRROR,
    LEFT_HAND_JOINTS,
    RIGHT_HAND_JOINTS,
)
from training.targets import BODY_KEYPOINTS, LEFT_HAND_KEYPOINTS, Targets

ALL_137 = (*BODY_JOINTS, *LEFT_HAND_JOINTS, *RIGHT_HAND_JOINTS, *FACE_JOINTS)
EYE_ROWS = (67, 68)
PART_ROWS = {"left_hand": (25, 45), "right_hand": (45, 65), "face": (65, 137)}
SHORT = {"left_hand": "lhand", "right_hand": "rhand", "face": "face", "body": "body"}
OTHER = {"left_hand": "right_hand", "right_hand": "left_hand", "face": "face"}
SETS = {"BEDLAM": "bedlam", "COCO_NA": "coco"}
POSE_ROWS = {
    "global_orient": (0, 1),
    "body_pose": (1, 22),
    "left_hand_pose": (22, 37),
    "right_hand_pose": (37, 52),
    "jaw_pose": (52, 53),
}
CLOSE = {"atol": 2e-6, "rtol": 2e-6}


def file_of(kind: str) -> Recording:
    return Recording(reference_folder(kind) / f"{kind}_fixture.npz")


def numbers_in(pattern: str) -> list[int]:
    """All numbers matched by the group of `pattern` in the recorded names."""
    found = (re.match(pattern, name) for name in file_of("data").names())
    return sorted({int(match[1]) for match in found if match})


IMAGES = numbers_in(r"hd/BEDLAM/datalist(\d+)/")
FLIPS = numbers_in(r"hd/BEDLAM/flip(\d)/")


@pytest.fixture(scope="module")
def recording():
    return file_of("data")


@pytest.fixture(scope="module")
def humandata(recording, tmp_path_factory):
    """The recorded input as a HumanData file with grey photos."""
    folder = tmp_path_factory.mktemp("humandata")
    plain, nested = {}, {"smplx": {}, "meta": {}}
    for name in recording.names("hd/in/"):
        head, _, key = name.removeprefix("hd/in/").rpartition("/")
        if head:
            values = recording[name]
            nested[head][key] = values.tolist() if head == "meta" else values
        else:
            plain[key] = recording[name]
    np.savez(folder / "annotations.npz", **plain, **nested)
    sizes = zip(nested["meta"]["height"], nested["meta"]["width"], strict=True)
    for image, (height, width) in zip(plain["image_path"].tolist(), sizes, strict=True):
        cv2.imwrite(str(folder / image), np.full((height, width, 3), 99, np.uint8))
    return folder


def open_recorded(humandata, name: str) -> PhotoSet:
    options = ReadOptions(interval=1)
    return PhotoSet.open(humandata / "annotations.npz", humandata, DATA_SETS[SETS[name]], options)


class RecordedImage:
    """One image of the recorded file: its size, and the people kept by both loaders.

    People with a box outside the left or upper edge are dropped; the released loader moves the box
    inside and keeps them.
    """

    def __init__(self, recording: Recording, index: int) -> None:
        self.recording = recording
        start, end = recording["hd/in/frame_range"][index]
        rows = np.arange(start, end)
        height, width = (int(recording[f"hd/in/meta/{n}"][start]) for n in ("height", "width"))
        self.size_wh = np.array([width, height])
        boxes = recording["hd/in/bbox_xywh"][rows].astype(np.float64)
        low, extent = boxes[:, :2], boxes[:, 2:4]
        moved = np.minimum(low.clip(0) + (extent - 1).clip(0), self.size_wh - 1)
        theirs = (extent > 0).all(1) & (moved > low.clip(0)).all(1)
        cut = np.minimum(low + extent, self.size_wh) - low.clip(0)
        ours = (extent > 0).all(1) & (cut > 1).all(1)
        self.rows = rows[ours & theirs]
        self.kept = (np.cumsum(theirs) - 1)[ours & theirs]
        assert len(self.rows) == ours.sum()

    def given(self, name: str) -> np.ndarray:
        """Values of the file for the people that are kept."""
        return self.recording[f"hd/in/{name}"][self.rows]


class Item(RecordedImage):
    """One recorded item and ours, with the people of ours."""

    def __init__(self, recording: Recording, humandata, name: str, flip: int, index: int) -> None:
        super().__init__(recording, index)
        self.prefix = f"hd/{name}/flip{flip}/item{index}/"
        sample = open_recorded(humandata, name)[index]
        height, width = recording[f"{self.prefix}img_shape"].tolist()
        whole = Window(0.0, 0.0, *self.size_wh.astype(float).tolist())
        self.shown = apply_crop(sample, CropPlan(whole, bool(flip), (width, height)), PHOTO_AUGMENT)
        self.ours: Targets = self.shown.targets
        self.flip, self.pseudo = flip, name == "COCO_NA"

    def recorded(self, name: str) -> np.ndarray:
        return self.recording[self.prefix + name][self.kept]

    def corners(self, part: str) -> np.ndarray:
        """(n, 4) recorded, normalised; boxes beyond the left or upper edge are clipped."""
        corners = self.recorded(f"{SHORT[part]}_bbox").copy()
        source = OTHER.get(part, part) if self.flip else part
        boxes = self.given(BOX_KEYS[source]).astype(np.float64)
        over = (boxes[:, :2] < 0).any(1)
        low, high = boxes[over, :2].clip(0), boxes[over, :2] + boxes[over, 2:4]
        low, high = low / self.size_wh, np.minimum(high, self.size_wh) / self.size_wh
        if self.flip:
            low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0]
        corners[over] = np.concatenate([low, high], 1)
        return corners

    def part_valid(self, part: str) -> np.ndarray:
        """Validity of a part in the input, before the flip."""
        boxed = self.given(f"{SHORT[part]}_bbox_xywh")[:, 4] > 0
        return boxed & (self.given("meta/smplx_valid") > 0)

    def gate(self) -> np.ndarray:
        """(n, 137) bool, joints of valid parts before the flip; all True without pseudo labels."""
        gate = np.ones((len(self.ours), 137), bool)
        if self.pseudo:
            gate[:] = self.given("meta/smplx_valid")[:, None] > 0
            for part, (start, end) in PART_ROWS.items():
                gate[:, start:end] = self.part_valid(part)[:, None]
        return gate

    def mirrored_rows(self, values: np.ndarray) -> np.ndarray:
        """(n, 137, ...) of the input, with left and right exchanged if this item is flipped."""
        pairs = self.recording["conv/flip_pairs_137"]
        order = np.arange(137)
        order[pairs[:, 0]], order[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        return values[:, order] if self.flip else values


@pytest.fixture(
    scope="module",
    params=[(name, flip, index) for name in SETS for flip in FLIPS for index in IMAGES],
    ids=lambda p: f"{p[0]}-flip{p[1]}-item{p[2]}",
)
def item(request, recording, humandata):
    return Item(recording, humandata, *request.param)


# -- tables ------------------------------------------------------------------------------------


def test_joint_tables(recording):
    assert tuple(recording["conv/joint_idx_137_from_144"]) == ALL_137
    assert tuple(recording["conv/humandata_mapping_137"]) == CACHE_JOINTS
    # The released loader exchanges the two eye points of the face; its names and ours do not.
    assert [k for k in range(137) if ALL_137[k] != CACHE_JOINTS[k]] == list(EYE_ROWS)
    for a, b in recording["conv/flip_pairs_137"]:
        assert JOINTS_MIRROR[ALL_137[a]] == ALL_137[b]
    swapped = [[a, b] for a, b in recording["conv/pose_flip_pairs_53"].tolist() if b < 22]
    ours = [[a + 1, b + 1] for a, b in enumerate(BODY_POSE_MIRROR) if a < b]
    assert swapped == ours


def test_sizes(recording):
    for width, height, short, out_width, out_height in recording["resize/w_h_size_ow_oh_max1333"]:
        config = ImageConfig(short_side=int(short), long_side=1333)
        placement = place_photo(int(width), int(height), config)
        assert placement.input_wh == (out_width, out_height)


def test_crop_around_boxes(recording):
    (name,) = recording.names("crop/adjusted_")
    width, height = (int(side) for side in name.rpartition("_")[2].split("x"))
    for (x, y, w, h), wanted in zip(recording["crop/in_xywh"], recording[name], strict=True):
        window = crop_around(np.array([[x, y, x + w, y + h]]), (width, height))
        assert [window.x, window.y, window.width, window.height] == wanted.tolist()


@pytest.mark.parametrize("name", file_of("data").names("bbox/process_ratio"))
def test_boxes_are_scaled_and_clipped(recording, name):
    """Recorded boxes beyond the left or upper edge are shifted inside; ours are clipped."""
    boxes, size = recording["bbox/in_xywh"], recording["bbox/img_wh"]
    wanted, ratio = recording[name], float(name.partition("ratio")[2])
    corners, possible = clip_boxes(boxes, tuple(size.tolist()), ratio)
    centre, extent = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] * ratio
    over = (centre - extent / 2 < 0).any(1)
    kept = np.isfinite(wanted).all(1)
    assert kept.any()
    assert (possible[~over] == kept[~over]).all()
    ours = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    np.testing.assert_allclose(ours[kept & ~over], wanted[kept & ~over], atol=2e-4)
    high = np.minimum(centre + extent / 2, size)
    np.testing.assert_allclose(corners[over & possible, 2:], high[over & possible], atol=2e-4)
    assert (
        corners[over & possible, :2][centre[over & possible] < extent[over & possible] / 2] == 0
    ).all()


@pytest.mark.parametrize("flip", [0, 1])
def test_warp(recording, flip):
    image = recording["warp/img"].astype(np.uint8)
    x, y, width, height = recording["warp/crop_xywh"].tolist()
    out_height, out_width = recording["warp/out_hw"].tolist()
    shown = warp_window(
        Sample(image, Targets.empty()),
        Window(x, y, width, height),
        (out_width, out_height),
        (0.0, 0.0, 0.0),
        PHOTO_FRAMING,
        mirrored=bool(flip),
    )
    # Our output is rounded to integers; the rest is rounding of the interpolation.
    recording.assert_close(f"warp/flip{flip}/out", shown.picture, 0.51)


# -- files -------------------------------------------------------------------------------------


def test_rows_of_the_file(recording, humandata):
    photos = open_recorded(humandata, "BEDLAM")
    assert len(photos) == len(IMAGES)
    for index in IMAGES:
        prefix = f"hd/BEDLAM/datalist{index}/"
        annotation, image = photos.annotations[index], RecordedImage(recording, index)
        assert annotation.size_wh == tuple(recording[f"{prefix}img_shape"][::-1].tolist())
        count = len(annotation.smplx_valid)
        assert count == len(image.rows)
        order = list(CACHE_JOINTS)
        for ours, name in (("joints_2d", "joint_img"), ("joints_3d", "joint_cam")):
            wanted = recording[prefix + name][image.kept]
            np.testing.assert_allclose(getattr(annotation, ours)[:, order], wanted, **CLOSE)
        for ours, name in (
            *(("global_orient", "root_pose"), ("body_pose", "body_pose")),
            *(("left_hand_pose", "lhand_pose"), ("right_hand_pose", "rhand_pose")),
            *(("jaw_pose", "jaw_pose"), ("betas", "shape"), ("expression", "expr")),
            ("transl", "trans"),
        ):
            wanted = recording[f"{prefix}smplx_param/{name}"][image.kept].reshape(count, -1)
            assert np.array_equal(annotation.parameters[ours], wanted)
        for part in PART_ROWS:
            wanted = recording[f"{prefix}smplx_param/{SHORT[part]}_valid"][image.kept]
            assert annotation.part_valid[part].tolist() == wanted.tolist()
        wanted = recording[f"{prefix}smplx_param/smplx_valid"][image.kept]
        assert annotation.smplx_valid.tolist() == wanted.tolist()


# -- items -------------------------------------------------------------------------------------


def test_size_and_people(item):
    height, width = item.recording[item.prefix + "img_shape"]
    assert item.shown.picture.shape == (height, width, 3)
    assert item.ours.gender.tolist() == item.recorded("gender").tolist()
    assert len(item.ours) == len(item.rows)


def test_boxes(item):
    corners = item.corners("body")
    centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    np.testing.assert_allclose(item.ours.boxes, np.concatenate([centre, size], 1), **CLOSE)
    assert item.ours.box_valid.all()
    for part in PART_ROWS:
        corners = item.corners(part)
        centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        wanted = np.concatenate([centre, size], 1)
        valid = item.recorded(f"{SHORT[part]}_bbox_valid") > 0
        ours = getattr(item.ours, f"{part}_boxes").numpy()
        assert getattr(item.ours, f"{part}_box_valid").tolist() == valid.tolist()
        np.testing.assert_allclose(ours[valid], wanted[valid], **CLOSE)


def test_points(item):
    wanted = item.recorded("joint_img")[..., :2] / [12, 16]
    ours = item.ours.joints_2d.numpy()
    # Both sides in the eye order of the file, which exchanges the eyes.
    rows = list(CACHE_JOINTS)
    np.testing.assert_allclose(ours[:, rows], wanted, **CLOSE)
    assert np.array_equal(item.ours.keypoints_2d, ours[:, list(BODY_KEYPOINTS)])
    assert np.array_equal(item.ours.left_hand_keypoints_2d, ours[:, list(LEFT_HAND_KEYPOINTS)])


def test_visibility(item):
    """The recorded mask of a flipped photo has two errors.

    The tests for points beyond the left or upper edge and for valid parts use the joint of the
    other side.  The first assertions reproduce the recording with both errors; ours is computed
    without: confidence, inside the photo, part valid, then left and right exchanged.
    """
    points = item.given("keypoints2d_ori")[:, list(CACHE_JOINTS)]
    inside = ((points[..., :2] >= 0) & (points[..., :2] <= item.size_wh)).all(-1)
    seen = points[..., 2] * inside
    erroneous = item.mirrored_rows(seen) * (points[..., :2] >= 0).all(-1)
    np.testing.assert_array_equal(erroneous, item.recorded("joint_trunc")[..., 0])
    np.testing.assert_array_equal(erroneous * item.gate(), item.recorded("joint_img")[..., 2])
    wanted = item.mirrored_rows(seen * item.gate())
    ours = item.ours.joints_2d_visible[:, list(CACHE_JOINTS)].numpy()
    # The eyes occur in two parts; rows 22 and 23 of the body are used.
    rows = [row for row in range(137) if row not in EYE_ROWS]
    np.testing.assert_array_equal(ours[:, rows], wanted[:, rows])
    body = ours[:, : len(BODY_JOINTS)]
    order = [BODY_JOINTS.index(k) for k in BODY_KEYPOINTS]
    np.testing.assert_array_equal(item.ours.keypoints_visible, body[:, order])


def test_joints_3d(item):
    """Recorded relative to the pelvis; its mask of pseudo labels is not exchanged by the flip."""
    wanted = item.recorded("joint_cam")
    joints = item.ours.joints_3d.numpy()[:, list(CACHE_JOINTS)]
    np.testing.assert_allclose(joints - joints[:, :1], wanted[..., :3], **CLOSE)
    hands = item.recorded("smplx_joint_cam")
    for start, end, root in ((25, 45, 12), (45, 65, 13), (65, 137, 7)):
        relative = joints[:, start:end] - joints[:, root : root + 1]
        np.testing.assert_allclose(relative, hands[:, start:end, :3], **CLOSE)
    confidence = item.given("keypoints3d_cam")[:, list(CACHE_JOINTS), 3]
    np.testing.assert_array_equal(item.mirrored_rows(confidence) * item.gate(), wanted[..., 3])
    rows = [row for row in range(137) if row not in EYE_ROWS]
    ours = item.ours.joints_3d_confidence[:, list(CACHE_JOINTS)].numpy()
    np.testing.assert_array_equal(
        ours[:, rows], item.mirrored_rows(confidence * item.gate())[:, rows]
    )
    is_3d = bool(item.recording[item.prefix + "is_3D"])
    assert item.ours.joints_3d_valid.tolist() == [is_3d] * len(item.ours)


def test_pose_and_shape(item):
    poses = item.recorded("smplx_pose").reshape(-1, 53, 3)
    valid = item.recorded("smplx_pose_valid")
    ours = item.ours
    part_valid = {
        "global_orient": ours.smplx_valid,
        "body_pose": ours.smplx_valid,
        "left_hand_pose": ours.smplx_valid & ours.left_hand_pose_valid,
        "right_hand_pose": ours.smplx_valid & ours.right_hand_pose_valid,
        "jaw_pose": ours.smplx_valid & ours.jaw_pose_valid,
    }
    for name, (start, end) in POSE_ROWS.items():
        pose = getattr(ours, name).unflatten(-1, (-1, 3)).numpy()
        wanted_valid = valid[:, start:end]
        assert (wanted_valid == part_valid[name].numpy()[:, None]).all()
        mask = wanted_valid[..., None]
        np.testing.assert_allclose(pose * mask, poses[:, start:end] * mask, **CLOSE)
        assert (pose[ours.smplx_valid.numpy() == 0] == 0).all()
    for name, recorded in (("betas", "shape"), ("expression", "expr")):
        known = (ours.smplx_valid & getattr(ours, f"{name}_valid")).numpy()
        assert known.tolist() == item.recorded(f"smplx_{recorded}_valid").astype(bool).tolist()
        wanted = item.recorded(f"smplx_{recorded}")
        np.testing.assert_allclose(
            getattr(ours, name).numpy() * known[:, None], wanted * known[:, None], **CLOSE
        )
