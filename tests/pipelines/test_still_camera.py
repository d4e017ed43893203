"""Videos of a still camera: people on one floor in all files, other videos left alone."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aios.body.kinematics import CAMERA_TO_WORLD
from aios.export.motion import MotionStore
from aios.export.placement import CAMERA_SPACE, STILL_CAMERA_SPACE
from aios.geometry.camera import Camera
from aios.pipelines.export_settings import ExportChoice
from aios.pipelines.progress import ProgressReporter
from aios.pipelines.video import reconstruct_video
from aios.pipelines.video_tracks import FIND, VideoSettings, find_tracks
from aios.prediction import Candidates
from tests.helpers.clips import make_clip
from tests.helpers.glb_reader import GlbReader
from tests.helpers.people_makers import make_person, together
from tests.helpers.served import tiny_predictor
from tests.helpers.walks import Errors, Scene, disturbed, joints, walk

SIZE = (320, 240)
CAMERA = Camera(700.0, (160.0, 120.0), *SIZE)
SCENE = Scene(1.5, 5.0)
ERRORS = Errors(pose=0.0, picture=0.0, distance=0.04, bias=0.05, jitter=0.0)
COUNT, RATE = 30, 15

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def software(monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "software")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def motions(predictor):
    """Two people who sway on the spot."""
    return [
        walk(predictor.body, SCENE, start, 0.0, 0.0, COUNT, RATE) for start in ((-0.6, 6), (0.6, 8))
    ]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos with a still and with a moving background."""
    folder = tmp_path_factory.mktemp("clips")
    texture = np.random.default_rng(0).integers(0, 256, (40, 80, 3)).astype(np.uint8)
    wall = cv2.resize(texture, (640, 320), interpolation=cv2.INTER_CUBIC)

    def panned(speed):
        return lambda index, size: np.ascontiguousarray(
            wall[: size[1], speed * index : speed * index + size[0]]
        )

    return {
        name: make_clip(folder / f"{name}.mp4", COUNT, SIZE, RATE, pixels=panned(speed))
        for name, speed in (("still", 0), ("moving", 5))
    }


def show_people(predictor, monkeypatch, motions, seed=0):
    """Make the predictor detect the disturbed motions."""
    random = np.random.default_rng(seed)
    seen = [disturbed(predictor.body, motion, random, ERRORS) for motion in motions]
    frames = iter(range(10**6))

    def find(frame):
        index = next(frames)
        people = [
            make_person(
                CAMERA.project(joints(predictor.body, now)[0, 0]),
                40.0,
                **{name: values[0] for name, values in now.items()},
            )
            for now in (
                {name: values[index : index + 1] for name, values in one.parameters.items()}
                for one in seen
            )
        ]
        return Candidates(together(*people), CAMERA, placed=True)

    monkeypatch.setattr(predictor, "find_candidates", find)
    monkeypatch.setattr(
        type(predictor.weights), "threshold", property(lambda _: 0.5), raising=False
    )


def tracks(predictor, clip, folder, **settings):
    """Heel positions (T, 2, 3) of each track, and what was found."""
    store = MotionStore(folder / "motion")
    reporter = ProgressReporter(lambda progress: None, {FIND: 1.0})
    settings = VideoSettings(threshold=0.5, **settings)
    found = find_tracks(predictor, clip, settings, store, reporter)
    heels = []
    for number in store.tracks:
        rows = np.concatenate(list(store.track_chunks(number)))
        names = ("global_orient", "body_pose", "transl", "betas")
        points = joints(predictor.body, {name: rows[name] for name in names})
        heels.append(points[:, [62, 65]])
    return heels, found, store


def slide(heels):
    return RATE * np.linalg.norm(np.diff(heels, axis=0), axis=-1).mean()


