"""Video jobs: overlay, audio, tracks, archive, progress, cancellation."""

import colorsys
import json
import re
import tracemalloc
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import jsonschema
import numpy as np
import pytest
import smplx
import torch

from aios import AiOSPredictor
from aios.body.parameters import SMPLX_NAMES
from aios.export.checks import ExportError
from aios.export.motion_files import write_track_files
from aios.geometry.camera import Camera
from aios.media.container import VideoError
from aios.media.photo import read_photo
from aios.media.video_reader import VideoReader
from aios.pipelines import video
from aios.pipelines.export_settings import DEFAULT_EXPORT
from aios.pipelines.progress import CancelledError
from aios.pipelines.stream_tracker import StreamTracker, TrackedPeople
from aios.pipelines.video import reconstruct_video
from aios.pipelines.video_drawing import draw_people
from aios.pipelines.video_tracks import VideoSettings
from aios.prediction import Candidates
from aios.render.overlay import person_colors
from aios.resources import STANDIN_BODY
from tests.helpers.clips import make_clip
from tests.helpers.motions import make_store
from tests.helpers.people_makers import make_person, together
from tests.helpers.served import tiny_predictor

SIZE = (320, 180)
CAMERA = Camera(900.0, (160.0, 90.0), *SIZE)
EXAMPLE = Path(__file__).resolve().parents[2] / "assets" / "examples" / "scene_two.jpg"
UPRIGHT = (np.pi, 0.0, 0.0)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def software(monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "software")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def standing(x, z, **fields):
    """An upright person with the pelvis at (x, 0, z) metres and matching box and keypoints."""
    scale = CAMERA.focal_length / z
    center = (160 + x * scale, 90.0)
    return make_person(
        center, 0.9 * scale, transl=(x, 0.35, z), global_orient=UPRIGHT, depth=z, **fields
    )


def script_detections(predictor, monkeypatch, scene):
    """Make the predictor detect `scene(frame number)` in every frame."""
    frames = iter(range(10**6))

    def find(frame):
        assert frame.shape == (SIZE[1], SIZE[0], 3)
        return Candidates(together(*scene(next(frames))), CAMERA)

    monkeypatch.setattr(predictor, "find_candidates", find)
    monkeypatch.setattr(
        type(predictor.weights), "threshold", property(lambda _: 0.5), raising=False
    )


def crossing(frame):
    """Two people change places; the farther one is hidden for 0.5 s, and there is one ghost."""
    near, far = standing(-0.6 + 0.04 * frame, 7.0), standing(0.6 - 0.04 * frame, 9.0)
    people = [near] if 13 <= frame <= 17 else [far, near]
    return [*people, standing(0.0, 30.0)] if frame == 3 else people


def run(predictor, source, folder, settings=None, report=lambda progress: None):
    settings = settings or VideoSettings(threshold=0.5)
    return reconstruct_video(predictor, source, folder, "clip", settings, report)


