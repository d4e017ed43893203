"""Tabs Video and Batch in a real browser, from input to downloaded result."""

import csv
import io
import json
import re
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from aios.media.video_reader import VideoReader
from aios.prediction import Candidates
from tests.helpers.browsing import (
    chromium,
    expect_accessible,
    expect_drawn,
    expect_loaded,
    expect_true,
    open_tab,
    seen,
    visit,
)
from tests.helpers.clips import frame_pixels, make_clip
from tests.helpers.live_folder import files_under, paths_under
from tests.helpers.people_on_floor import CAMERA as FLOOR_CAMERA
from tests.helpers.people_on_floor import people_on_floor
from tests.helpers.served import save_photo, served, tiny_predictor
from tests.helpers.waiting import wait_until

SIZE = (160, 120)
_READY_AND_TURNED = """turned => {
  const scene = document.querySelector("#video-scene [data-ready]")?.dataset.scene;
  return scene && (Math.abs(JSON.parse(scene).camera.rotation[0]) > 0.03) === turned;
}"""


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(predictor, folder):
    which = shutil.which
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_RENDERER", "software")
        # Gradio uses the program ffmpeg if there is one; most machines have none.
        patch.setattr(
            "shutil.which",
            lambda name, *rest, **more: None if "ff" in name else which(name, *rest, **more),
        )
        with served(predictor, folder) as address:
            yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("camera")) as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    with visit(browser, address) as page:
        yield page


@pytest.fixture
def gate(predictor, monkeypatch):
    """Event for which the network waits before its second frame or batch; `frames` are its inputs.

    For single frames, the output is always the same.
    """
    gate, frames = threading.Event(), []
    usual = predictor.find_candidates
    first = usual(frame_pixels(0, SIZE))

    def find(frame, **arguments):
        frames.append(frame)
        if len(frames) > 1:
            assert gate.wait(60)
        return Candidates(first.people, first.camera)

    usual_batch = predictor.predict_batch

    def predict_batch(photos, *arguments, **options):
        frames.extend(photos)
        if len(frames) > len(photos):
            assert gate.wait(60)
        return usual_batch(photos, *arguments, **options)

    monkeypatch.setattr(predictor, "find_candidates", find)
    monkeypatch.setattr(predictor, "predict_batch", predict_batch)
    gate.frames = frames
    yield gate
    gate.set()


def still(index, size):
    """Frames without motion."""
    return frame_pixels(0, size)


def leftovers(folder: Path) -> set[Path]:
    """Complete and partial result files."""
    kinds = ("*_overlay.mp4", "*.npz", "*.bvh", "aios_results.zip", ".unfinished-*")
    return paths_under(folder, *kinds)


def send_video(page: Page, clip: Path) -> None:
    open_tab(page, "Video")
    page.set_input_files("#video-input input[type=file]", clip)
    expect(page.locator("#video-input")).to_contain_text(clip.stem)


def test_example_works_for_visitors_one_after_another(browser, address, gate):
    gate.set()
    for _ in range(2):
        with visit(browser, address) as page:
            open_tab(page, "Video")
            example = page.get_by_role("button", name="Example: clip_throw")
            expect_loaded(example.locator("img"))
            example.click()
            expect(page.locator("#video-input")).to_contain_text("clip_throw")
            page.locator("#video-start").click()
            expect(page.locator("#video-status")).to_contain_text("in 60 frames")


def test_chosen_video_is_shown_and_its_part_is_processed(browser, address, gate, tmp_path):
    """At the width of a phone; the start is set by the position of the player."""
    gate.set()
    clip = make_clip(tmp_path / "part.mp4", 30, SIZE, pixels=still)
    with visit(browser, address, viewport={"width": 390, "height": 844}) as page:
        send_video(page, clip)
        preview = page.locator("#video-preview")
        expect(preview).to_contain_text("3.0 s · 160 × 120 px · 10 frames per second")
        expect_true(page, "document.querySelector('#video-preview video').readyState >= 1")
        box = preview.locator("video").bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= 390 and box["height"] > 100
        preview.locator("video").evaluate("video => { video.currentTime = 2.2; }")
        page.get_by_role("button", name="Start at the frame shown").click()
        expect(page.get_by_label("Start (s)")).to_have_value("2.2")
        page.locator("#video-start").click()
        expect(page.locator("#video-status")).to_contain_text("5 people in 8 frames")
        page.get_by_label("Start (s)").fill("9")
        page.locator("#video-start").click()
        expect(page.locator("#video-status")).to_contain_text("part.mp4 ends before 9 s")
        page.get_by_role("button", name="Example: clip_throw").scroll_into_view_if_needed()
        expect_accessible(page)


