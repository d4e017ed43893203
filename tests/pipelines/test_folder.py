"""Folder jobs: results of readable photos, a reason for the others, tables, batches."""

import csv
import io
import json
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from aios.body.model import BodyModel
from aios.media.photo_sources import PhotoItem, items_from_zip
from aios.pipelines.batches import batch_size
from aios.pipelines.folder import FolderSettings, reconstruct_folder
from aios.pipelines.photo_results import SideBySide
from aios.pipelines.progress import CancelledError
from aios.pipelines.sinks import ResultsFullError, ZipSink, folder_sink
from aios.predictor import DEFAULT_BATCH_SIZE
from tests.helpers.served import save_photo, tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def software(monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "software")


@pytest.fixture
def batches_of_four(monkeypatch):
    """As on a GPU, in batches."""
    monkeypatch.setattr("aios.pipelines.batches.batch_size", lambda predictor: 4)


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photo") / "a.png").read_bytes()


@pytest.fixture
def mixed(tmp_path, photo):
    """An archive with photos of equal names, and files that are not photos."""
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
    return list(csv.DictReader(io.StringIO(archive.read(name).decode("utf-8-sig"))))


def test_archive_has_results_of_each_photo_and_tables(predictor, mixed, tmp_path):
    reports = []
    result = run(predictor, mixed, tmp_path / "out.zip", reports.append)
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
    reasons = {row["file"]: row["problem"] for row in problems}
    assert set(reasons) == {"'=1+1.jpg", "notes.txt", "empty.png"}  # not a formula for spreadsheets
    assert "=1+1.jpg" in reasons["'=1+1.jpg"]
    assert reasons["empty.png"] == "empty.png is empty (0 bytes)."
    assert [progress.done for progress in reports] == list(range(8))
    assert reports[-1].share == 1.0


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), ValueError()])
def test_unexpected_error_fails_only_the_photo_at_fault(
    predictor, mixed, tmp_path, monkeypatch, batches_of_four, error
):
    usual, sizes = predictor.predict_batch, []

    def fail_on_white(photos, *arguments, **options):
        sizes.append(len(photos))
        if any(photo.min() == 255 for photo in photos):
            raise error
        return usual(photos, *arguments, **options)

    monkeypatch.setattr(predictor, "predict_batch", fail_on_white)
    with zipfile.ZipFile(mixed, "a") as archive:
        white = io.BytesIO()
        Image.new("RGB", (120, 90), "white").save(white, "PNG")
        archive.writestr("one/white.png", white.getvalue())
        archive.writestr("z.png", archive.read("one/face.png"))
    result = run(predictor, mixed, tmp_path / "out.zip")
    assert result.photos == 5
    [sentence] = [sentence for name, sentence in result.problems if name == "one/white.png"]
    assert sentence.startswith("one/white.png could not be processed")
    assert ("memory" in sentence) == (not isinstance(error, ValueError))
    assert max(sizes) > 1 and min(sizes) == 1


def test_photos_are_predicted_in_batches_with_the_results_of_single_ones(
    predictor, monkeypatch, batches_of_four
):
    rng = np.random.default_rng(0)
    photos = [
        rng.integers(0, 256, (90, 120 if index % 3 else 80, 3)).astype(np.uint8)
        for index in range(9)
    ]
    sizes = []
    usual = predictor.predict_batch
    monkeypatch.setattr(
        predictor,
        "predict_batch",
        lambda batch, *args, **options: sizes.append(len(batch)) or usual(batch, *args, **options),
    )
    items = [PhotoItem(f"{i}.png", lambda photo=photo: photo) for i, photo in enumerate(photos)]
    written = {}
    reconstruct_folder(
        predictor, items, written.update, FolderSettings(0.0, 2), lambda progress: None
    )
    assert sizes == [4, 4, 1]
    archives = [name for name in written if name.endswith(".npz") and "person" not in name]
    assert archives == [f"{i}.npz" for i in range(9)]
    for index, photo in enumerate(photos):
        single = predictor.predict(photo, 0.0, 2)
        with np.load(io.BytesIO(written[f"{index}.npz"])) as arrays:
            np.testing.assert_allclose(arrays["transl"], single.people.transl, atol=1e-4)
            np.testing.assert_allclose(arrays["body_pose"], single.people.body_pose, atol=2e-3)


def test_batches_are_used_where_they_are_faster(predictor):
    assert batch_size(predictor) == 1
    on_gpu = SimpleNamespace(device=torch.device("cuda"))
    assert batch_size(on_gpu) == DEFAULT_BATCH_SIZE


