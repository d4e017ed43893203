"""Visits: separate for each visitor, ended by leaving or expiry, kept by running jobs."""

import gc
import os
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from aios.page import sessions as sessions_module
from aios.page import visit as visit_module
from aios.page.photo_files import FilesRequest
from aios.page.results import SCREEN_SIDE_PX, PhotoQuery
from aios.page.sessions import Sessions, sweep_regularly
from aios.page.visit import MAX_WAIT_SECONDS, VisitEndedError
from tests.helpers.served import count_forwards, save_photo, tiny_predictor
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "uploads"
    path.mkdir()
    return path


@pytest.fixture
def sessions(predictor, folder):
    return Sessions(predictor, folder)


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "photo.png")


@pytest.fixture
def clock(monkeypatch):
    """Monotonic clock that a test moves forward."""
    now = [1000.0]
    monkeypatch.setattr(sessions_module.time, "monotonic", lambda: now[0])
    return now


def query(photo):
    return PhotoQuery(photo, 0.0, 30, "full")


def age_s(path):
    return time.time() - path.stat().st_ctime


def test_visitors_do_not_see_each_other(sessions, photo, tmp_path):
    other = save_photo(tmp_path / "other.png", 64, 100)
    a, b = sessions.visit("a"), sessions.visit("b")
    assert a.result(query(photo)).prediction.camera.width == 120
    assert b.result(query(other)).prediction.camera.width == 64
    assert a.holds(query(photo)) and not b.holds(query(photo))
    assert a.folder() == sessions.visit("a").folder() != b.folder()


def test_leaving_deletes_results_and_returns_own_uploads(sessions, predictor, photo, tmp_path):
    mine, runs = save_photo(tmp_path / "mine.png", 64, 100), count_forwards(predictor)
    for session, path in (("a", photo), ("b", photo), ("a", mine)):
        sessions.visit(session).result(query(path))
    folder = sessions.visit("a").folder()
    (folder / "result.json").write_text("{}")
    assert sessions.leave("a") == [mine]
    assert not folder.exists() and sessions.visit("b").folder().is_dir()
    runs.clear()
    sessions.visit("b").result(query(photo))
    assert not runs
    sessions.visit("b").result(query(mine))
    assert len(runs) == 1
    assert sessions.leave("unknown") == []
    assert set(sessions.leave("b")) == {photo, mine}


def test_file_sent_by_two_visitors_is_returned_by_the_last(sessions, tmp_path):
    video, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    sessions.visit("a").add_uploads([video, other])
    sessions.visit("b").add_uploads([video])
    assert sessions.leave("a") == [other]
    assert sessions.leave("b") == [video]


def test_leaving_while_the_network_runs_registers_nothing(
    sessions, predictor, photo, folder, monkeypatch
):
    usual = predictor.find_candidates

    def find_while_the_visitor_leaves(*arguments, **options):
        assert sessions.leave("a") == [photo]
        return usual(*arguments, **options)

    monkeypatch.setattr(predictor, "find_candidates", find_while_the_visitor_leaves)
    visit = sessions.visit("a")
    with pytest.raises(VisitEndedError, match="reload the page"):
        visit.result(query(photo))
    assert sessions.cache.nbytes == 0
    for register in (visit.folder, lambda: visit.add_uploads([photo])):
        with pytest.raises(VisitEndedError):
            register()
    assert not visit.holds(query(photo)) and not list(folder.iterdir())
    assert sessions.leave("a") == []


def test_returning_visitor_starts_a_new_visit(sessions, photo):
    first = sessions.visit("a")
    sessions.leave("a")
    second = sessions.visit("a")
    assert second is not first
    assert len(second.result(query(photo)).prediction) == 5


def test_visit_expires_one_hour_after_the_last_request(sessions, photo, clock):
    visit = sessions.visit("a")
    visit.result(query(photo))
    folder = visit.folder()
    clock[0] += sessions_module.EXPIRY_SECONDS - 1
    sessions.sweep()
    assert folder.is_dir() and sessions.cache.nbytes
    sessions.visit("a")
    clock[0] += 2
    sessions.sweep()
    assert folder.is_dir()
    clock[0] += sessions_module.EXPIRY_SECONDS
    sessions.sweep()
    assert not folder.exists() and not sessions.cache.nbytes


def test_running_job_keeps_its_visit_and_files(sessions, tmp_path, clock):
    video = tmp_path / "long.mp4"
    video.write_bytes(b"video")
    os.utime(video, (1.0, 2.0))
    visit = sessions.visit("a")
    results = visit.new_folder("video")
    with visit.working([video]):
        for _ in range(5):
            clock[0] += sessions_module.EXPIRY_SECONDS
            sessions.sweep()
        assert results.is_dir() and sessions.visit("a") is visit
    clock[0] += sessions_module.EXPIRY_SECONDS - 1
    sessions.sweep()
    assert results.is_dir()
    clock[0] += 2
    sessions.sweep()
    assert not results.exists()
    # The content's modification time is part of the result cache's key.
    assert video.stat().st_mtime == 2.0