def test_feet_stand_with_a_still_camera(predictor, motions, clips, tmp_path, monkeypatch):
    show_people(predictor, monkeypatch, motions)
    before, found, store = tracks(predictor, clips["still"], tmp_path, still_camera="off")
    assert (found.is_still, found.floor, store.space) == (True, None, CAMERA_SPACE)
    show_people(predictor, monkeypatch, motions)
    after, found, store = tracks(predictor, clips["still"], tmp_path)
    assert found.is_still is True and store.space == STILL_CAMERA_SPACE
    assert len(before) == len(after) == 2
    for loose, fixed in zip(before, after, strict=True):
        assert slide(loose) > 0.1 and slide(fixed) < 0.02
    heights = [found.floor.heights(heels).mean() for heels in after]
    assert abs(heights[0] - heights[1]) < 0.03


@pytest.mark.parametrize(
    ("clip", "settings", "grounded"),
    [
        ("moving", {}, False),
        ("moving", {"still_camera": "on"}, True),
        ("still", {"smooth": False}, False),
        ("still", {"smooth": False, "still_camera": "on"}, True),
    ],
)
def test_choice_and_background_decide(
    predictor, motions, clips, tmp_path, monkeypatch, clip, settings, grounded
):
    show_people(predictor, monkeypatch, motions)
    _, found, store = tracks(predictor, clips[clip], tmp_path, **settings)
    assert found.is_still == (clip == "still")
    assert (found.floor is not None) == grounded
    assert store.space == (STILL_CAMERA_SPACE if grounded else CAMERA_SPACE)


def test_nobody_is_no_problem(predictor, clips, tmp_path, monkeypatch):
    show_people(predictor, monkeypatch, [])
    heels, found, store = tracks(predictor, clips["still"], tmp_path, still_camera="on")
    assert (heels, found.floor, store.space) == ([], None, CAMERA_SPACE)


def test_on_the_ground_feet_are_at_height_zero(predictor, motions, clips, tmp_path, monkeypatch):
    show_people(predictor, monkeypatch, motions)
    settings = VideoSettings(threshold=0.5, export=ExportChoice(ground=True))
    reconstruct_video(predictor, clips["still"], tmp_path, "clip", settings, lambda progress: None)
    document = json.loads((tmp_path / "clip.json").read_text("utf-8"))
    floor = document["floor"]
    rotation = Rotation.from_quat(document["camera_rotation_xyzw"])
    vertical = rotation.apply(np.array(floor["normal"]) * CAMERA_TO_WORLD)
    np.testing.assert_allclose(vertical, [0, 1, 0], atol=1e-9)
    assert document["camera_position_m"][1] == pytest.approx(floor["distance_m"])
    for number in (1, 2):
        glb = GlbReader((tmp_path / f"clip_track_{number}.glb").read_bytes())
        ankles = [glb.node("left_ankle"), glb.node("right_ankle")]
        heights = [glb.world(key)[ankles, 1, 3] for key in (0, COUNT - 1)]
        np.testing.assert_allclose(heights, 0.08, atol=0.06)


def test_files_say_what_positions_are_relative_to(predictor, motions, clips, tmp_path, monkeypatch):
    show_people(predictor, monkeypatch, motions)
    settings = VideoSettings(threshold=0.5)
    result = reconstruct_video(
        predictor, clips["still"], tmp_path, "clip", settings, lambda progress: None
    )
    document = json.loads((tmp_path / "clip.json").read_text("utf-8"))
    assert document["space"] == STILL_CAMERA_SPACE and document["still_camera"] is True
    assert np.linalg.norm(document["floor"]["normal"]) == pytest.approx(1)
    assert document["floor"]["distance_m"] == pytest.approx(SCENE.height, rel=0.15)
    with np.load(result.npz) as arrays, np.load(tmp_path / "clip_track_1_smplx.npz") as one:
        assert str(arrays["space"]) == str(one["space"]) == STILL_CAMERA_SPACE
        standing = arrays["joints_3d"][arrays["track"] == 1][:, [62, 65]]
        assert slide(standing) < 0.02
    glb = GlbReader((tmp_path / "clip_track_1.glb").read_bytes()).document
    assert glb["asset"]["extras"] == {"space": STILL_CAMERA_SPACE}
