"""Long jobs: protected uploads, progress, stop, and the end of the visit."""

import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from aios.page import jobs as jobs_module
from aios.page import layout
from aios.page.batch_tab import BatchHandler
from aios.page.context import PageContext
from aios.page.jobs import PROCESSING, STOPPED, STOPPING, Jobs
from aios.page.sessions import Sessions
from aios.pipelines.progress import CancelledError, Progress
from tests.helpers.clips import frame_pixels, make_clip
from tests.helpers.raw_http import VIDEO_DEFAULTS, call, file_data, send_file
from tests.helpers.served import save_photo, served, tiny_predictor
from tests.helpers.waiting import wait_until

STEP = Progress("Photo", 1, 2, 0.5, None)
VISITOR = SimpleNamespace(session_hash="a")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def sessions(predictor, tmp_path):
    return Sessions(predictor, tmp_path)


@pytest.fixture
def handler(predictor, sessions):
    return BatchHandler(
        PageContext(gr.Blocks(), predictor, sessions, 0.0, gr.State(None), gr.State(None))
    )


def ignore(*_share, **_text):
    """Progress bar without a page."""


@pytest.mark.usefixtures("one_thread")
def test_upload_of_a_running_job_outlives_the_cache_expiry(predictor, tmp_path, monkeypatch):
    """The video is read twice: the second time after other uploads of its age are deleted."""
    monkeypatch.setenv("AIOS_RENDERER", "software")
    monkeypatch.setattr(layout, "SWEEP_SECONDS", 1)
    monkeypatch.setattr(layout, "EXPIRY_SECONDS", 4)
    clip = make_clip(
        tmp_path / "clip.mp4", 4, (96, 64), pixels=lambda k, size: frame_pixels(0, size)
    )
    other = save_photo(tmp_path / "other.png")
    usual, paths = predictor.find_candidates, {}

    def find_after_expiry(*arguments, **options):
        wait_until(lambda: not paths["other"].exists())
        return usual(*arguments, **options)

    monkeypatch.setattr(predictor, "find_candidates", find_after_expiry)
    with served(predictor, tmp_path / "uploads") as address:
        paths["clip"] = Path(send_file(address, clip))
        paths["other"] = Path(send_file(address, other))
        arguments = [file_data(str(paths["clip"])), 0.0, 3, 20, 5, *VIDEO_DEFAULTS]
        kind, outputs = call(address, "video", arguments)
        assert kind == "complete", outputs
        assert outputs[0]["frames"] == 2
        # After the job, the upload expires like any other.
        wait_until(lambda: not paths["clip"].exists())


def test_running_job_stops_at_its_next_step_and_deletes_its_folder(sessions):
    jobs, visit = Jobs("photos"), sessions.visit("a")
    assert not jobs.stop(visit) and not jobs.wait_until_stopped(visit)
    with pytest.raises(CancelledError), jobs.run(visit, [], ignore) as (folder, report):
        report(STEP)
        assert folder.is_dir()
        assert jobs.stop(visit)
        report(STEP)
    assert not folder.exists()
    assert jobs.wait_until_stopped(visit) and not jobs.stop(visit)


def test_end_of_the_visit_cancels_the_job(sessions):
    jobs, visit = Jobs("photos"), sessions.visit("a")
    with pytest.raises(CancelledError), jobs.run(visit, [], ignore) as (folder, _):
        sessions.leave("a")
        folder.mkdir(parents=True)
        raise OSError("the input files are gone")
    assert not folder.exists()


def test_new_job_stops_the_previous_one_of_the_visitor(sessions):
    jobs, visit = Jobs("photos"), sessions.visit("a")
    with pytest.raises(CancelledError), jobs.run(visit, [], ignore) as (first, report):
        with jobs.run(visit, [], ignore) as (second, _):
            assert second.is_dir() and not first.exists()
        report(STEP)
    assert second.is_dir() and not jobs.wait_until_stopped(visit)


def test_error_of_a_job_is_raised(sessions):
    with (
        pytest.raises(ValueError, match="broken"),
        Jobs("photos").run(sessions.visit("a"), [], ignore),
    ):
        raise ValueError("broken")


def test_queued_job_protects_its_uploads_until_stop(handler, sessions, tmp_path):
    photo = str(save_photo(tmp_path / "photo.png"))
    assert handler.enqueue([], VISITOR) == ["Choose photos first.", None, ""]
    assert handler.stop([photo], VISITOR) == gr.skip()
    assert handler.enqueue([photo], VISITOR) == [PROCESSING, None, ""]
    visit = sessions.visit("a")
    assert not visit.is_expired(time.monotonic() + 1)
    assert handler.stop([photo], VISITOR) == STOPPED
    assert visit.is_expired(time.monotonic() + 1)
    assert handler.confirm_stop(VISITOR) == gr.skip()


def test_photo_named_many_times_is_processed_once(handler, tmp_path, monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "software")
    photo = str(save_photo(tmp_path / "photo.png"))
    settings = [0.0, 1, False, False, "smplx", False, []]
    status, archive, _ = handler.show([photo] * 300, *settings, VISITOR, ignore)
    assert status == "**1 person** in 1 photo."
    with zipfile.ZipFile(archive) as results:
        assert len([name for name in results.namelist() if name.endswith(".glb")]) == 1


def test_stop_is_confirmed_after_the_job_has_ended(handler, sessions, monkeypatch):
    monkeypatch.setattr(jobs_module, "STOP_SECONDS", 60)
    visit, started, go_on = sessions.visit("a"), threading.Event(), threading.Event()

    def work():
        with pytest.raises(CancelledError), handler.jobs.run(visit, [], ignore) as (_, report):
            started.set()
            assert go_on.wait(60)
            report(STEP)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    assert handler.stop(None, VISITOR) == STOPPING
    go_on.set()
    assert handler.confirm_stop(VISITOR) == STOPPED
    thread.join()
