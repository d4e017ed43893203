"""Many photos: results of the good ones, a sentence for the others, one table of all."""

import csv
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
import trimesh

from aios.media.photo_sources import PhotoItem, items_from_zip
from aios.pipelines.folder import FolderSettings, ResultsFullError, ZipSink, reconstruct_folder
from aios.pipelines.progress import CancelledError
from tests.helpers.served import save_photo, tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def software(monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "software")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photo") / "a.png").read_bytes()


@pytest.fixture
def mixed(tmp_path, photo):
    """An archive with two photos of one name in folders, and four files that are none."""
    path = tmp_path / "mixed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            "one/face.png": photo,
            "two/face.png": photo,
            "one/face.bmp": photo,
            "=1+1.jpg": b"\xff\xd8 no photo",
            "notes.txt": b"hello",
            "empty.png": b"",
            "../up.png": photo,
        }.items():
            archive.writestr(name, content)
    return path


def run(predictor, source, target, report=lambda progress: None, **sink):
    with items_from_zip(source) as items, ZipSink(target, **sink) as archive:
        return reconstruct_folder(predictor, items, archive, FolderSettings(0.0, 2), report)


def read_table(archive, name):
    return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def test_everything_in_one_archive(predictor, mixed, tmp_path):
    told = []
    result = run(predictor, mixed, tmp_path / "out.zip", told.append)
    assert (result.photos, result.people) == (4, 8)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        stems = ("one/face", "two/face", "one/face_2", "up")
        suffixes = (".json", ".npz", ".glb", "_overlay.png")
        expected = {stem + suffix for stem in stems for suffix in suffixes}
        expected |= {f"{stem}_person_{number}_smplx.npz" for stem in stems for number in (1, 2)}
        assert set(archive.namelist()) == {*expected, "people.csv", "problems.csv"}
        people = read_table(archive, "people.csv")
        problems = read_table(archive, "problems.csv")
        document = json.loads(archive.read("one/face.json"))
        with np.load(io.BytesIO(archive.read("up.npz"))) as arrays:
            assert arrays["betas"].shape == (2, 10)
        scene = trimesh.load_scene(io.BytesIO(archive.read("two/face.glb")), file_type="glb")
        assert len(scene.geometry) == 2
    assert [(row["photo"], row["person"], row["files"]) for row in people[:3]] == [
        ("one/face.png", "1", "one/face"),
        ("one/face.png", "2", "one/face"),
        ("two/face.png", "1", "two/face"),
    ]
    person = document["people"][0]
    assert float(people[0]["score"]) == pytest.approx(person["score"], abs=1e-4)
    assert float(people[0]["transl_z_m"]) == pytest.approx(person["transl"][2], abs=1e-3)
    assert float(people[0]["left_px"]) == pytest.approx(person["box_xyxy_px"][0], abs=0.06)
    assert float(people[0]["betas_9"]) == pytest.approx(person["betas"][9], abs=1e-4)
    said = {row["file"]: row["problem"] for row in problems}
    assert set(said) == {"'=1+1.jpg", "notes.txt", "empty.png"}  # no formula for a spreadsheet
    assert "=1+1.jpg" in said["'=1+1.jpg"]
    assert said["empty.png"] == "empty.png is empty (0 bytes)."
    assert [progress.done for progress in told] == list(range(8))
    assert told[-1].share == 1.0


def test_a_photo_that_fails_unforeseen_costs_itself_alone(predictor, mixed, tmp_path, monkeypatch):
    usual, calls = predictor.predict, []

    def fail_once(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return usual(*arguments)

    monkeypatch.setattr(predictor, "predict", fail_once)
    result = run(predictor, mixed, tmp_path / "out.zip")
    assert result.photos == 3
    sentence = "two/face.png could not be worked on: try a smaller copy."
    assert ("two/face.png", sentence) in result.problems


def test_nothing_usable_gives_empty_tables(predictor, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    result = run(predictor, tmp_path / "a.zip", tmp_path / "out.zip")
    assert (result.photos, len(result.problems)) == (0, 1)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert read_table(archive, "people.csv") == []


def test_stopped_it_leaves_no_archive(predictor, mixed, tmp_path):
    def stop(progress):
        if progress.done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        run(predictor, mixed, tmp_path / "out.zip", stop)
    assert not (tmp_path / "out.zip").exists()


def test_full_results_end_the_work_and_are_said(predictor, mixed, tmp_path, monkeypatch):
    sizes = []
    run(predictor, mixed, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        sizes = [i.file_size for i in archive.infolist() if i.filename.startswith("one/face")]
    result = run(predictor, mixed, tmp_path / "out.zip", max_bytes=sum(sizes[:6]) + 10)
    assert result.photos == 1
    unworked = [name for name, sentence in result.problems if "fill the archive" in sentence]
    assert unworked[0] == "two/face.png" and unworked[-1] == "up.png"
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 8
        assert len(read_table(archive, "people.csv")) == 2


def test_a_sink_that_is_full_takes_nothing_of_a_photo(tmp_path):
    with ZipSink(tmp_path / "a.zip", max_bytes=10) as sink:
        sink({"a": b"12345"})
        with pytest.raises(ResultsFullError):
            sink({"b": b"1", "c": b"123456"})
        sink({"d": b"12345"})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["a", "d"]


def test_memory_does_not_grow_with_the_number_of_photos(predictor, tmp_path, monkeypatch):
    photo = np.zeros((40, 40, 3), np.uint8)
    prediction = predictor.predict(photo, 0.0)
    monkeypatch.setattr(predictor, "predict", lambda *_: prediction)
    results = {"{}.bin": bytes(100_000)}
    monkeypatch.setattr(
        "aios.pipelines.folder.results_as_bytes",
        lambda prediction, photo, stem, *_: {k.format(stem): v for k, v in results.items()},
    )

    def peak(count):
        items = [PhotoItem(f"{index}.png", lambda: photo.copy()) for index in range(count)]
        tracemalloc.start()
        with ZipSink(tmp_path / "a.zip") as sink:
            reconstruct_folder(predictor, items, sink, FolderSettings(), lambda progress: None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(10)
    # 190 more photos are 19 MB of results; their rows of the table and of the list stay.
    assert peak(200) - peak(10) < 1_500_000