def test_sweep_resets_the_age_of_files_in_use(sessions, tmp_path):
    paths = [tmp_path / name for name in ("running.mp4", "waiting.mp4", "gone.mp4", "idle.mp4")]
    for path in paths:
        path.write_bytes(b"video")
    running, waiting, gone, idle = paths
    visit = sessions.visit("a")
    visit.reserve([waiting, gone])
    with visit.working([running]):
        gone.unlink()
        time.sleep(0.3)
        sessions.sweep()
        assert age_s(running) < age_s(idle) - 0.2
        assert age_s(waiting) < age_s(idle) - 0.2


def test_reservation_ends_after_the_longest_wait(sessions, tmp_path, clock):
    visit = sessions.visit("a")
    folder = visit.folder()
    visit.reserve([tmp_path / "waiting.mp4"])
    clock[0] += MAX_WAIT_SECONDS - 1
    sessions.sweep()
    assert folder.is_dir()
    clock[0] += 2
    sessions.sweep()
    assert not folder.exists()


def test_sweeper_deletes_expired_files_without_requests(sessions, photo, monkeypatch):
    visit = sessions.visit("a")
    visit.result(query(photo))
    folder = visit.folder()
    monkeypatch.setattr(sessions_module, "EXPIRY_SECONDS", -1.0)
    sweep_regularly(sessions, 0.01)
    wait_until(lambda: not visit.holds(query(photo)) and not folder.exists())


def test_sweeper_survives_an_error(sessions, monkeypatch, caplog):
    swept = threading.Event()

    def sweep(self):
        if not caplog.messages:
            raise FileNotFoundError("vanished meanwhile")
        swept.set()

    monkeypatch.setattr(Sessions, "sweep", sweep)
    sweep_regularly(sessions, 0.01)
    assert swept.wait(60)
    assert "Deleting expired files failed" in caplog.messages


def test_files_that_vanish_meanwhile_are_skipped(sessions):
    visit = sessions.visit("a")
    for k in range(4):
        path = visit.save("x.jpg", b"picture %d" % k)
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    for k in range(4):
        visit.save("x.jpg", b"picture %d" % k)
    assert len(list(visit.folder().rglob("x.jpg"))) == 4


def test_sweeper_ends_with_its_sessions(predictor, folder):
    sessions = Sessions(predictor, folder)
    reference = weakref.ref(sessions)
    sweep_regularly(sessions, 0.01)
    del sessions
    wait_until(lambda: gc.collect() >= 0 and reference() is None)


def test_equal_contents_share_a_file(sessions):
    visit = sessions.visit("a")
    first, other = visit.save("x.jpg", b"picture"), visit.save("x.jpg", b"another")
    assert visit.save("x.jpg", b"picture") == first != other
    assert visit.save("y.jpg", b"picture") not in (first, other)
    os.unlink(first)
    assert Path(visit.save("x.jpg", b"picture")).read_bytes() == b"picture"


def test_photo_that_is_sent_again_shares_its_result_files(sessions, photo, tmp_path):
    """Each upload has a folder of its own."""
    paths = [tmp_path / str(k) / photo.name for k in range(3)]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(photo.read_bytes())
    changed = replace(query(paths[0]), threshold=0.4)
    renamed = query(photo.rename(tmp_path / "renamed.png"))
    visit = sessions.visit("a")
    first = visit.write(FilesRequest(query(paths[0])))
    assert visit.write(FilesRequest(query(paths[1]))) is first
    others = [visit.write(FilesRequest(other)) for other in (changed, renamed)]
    assert all(other.json != first.json for other in others)
    assert visit.write(FilesRequest(query(paths[2]))) is first
    assert visit.want_files(FilesRequest(query(paths[2])))
    assert len(list(visit.folder().glob("results-*"))) == 3
    # Another visitor has files of their own.
    assert sessions.visit("b").write(FilesRequest(query(paths[0]))).json != first.json


@pytest.mark.parametrize("moment", ["before", "after"])
def test_files_written_at_the_end_of_a_visit_are_deleted(sessions, tmp_path, monkeypatch, moment):
    visit, usual = sessions.visit("a"), visit_module.write_photo_files

    def leave_meanwhile(*arguments):
        if moment == "before":
            sessions.leave("a")
        files = usual(*arguments)
        sessions.leave("a")
        return files

    monkeypatch.setattr(visit_module, "write_photo_files", leave_meanwhile)
    request = FilesRequest(query(save_photo(tmp_path / "mine.png")))
    with pytest.raises(VisitEndedError):
        visit.write(request)
    assert not list(tmp_path.rglob("mine*.json"))
    assert not sessions.folders._sizes  # else the visit stays in memory


def test_result_files_have_the_size_of_the_photo(sessions, tmp_path):
    photo = save_photo(tmp_path / "large.png", 2 * SCREEN_SIDE_PX, 900)
    files = sessions.visit("a").write(FilesRequest(query(photo)))
    names = ["large.json", "large.npz", "large.glb", "large_overlay.png"]
    assert [file.name for file in files[:4]] == names
    assert [file.name for file in files.people] == [
        f"large_person_{k}_smplx.npz" for k in range(1, 6)
    ]
    assert Image.open(files.overlay).size == (2 * SCREEN_SIDE_PX, 900)
