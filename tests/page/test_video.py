"""Endpoint `/video` and texts of the tabs Video and Batch, without a browser."""

from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from aios.export.placement import AT_CAMERA, CAMERA_SPACE, SceneBounds
from aios.media.video_reader import VideoReader
from aios.page import batch_tab, video_handlers
from aios.page.video_preview import preview_html
from aios.pipelines.folder import FolderResult
from aios.pipelines.video import VideoResult
from tests.helpers.clips import frame_pixels, make_clip
from tests.helpers.predictions import CAMERA
from tests.helpers.served import served, tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_RENDERER", "software")
        with served(tiny_predictor(), tmp_path_factory.mktemp("uploads")) as address:
            results = tmp_path_factory.mktemp("downloads")
            client = Client(address, verbose=False, download_files=str(results))
            yield client
            client.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(path, 8, (96, 64), pixels=lambda index, size: frame_pixels(0, size))


def ask(client, clip, threshold=0.0, most=3, seconds=20, rate=5, smooth=True, **more):
    return client.predict(
        clip if clip is None else handle_file(str(clip)),
        threshold,
        most,
        seconds,
        rate,
        smooth,
        **more,
        api_name="/video",
    )


def test_endpoint_returns_summary_and_files(client, clip):
    document, overlay, files = ask(client, clip)
    assert document["video"] == "clip.mp4"
    assert document["frames"] == 4
    assert [track["number"] for track in document["tracks"]] == [1, 2, 3]
    with VideoReader(overlay) as reader:
        assert len(list(reader)) == 4
    names = [Path(file).name for file in files]
    assert names[0] == "clip.npz"
    assert names[1:4] == ["clip_track_1.bvh", "clip_track_1.glb", "clip_track_1_smplx.npz"]
    with np.load(files[0]) as arrays:
        assert set(arrays["track"].tolist()) == {1, 2, 3}


def test_endpoint_takes_the_part_to_process(client, clip):
    document, overlay, _ = ask(client, clip, start_seconds=0.4, rate=10)
    assert (document["frames"], document["start_seconds"]) == (4, 0.4)
    with VideoReader(overlay) as reader:
        assert len(list(reader)) == 4
    with pytest.raises(AppError, match="clip.mp4 ends before 5 s: start earlier"):
        ask(client, clip, start_seconds=5)


def test_endpoint_puts_people_on_one_floor_when_asked(client, clip):
    document, _, _ = ask(client, clip)
    assert (document["still_camera"], document["space"]) == (None, CAMERA_SPACE)
    with pytest.raises(AppError, match="still|maybe"):
        ask(client, clip, still_camera="maybe")
    document, _, files = ask(client, clip, still_camera="on")
    with np.load(files[0]) as arrays:
        assert str(arrays["space"]) == document["space"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"start_seconds": -1}, "Start \\(s\\) must be a number from 0 to 86400"),
        ({"threshold": 7}, "Confidence threshold must be a number from 0 to 1"),
        ({"seconds": "long"}, "Max duration \\(s\\) must be a number"),
        ({"rate": 0}, "Max frame rate must be a number from 1 to 60"),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(client, clip, wrong, sentence):
    with pytest.raises(AppError, match=sentence):
        ask(client, clip, **wrong)


def test_missing_and_unreadable_video_are_refused_in_one_sentence(client, tmp_path):
    with pytest.raises(AppError, match="Send a video."):
        ask(client, None)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(AppError, match="bad.mp4 is not a video that can be read"):
        ask(client, tmp_path / "bad.mp4")


def test_the_endpoint_is_documented(client):
    about = client.view_api(return_format="dict")["named_endpoints"]["/video"]
    assert [p["parameter_name"] for p in about["parameters"]] == [
        "video",
        "threshold",
        "max_people",
        "max_seconds",
        "max_rate",
        "smooth",
        "refine",
        "ground",
        "bones",
        "start_seconds",
        "still_camera",
    ]
    assert "Track everyone" in about["description"]


def video_result(frames, tracks, notes=()):
    summary = {"frames": frames, "tracks": [None] * tracks, "notes": list(notes)}
    summary["space"] = CAMERA_SPACE
    files = Path("a.mp4"), Path("a.npz"), Path("a.json"), []
    return VideoResult(*files, summary, CAMERA, SceneBounds(), AT_CAMERA)


def test_preview_describes_the_video_and_names_it(clip, tmp_path):
    html = preview_html(str(clip))
    assert "<video" in html and "Preview of clip.mp4" in html
    assert "0.8 s · 96 × 64 px · 10 frames per second · without sound" in html
    gif = make_clip(tmp_path / "a <b>.gif", 4, (33, 17), sound=None)
    assert "<img" in preview_html(str(gif)) and "<b>" not in preview_html(str(gif))
    assert preview_html(None) == ""


def test_preview_of_an_unreadable_file_is_one_sentence(tmp_path):
    (tmp_path / "<i>.mp4").write_bytes(b"nothing")
    html = preview_html(str(tmp_path / "<i>.mp4"))
    assert "&lt;i&gt;.mp4 is not a video that can be read" in html and "<i>" not in html


def test_video_status_counts_people_and_escapes_notes():
    assert (
        video_handlers.status_text(video_result(1, 1)) == f"**1 person** in 1 frame. {CAMERA_SPACE}"
    )
    text = video_handlers.status_text(video_result(2, 0, ["<b>.mp4 is damaged."]))
    assert text == "**0 people** in 2 frames.\n\n&lt;b&gt;.mp4 is damaged."


def test_batch_status_and_problems_are_counted_and_escaped():
    result = FolderResult(1, 2, [("<i>.jpg", "<i>.jpg is empty.")] * 201)
    assert batch_tab.status_text(result) == "**2 people** in 1 photo. 201 files failed."
    table = batch_tab.problems_html(result)
    assert "<i>" not in table and table.count("<tr>") == 201
    assert "1 more in problems.csv" in table


def test_notes_of_a_batch_are_listed_and_are_no_failures():
    result = FolderResult(1, 2, notes=[("a.jpg", "a.jpg is cut off: its end is missing.")])
    assert batch_tab.status_text(result) == "**2 people** in 1 photo."
    assert "its end is missing" in batch_tab.problems_html(result)