def test_video_gives_overlay_and_files(page, gate, tmp_path):
    gate.set()
    clip = make_clip(tmp_path / "dance.mp4", 12, SIZE, sound="aac", pixels=still)
    send_video(page, clip)
    page.locator("#video-start").click()
    expect(page.locator("#video-status")).to_contain_text("5 people in 12 frames")
    expect(page.locator("#video-people tbody tr")).to_have_count(5)
    expect(page.locator("#video-people tbody tr").first).to_contain_text("0.0 – 1.1 s")

    video = page.locator("#video-overlay video")
    page.wait_for_function("document.querySelector('#video-overlay video')?.readyState >= 2")
    size = video.evaluate("v => [v.videoWidth, v.videoHeight, v.duration]")
    assert size[:2] == list(SIZE)
    assert size[2] == pytest.approx(1.2, abs=0.15)
    content = page.request.get(video.get_attribute("src")).body()
    (tmp_path / "overlay.mp4").write_bytes(content)
    with VideoReader(tmp_path / "overlay.mp4") as reader:
        assert reader.info.has_sound
        frames = list(reader)
    assert np.abs(frames[5].pixels.astype(int) - frame_pixels(0, SIZE)).max() > 60

    scene = page.locator("#video-scene")
    expect(scene.locator("[data-ready]")).to_be_visible()
    expect_drawn(scene.locator("canvas"))
    scene.get_by_label("Time").fill("0.5")
    expect(scene.locator("output")).to_have_text("0.5 / 1.1 s")
    scene.get_by_role("button", name="Play").click()
    expect(scene.locator("output")).to_have_text("1.1 / 1.1 s")
    expect(scene.get_by_role("button", name="Play")).to_be_visible()

    endings = (".bvh", ".glb", "_smplx.npz")
    tracks = [f"dance_track_{n}{ending}" for n in range(1, 6) for ending in endings]
    names = ["dance.npz", "dance.json", *tracks]
    files = {}
    links = page.locator("#video-files a[download]")
    expect(links).to_have_count(len(names))
    for index in range(len(names)):
        # Chromium silently ignores downloads after ten clicks within one second.
        page.wait_for_timeout(150)
        with page.expect_download() as download:
            links.nth(index).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        files[path.name] = path
    assert sorted(files) == sorted(names)
    with np.load(files["dance.npz"]) as arrays:
        assert arrays["body_pose"].shape == (60, 63)
    assert json.loads(files["dance.json"].read_text("utf-8"))["frames"] == 12
    assert files["dance_track_3.bvh"].read_text().startswith("HIERARCHY")
    assert files["dance_track_3.glb"].read_bytes()[:4] == b"glTF"


def test_view_of_a_tilted_camera_stays_when_the_floor_becomes_level(
    page, predictor, monkeypatch, tmp_path
):
    people, _ = people_on_floor(((-0.6, 4.0), (0.8, 6.0)))
    people = replace(people, scores=np.ones_like(people.scores))
    found = Candidates(people, FLOOR_CAMERA, placed=True)
    monkeypatch.setattr(predictor, "find_candidates", lambda *_: found)
    send_video(page, make_clip(tmp_path / "tilted.mp4", 8, (960, 720), pixels=still))
    page.locator("button:visible", has_text="3D file options").click()
    page.get_by_role("radio", name="Yes").check()
    scene = page.locator("#video-scene")
    views: list[np.ndarray] = []
    for ground in (False, True):
        page.locator("label:visible", has_text="On the ground").set_checked(ground)
        page.locator("#video-start").click()
        expect_true(page, _READY_AND_TURNED, ground)
        scene.get_by_role("button", name="Camera view").click()
        page.wait_for_timeout(1000)
        views.append(seen(scene.locator("canvas")))
    assert np.ptp(views[0]) > 100
    assert (np.abs(views[0] - views[1]).max(-1) > 40).mean() < 0.01


def test_link_carries_the_settings_of_a_video(browser, address):
    query = "?tab=video&rate=12&smooth=false&ground=true&bones=mixamo&still=on"
    with visit(browser, address, query) as page:
        expect(page.locator("#video-start")).to_be_visible()
        expect(page.get_by_label("number input for Max frame rate")).to_have_value("12")
        expect(page.get_by_role("radio", name="Yes")).to_be_checked()
        expect(page.get_by_label("Smooth motion")).not_to_be_checked()
        page.locator("button:visible", has_text="3D file options").click()
        expect(page.locator("label:visible", has_text="On the ground")).to_be_checked()
        page.get_by_label("Smooth motion").check()
        page.get_by_role("radio", name="Detect").check()
        expect(page).to_have_url(f"{address}?tab=video&rate=12&ground=true&bones=mixamo")


def test_progress_is_shown_and_stop_ends_the_job(page, gate, folder, tmp_path):
    before = leftovers(folder)
    send_video(page, make_clip(tmp_path / "long.mp4", 40, SIZE, pixels=still))
    page.locator("#video-start").click()
    expect(page.locator("#video-overlay")).to_contain_text("Finding people, frame: 1 of 40")
    expect(page.locator("#video-overlay")).to_contain_text("left")
    expect(page.locator("#video-status")).to_contain_text("Processing…")
    page.locator("#video-stop").click()
    expect(page.locator("#video-status")).to_contain_text("Stopping…")
    gate.set()
    expect(page.locator("#video-status")).to_contain_text("Stopped. No files were saved.")
    # The next job starts after the stopped one has released the network.
    gate.frames.clear()
    send_again = make_clip(tmp_path / "short.mp4", 4, SIZE, pixels=still)
    page.locator("#video-input").get_by_label("Remove").or_(
        page.locator("#video-input button[aria-label='Clear']")
    ).first.click()
    send_video(page, send_again)
    page.locator("#video-start").click()
    expect(page.locator("#video-status")).to_contain_text("5 people in 4 frames")
    assert len(gate.frames) <= 6  # four of the new job, at most two of the old one
    after = {path.name for path in leftovers(folder) if path not in before}
    assert not {name for name in after if "long" in name or "unfinished" in name}