def gray(index, size):
    return np.full((size[1], size[0], 3), 90, np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(path, 30, SIZE, 10, sound="aac", pixels=gray)


@pytest.fixture(scope="module")
def result(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    predictor = tiny_predictor()
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_RENDERER", "software")
        script_detections(predictor, patch, crossing)
        found = run(predictor, clip, folder, report=reports.append)
    return found, folder, reports


def hue(color):
    return colorsys.rgb_to_hsv(*(np.asarray(color, float) / 255))[0]


def test_result_names_files_and_counts(result):
    found, folder, _ = result
    assert (found.frames, found.people, found.notes) == (30, 2, [])
    names = [path.name for path in found.files]
    assert names == [
        "clip_overlay.mp4",
        "clip.npz",
        "clip.json",
        "clip_track_1.bvh",
        "clip_track_1.glb",
        "clip_track_1_smplx.npz",
        "clip_track_2.bvh",
        "clip_track_2.glb",
        "clip_track_2_smplx.npz",
    ]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_overlay_has_audio_and_constant_colours_per_person(result):
    _, folder, _ = result
    with av.open(str(folder / "clip_overlay.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(3.0, abs=0.1)
    with VideoReader(folder / "clip_overlay.mp4") as reader:
        frames = list(reader)
    assert len(frames) == 30
    colors = person_colors(2)
    for index in (0, 5, 24, 29):
        # Track 2, in front, walks to the right; track 1, behind, to the left.
        far, near = crossing(index)[:2]
        for number, person in enumerate((far, near)):
            x, y = person.keypoints_2d_px[0].mean(0).round().astype(int)
            shown = np.median(frames[index].pixels[y - 3 : y + 4, x - 3 : x + 4], (0, 1))
            assert abs(hue(shown) - hue(colors[number])) < 0.06
    assert np.abs(frames[0].pixels[:8, :40].astype(int) - 90).max() < 8


def test_summary_matches_its_schema(result):
    _, folder, _ = result
    schema = resources.files("aios.export").joinpath("schemas/video.schema.json").read_text()
    document = json.loads((folder / "clip.json").read_text("utf-8"))
    jsonschema.validate(document, json.loads(schema))
    assert len(document["tracks"]) == 2


def test_npz_has_all_frames_and_people(result):
    _, folder, _ = result
    with np.load(folder / "clip.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    np.testing.assert_allclose(arrays["frame_times"], np.arange(30) / 10, atol=1e-6)
    assert arrays["track_numbers"].tolist() == [1, 2]
    np.testing.assert_array_equal(arrays["track_colors"], person_colors(2))
    assert arrays["frame"][arrays["track"] == 1].tolist() == [*range(13), *range(18, 30)]
    assert arrays["frame"][arrays["track"] == 2].tolist() == list(range(30))
    rows = len(arrays["track"])
    assert arrays["joints_3d"].shape == (rows, 144, 3)
    assert rows == 55
    for name in (*SMPLX_NAMES, "leye_pose", "scores", "keypoints_2d_px", "boxes_xyxy_px"):
        assert len(arrays[name]) == rows
    assert arrays["image_size"].tolist() == list(SIZE)
    assert float(arrays["focal_length"]) == 900.0
    assert (str(arrays["gender"]), bool(arrays["use_pca"])) == ("neutral", False)
    body = smplx.SMPLX(str(STANDIN_BODY), use_pca=False, flat_hand_mean=False, batch_size=rows)
    posed = body(**{name: torch.from_numpy(arrays[name]) for name in SMPLX_NAMES})
    pelvis = posed.joints[:, 0].detach().numpy()
    near = pelvis[arrays["track"] == 2]
    assert near[0, 0] < -0.5 < 0.4 < near[-1, 0]
    np.testing.assert_allclose(near[:, 2], 7.0, atol=0.1)


def test_summary_lists_tracks_with_times(result):
    _, folder, _ = result
    document = json.loads((folder / "clip.json").read_text("utf-8"))
    assert (document["frames"], document["rate"], document["notes"]) == (30, 10.0, [])
    first, second = document["tracks"]
    assert (first["frames"], first["first_second"], first["last_second"]) == (25, 0.0, 2.9)
    assert second["frames"] == 30
    assert (folder / second["glb"]).exists() and (folder / second["bvh"]).exists()


def test_progress_rises_from_0_to_1(result):
    _, _, reports = result
    shares = [progress.share for progress in reports]
    assert shares == sorted(shares)
    assert shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert [p.total for p in reports if p.stage == video.FIND][-1] == 30
    assert all(p.seconds_left is not None for p in reports if p.stage == video.DRAW and p.done)


@pytest.mark.parametrize("when", [(video.FIND, 4), (video.DRAW, 4), (video.WRITE, 1)])
def test_cancelled_job_leaves_no_file(predictor, clip, tmp_path, monkeypatch, when):
    script_detections(predictor, monkeypatch, crossing)
    reports = []

    def stop(progress):
        reports.append(progress)
        if (progress.stage, progress.done) == when:
            raise CancelledError

    with pytest.raises(CancelledError):
        run(predictor, clip, tmp_path / "out", report=stop)
    assert list((tmp_path / "out").iterdir()) == []
    assert reports[-1].done == when[1]  # no further step


def test_smoothing_gives_one_shape_and_less_jitter(predictor, clip, tmp_path, monkeypatch):
    random = np.random.default_rng(0)

    def jittering(frame):
        pose = random.normal(0, 0.1, 63)
        return [standing(0.0, 8.0, body_pose=pose, betas=random.normal(0, 0.5, 10))]

    moved = {}
    for smooth in (True, False):
        script_detections(predictor, monkeypatch, jittering)
        folder = tmp_path / str(smooth)
        run(predictor, clip, folder, VideoSettings(threshold=0.5, smooth=smooth, max_seconds=1.5))
        with np.load(folder / "clip.npz") as arrays:
            assert len(arrays["track"]) == 15
            assert (np.ptp(arrays["betas"], axis=0) == 0).all() == smooth
            moved[smooth] = np.abs(np.diff(arrays["body_pose"][5:], axis=0)).mean()
    assert moved[True] < 0.6 * moved[False]


def test_rate_and_duration_can_be_limited(predictor, clip, tmp_path, monkeypatch):
    script_detections(predictor, monkeypatch, crossing)
    settings = VideoSettings(threshold=0.5, max_rate=5, max_seconds=1.0)
    found = run(predictor, clip, tmp_path, settings)
    assert found.frames == 5
    with VideoReader(tmp_path / "clip_overlay.mp4") as reader:
        np.testing.assert_allclose([f.time for f in reader], np.arange(5) / 5, atol=1e-3)
    assert "Frame Time: 0.2000000000" in (tmp_path / "clip_track_1.bvh").read_text()


def test_results_of_a_part_count_from_its_start(predictor, clip, tmp_path, monkeypatch):
    script_detections(predictor, monkeypatch, lambda frame: [standing(0.05 * frame, 8.0)])
    settings = VideoSettings(threshold=0.5, start_seconds=1.0, max_seconds=0.8)
    found = run(predictor, clip, tmp_path, settings)
    assert (found.frames, found.summary["start_seconds"]) == (8, 1.0)
    assert found.summary["tracks"][0]["first_second"] == 0
    with np.load(tmp_path / "clip.npz") as arrays:
        np.testing.assert_allclose(arrays["frame_times"], np.arange(8) / 10, atol=1e-6)
    with av.open(str(tmp_path / "clip_overlay.mp4")) as container:
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(0.8, abs=0.15)
    with VideoReader(tmp_path / "clip_overlay.mp4") as reader:
        np.testing.assert_allclose([f.time for f in reader], np.arange(8) / 10, atol=2e-3)


def test_start_after_the_end_leaves_no_file(predictor, clip, tmp_path):
    with pytest.raises(VideoError, match="clip.mp4 ends before 5 s: start earlier."):
        run(predictor, clip, tmp_path / "out", VideoSettings(start_seconds=5.0))
    assert list((tmp_path / "out").iterdir()) == []


def test_truncated_video_is_noted(predictor, tmp_path, monkeypatch):
    def noisy(index, size):
        return np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)

    source = make_clip(tmp_path / "cut.mp4", 20, SIZE, pixels=noisy)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 6 // 10])
    script_detections(predictor, monkeypatch, lambda frame: [standing(0.0, 8.0)])
    found = run(predictor, source, tmp_path / "out")
    assert 5 < found.frames < 18
    assert "cut.mp4 can be read up to" in found.notes[0]
    assert json.loads((tmp_path / "out" / "clip.json").read_text())["notes"] == found.notes


def test_pauses_of_a_screen_recording_keep_people_and_frames(predictor, tmp_path, monkeypatch):
    """Four frames, a pause, four frames: one track, at the densest rate in the BVH."""
    seconds = [0, 0.1, 0.2, 0.3, 2.3, 2.4, 2.5, 2.6]
    source = make_clip(tmp_path / "screen.mp4", 8, SIZE, times=seconds, pixels=gray)
    script_detections(predictor, monkeypatch, lambda frame: [standing(0.0, 8.0)])
    found = run(predictor, source, tmp_path / "out")
    assert (found.frames, found.people) == (8, 1)
    assert found.notes == [
        "screen.mp4 has a variable frame rate: its BVH and SMPL-X files have 10 frames per second,"
        " the densest of the video."
    ]
    text = (tmp_path / "out" / "clip_track_1.bvh").read_text()
    assert re.findall(r"^(Frames?.*): +([\d.]+)", text, re.M) == [
        ("Frames", "27"),
        ("Frame Time", "0.1000000000"),
    ]
    with VideoReader(found.overlay) as reader:
        np.testing.assert_allclose([frame.time for frame in reader], seconds, atol=2e-3)


def test_video_without_people(predictor, clip, tmp_path, monkeypatch):
    script_detections(predictor, monkeypatch, lambda frame: [])
    found = run(predictor, clip, tmp_path, VideoSettings(threshold=0.5, max_seconds=0.5))
    assert [path.name for path in found.files] == ["clip_overlay.mp4", "clip.npz", "clip.json"]
    with np.load(tmp_path / "clip.npz") as arrays:
        assert arrays["body_pose"].shape == (0, 63)
        assert arrays["track_betas"].shape == (0, 10)


def test_values_that_are_not_finite_are_refused(predictor, clip, tmp_path, monkeypatch):
    broken = standing(0.0, 8.0, expression=np.full(10, np.nan))
    script_detections(predictor, monkeypatch, lambda frame: [broken])
    with pytest.raises(ExportError, match="expression"):
        run(predictor, clip, tmp_path, VideoSettings(threshold=0.5, max_seconds=0.5))
    assert list(tmp_path.iterdir()) == []


def test_unreadable_video_leaves_no_file(predictor, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(VideoError):
        run(predictor, tmp_path / "a.mp4", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def peaks_of(work, *counts):
    """Peak bytes in use during work(count), after a first run that fills caches."""
    work(counts[0])
    peaks = []
    for count in counts:
        tracemalloc.start()
        work(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return peaks


def test_memory_does_not_grow_with_length(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("aios.export.motion._ROWS_AT_ONCE", 16)
    monkeypatch.setattr(video, "draw_people", lambda frame, *_: frame)
    monkeypatch.setattr(video, "write_track_files", lambda *_: ())
    empty = SimpleNamespace(vertices=np.zeros((0, 1, 3)))
    monkeypatch.setattr(predictor, "assemble", lambda *_: empty)
    people = together(*(standing(x, 8.0) for x in (-2.0, 0.0, 2.0)))
    candidates = Candidates(people, Camera(50.0, (16.0, 12.0), 32, 24))
    monkeypatch.setattr(predictor, "find_candidates", lambda frame: candidates)
    for count in (30, 200):
        make_clip(tmp_path / f"{count}.gif", count, (32, 24), 25, pixels=gray)
    few, many = peaks_of(
        lambda count: run(predictor, tmp_path / f"{count}.gif", tmp_path / "out"), 30, 200
    )
    # 170 more frames of 3 people are 650 kB of records.
    assert many - few < 200_000


def test_memory_of_motion_files_does_not_grow_with_length(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("aios.export.motion._ROWS_AT_ONCE", 16)
    stores = {
        count: make_store(tmp_path / f"motion{count}", count, 25.0, seen=lambda who, _: who == 1)
        for count in (50, 450)
    }
    few, many = peaks_of(
        lambda count: write_track_files(
            tmp_path, "a", stores[count], 1, 25.0, DEFAULT_EXPORT.settings(predictor), "test"
        ),
        50,
        450,
    )
    # 400 more turns of 55 joints are 700 kB.
    assert many - few < 200_000


def test_people_are_drawn_at_a_given_size(predictor):
    """The label of a person cut off by the edge stays visible."""
    people = together(standing(0.0, 3.0))
    tracker = StreamTracker(predictor)
    prediction = tracker.pose(TrackedPeople(people, np.array([4]), CAMERA))
    frame = gray(0, SIZE)
    assert draw_people(frame, prediction, np.array([4])).shape == (180, 320, 3)
    small = draw_people(frame, prediction, np.array([4]), (160, 90))
    assert small.shape == (90, 160, 3)
    # The ring around the number, in the track's colour, at the upper edge.
    assert (np.abs(small[:12].astype(int) - person_colors(np.array([3]))[0]).max(2) < 30).any()


def test_builtin_weights_track_people(tmp_path):
    photo = cv2.resize(read_photo(EXAMPLE), (480, 360), interpolation=cv2.INTER_AREA)

    def moving(index, size):
        return np.roll(photo, 3 * index, axis=1)

    source = make_clip(tmp_path / "a.mp4", 6, (480, 360), 10, pixels=moving)
    predictor = AiOSPredictor.from_pretrained("builtin", STANDIN_BODY, "cpu")
    found = run(predictor, source, tmp_path / "out", VideoSettings())
    assert found.frames == 6
    with np.load(tmp_path / "out" / "clip.npz") as arrays:
        seen = np.bincount(arrays["track"])
        assert seen.max() == 6
        longest = arrays["track"] == seen.argmax()
        boxes = arrays["boxes_xyxy_px"][longest]
    assert 5 < boxes[-1, 0] - boxes[0, 0] < 30  # the box moves with the image