def test_another_process_draws_what_this_one_predicts(predictor, photo):
    """As with a GPU, which one process uses."""
    items = [PhotoItem(f"{name}.png", lambda: photo) for name in "abc"]
    items.insert(1, PhotoItem("bad.png", lambda: b"no photo"))
    found = []
    for side_by_side in (None, SideBySide(1, 1, BodyModel.load)):
        files = {}
        settings = FolderSettings(0.0, 2)
        result = reconstruct_folder(
            predictor, items, files.update, settings, lambda _: None, side_by_side=side_by_side
        )
        found.append((result, files))
    assert found[0] == found[1]
    assert found[0][0].photos == 3 and len(found[0][0].problems) == 1


def test_large_photos_are_not_collected_in_a_batch(predictor, monkeypatch, batches_of_four):
    monkeypatch.setattr("aios.pipelines.batches._MAX_BATCH_PIXELS", 90 * 120 * 2)
    sizes, usual = [], predictor.predict_batch
    monkeypatch.setattr(
        predictor,
        "predict_batch",
        lambda batch, *args, **options: sizes.append(len(batch)) or usual(batch, *args, **options),
    )
    photo = np.zeros((90, 120, 3), np.uint8)
    items = [PhotoItem(f"{index}.png", lambda: photo) for index in range(5)]
    reconstruct_folder(
        predictor, items, lambda files: None, FolderSettings(0.0, 1), lambda progress: None
    )
    assert sizes == [2, 2, 1]


def test_output_error_of_one_photo_does_not_stop_the_others(predictor, photo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.json").mkdir()  # a folder in the place of a result
    items = [PhotoItem(f"{name}.png", lambda: photo) for name in "abc"]
    result = reconstruct_folder(
        predictor, items, folder_sink(out), FolderSettings(0.0, 1), lambda progress: None
    )
    assert result.photos == 2
    [(name, sentence)] = result.problems
    assert name == "b.png" and sentence.startswith("b.json cannot be written: ")
    assert (out / "c.glb").exists() and not (out / "b.glb").exists()
    assert "b.png" in (out / "problems.csv").read_text("utf-8-sig")
    assert len(list(csv.DictReader((out / "people.csv").open(encoding="utf-8-sig")))) == 2


def test_interrupt_writes_the_tables_of_finished_photos(predictor, photo, tmp_path):
    def interrupt(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    items = [PhotoItem(f"{name}.png", lambda: photo) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        reconstruct_folder(
            predictor, items, folder_sink(tmp_path), FolderSettings(0.0, 1), interrupt
        )
    rows = list(csv.DictReader((tmp_path / "people.csv").open(encoding="utf-8-sig")))
    assert [row["photo"] for row in rows] == ["a.png", "b.png"]


def test_tables_open_as_utf8_in_spreadsheets(predictor, photo):
    written = {}
    items = [PhotoItem("Grüße.png", lambda: photo), PhotoItem("M\udcfcnchen.png", lambda: photo)]
    reconstruct_folder(
        predictor, items, written.update, FolderSettings(0.0, 1), lambda progress: None
    )
    table = written["people.csv"]
    assert table.startswith(b"\xef\xbb\xbf") and table.count(b"\xef\xbb\xbf") == 1
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [row["photo"] for row in rows] == ["Grüße.png", "M\\udcfcnchen.png"]
    document = json.loads(written["M\udcfcnchen.json"])
    assert document["photo"] == "M\udcfcnchen.png"


def test_job_without_photos_writes_empty_tables(predictor, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    result = run(predictor, tmp_path / "a.zip", tmp_path / "out.zip")
    assert (result.photos, len(result.problems)) == (0, 1)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert read_table(archive, "people.csv") == []


def test_cancelled_job_leaves_no_archive(predictor, mixed, tmp_path):
    def stop(progress):
        if progress.done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        run(predictor, mixed, tmp_path / "out.zip", stop)
    assert not (tmp_path / "out.zip").exists()


def test_full_archive_ends_the_job_and_is_reported(predictor, mixed, tmp_path, monkeypatch):
    sizes = []
    run(predictor, mixed, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        sizes = [i.file_size for i in archive.infolist() if i.filename.startswith("one/face")]
    result = run(predictor, mixed, tmp_path / "out.zip", max_bytes=sum(sizes[:6]) + 10)
    assert result.photos == 1
    unprocessed = [name for name, sentence in result.problems if "fill the archive" in sentence]
    assert unprocessed[0] == "two/face.png" and unprocessed[-1] == "up.png"
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 8
        assert len(read_table(archive, "people.csv")) == 2


def test_full_sink_takes_no_file_of_a_photo(tmp_path):
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
    monkeypatch.setattr(
        predictor, "predict_batch", lambda photos, *_, **__: [prediction] * len(photos)
    )
    results = {"{}.bin": bytes(100_000)}
    monkeypatch.setattr(
        "aios.pipelines.photo_results.results_as_bytes",
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
    # 190 more photos have 19 MB of results; table rows and the list of items remain.
    assert peak(200) - peak(10) < 1_500_000