def test_leaving_stops_the_job_and_deletes_its_files(browser, address, gate, folder, tmp_path):
    clip = make_clip(tmp_path / "left.mp4", 30, SIZE, pixels=still)
    with visit(browser, address) as page:
        send_video(page, clip)
        page.locator("#video-start").click()
        expect(page.locator("#video-overlay")).to_contain_text("Finding people, frame: 1 of 30")
    wait_until(lambda: not files_under(folder, "left*"))
    gate.set()
    with visit(browser, address) as page:
        send_video(page, make_clip(tmp_path / "next.mp4", 4, SIZE, pixels=still))
        page.locator("#video-start").click()
        expect(page.locator("#video-status")).to_contain_text("5 people in 4 frames")
    assert len(gate.frames) <= 6
    assert not files_under(folder, "left*")


def test_unreadable_video_is_refused_in_one_sentence(page, gate, tmp_path):
    gate.set()
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    send_video(page, tmp_path / "bad.mp4")
    expect(page.locator("#video-preview")).to_contain_text("bad.mp4 is not a video")
    page.locator("#video-start").click()
    expect(page.locator("#video-status")).to_contain_text("bad.mp4 is not a video")
    assert "Traceback" not in page.inner_text("body")
    assert str(tmp_path) not in page.inner_text("body")


def test_start_without_a_file_asks_for_one(page):
    open_tab(page, "Video")
    page.locator("#video-start").click()
    expect(page.locator("#video-status")).to_have_text("Choose a video first.")
    open_tab(page, "Batch")
    page.locator("#batch-start").click()
    expect(page.locator("#batch-status")).to_have_text("Choose photos first.")


def send_photos(page: Page, *paths: Path) -> None:
    open_tab(page, "Batch")
    page.set_input_files("#batch-input input[type=file]", paths)
    expect(page.locator("#batch-input")).to_contain_text(paths[0].stem)


def test_photos_give_one_archive(page, tmp_path):
    loose = save_photo(tmp_path / "loose.jpg")
    (tmp_path / "bad<b>.jpg").write_bytes(b"no photo")
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("../in/side.png", save_photo(tmp_path / "x.png").read_bytes())
        files.writestr("notes.txt", "hello")
    send_photos(page, loose, tmp_path / "bad<b>.jpg", archive)
    page.locator("#batch-start").click()
    expect(page.locator("#batch-status")).to_contain_text("10 people in 2 photos. 2 files failed.")
    expect(page.locator("#batch-problems tbody tr")).to_have_count(2)
    expect(page.locator("#batch-problems")).to_contain_text("notes.txt is not a photo")
    with page.expect_download() as download:
        page.locator("#batch-archive a[download]").first.click()
    download.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as files:
        names = files.namelist()
        rows = list(csv.DictReader(io.StringIO(files.read("people.csv").decode())))
    assert {"loose.json", "loose_overlay.png", "in/side.glb", "problems.csv"} <= set(names)
    assert len(rows) == 10


def test_folder_of_photos_is_processed(page, tmp_path):
    (tmp_path / "holiday").mkdir()
    for name in ("a.jpg", "b.png"):
        save_photo(tmp_path / "holiday" / name)
    open_tab(page, "Batch")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(tmp_path / "holiday")
    expect(page.locator("#batch-input")).to_contain_text("b")
    page.locator("#batch-start").click()
    expect(page.locator("#batch-status")).to_contain_text("10 people in 2 photos.")


def test_stopping_a_batch_leaves_no_files(page, gate, folder, tmp_path):
    before = leftovers(folder)
    photos = [save_photo(tmp_path / f"{index}_photo.png", *SIZE) for index in range(12)]
    send_photos(page, *photos)
    page.locator("#batch-start").click()
    expect(page.locator("#batch-archive")).to_contain_text(re.compile(r"Photo: [1-9] of 12"))
    page.locator("#batch-stop").click()
    expect(page.locator("#batch-status")).to_contain_text("Stopping…")
    gate.set()
    expect(page.locator("#batch-status")).to_contain_text("Stopped. No files were saved.")
    send = save_photo(tmp_path / "other.png", *SIZE)
    page.reload()
    send_photos(page, send)
    page.locator("#batch-start").click()
    expect(page.locator("#batch-status")).to_contain_text("5 people in 1 photo.")
    assert len(gate.frames) <= 9  # two batches of the twelve, and the other
    archives = [path for path in leftovers(folder) if path not in before]
    assert len(archives) <= 1
