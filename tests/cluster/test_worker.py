"""Results of one worker, without Ray: tables, archives, clips, repeated parts, damaged inputs."""

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from aios.cluster import worker as worker_module
from aios.cluster.attempts import Attempt
from aios.cluster.parts import Part, build_parts
from aios.cluster.sources import find_sources
from aios.cluster.store import Store
from aios.cluster.worker import PartResult, PartWorker, WorkerSettings
from aios.media.exif import exif_field_of_view
from aios.pipelines.batches import PeopleLimits
from aios.predictor import AiOSPredictor
from tests.helpers.clips import make_clip
from tests.helpers.image_files import save_photo_with_focal_length
from tests.helpers.served import save_photo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def worker():
    return PartWorker()


@pytest.fixture
def settings(weights, tmp_path):
    limits = PeopleLimits(0.0, 3)
    return WorkerSettings(str(tmp_path / "out"), str(weights), limits=limits)


def process(worker, settings, *inputs, photos_per_part=4):
    parts = build_parts(find_sources(map(str, inputs)), photos_per_part)
    rows = [{"part": part.to_json(), "settings": settings.to_bytes()} for part in parts]
    return parts, [PartResult(**worker(row)) for row in rows]


def read(settings, table):
    paths = sorted((Path(settings.out) / table).glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_tables_hold_what_the_predictor_finds(worker, settings, photos, weights):
    parts, results = process(worker, settings, photos)
    assert [len(part.sources) for part in parts] == [4, 4, 2]
    assert sum(result.photos for result in results) == 9
    assert sum(result.failed for result in results) == 1
    assert all(result.attempt == 1 and result.peak_mb > 10 for result in results)
    people = {(row["photo"], row["person"]): row for row in read(settings, "people")}
    assert len(people) == 27
    predictor = AiOSPredictor.from_pretrained(weights, device="cpu")
    for name in ("2.png", "3.png", "more/a.png"):
        alone = predictor.predict(photos / name, 0.0, 3)
        row = people[(str(photos / name), 2)]
        assert row["score"] == pytest.approx(alone.people.scores[1], abs=1e-5)
        assert row["depth_order"] == alone.depth_order[1] + 1
        np.testing.assert_allclose(row["transl"], alone.people.transl[1], atol=1e-4)
        np.testing.assert_allclose(row["body_pose"], alone.people.body_pose[1], atol=2e-3)
        keypoints = np.reshape(row["keypoints_2d_px"], (17, 2))
        np.testing.assert_allclose(keypoints, alone.people.keypoints_2d_px[1], atol=0.05)
        assert (row["width"], row["height"]) == (alone.camera.width, alone.camera.height)
        assert row["focal_length_px"] == pytest.approx(alone.camera.focal_length)
        assert len(row["weights_sha256"]) == 64 and row["body"] == "stand-in"
    [failed] = read(settings, "failed")
    assert failed["photo"] == str(photos / "broken.jpg")
    assert "broken.jpg is not a photo" in failed["problem"]
    assert sorted(row["photo"] for row in read(settings, "photos")) == sorted(
        str(path) for path in photos.rglob("[!.]*.png")
    )
    assert not list((Path(settings.out) / "attempts").iterdir())


def test_finished_part_is_not_processed_again(worker, settings, photos):
    process(worker, settings, photos)
    _, results = process(worker, settings, photos)
    assert [result.attempt for result in results] == [0, 0, 0]
    assert [result.photos for result in results] == [0, 0, 0]


def test_archive_gives_the_rows_of_its_photos(worker, settings, photos, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for name in ("1.png", "2.png", "notes.md", "3.png", "broken.jpg"):
            archive.add(photos / name, f"set/{name}")
    [part], [result] = process(worker, settings, tmp_path / "shard.tar")
    assert part.kind == "archive" and (result.photos, result.failed) == (3, 1)
    names = [row["photo"] for row in read(settings, "photos")]
    assert names == [f"{tmp_path}/shard.tar#set/{index}.png" for index in (1, 2, 3)]


def test_damaged_archive_keeps_its_first_photos(worker, settings, photos, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for index in range(4):
            archive.add(photos / f"{index}.png")
    (tmp_path / "cut.tar").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    _, [result] = process(worker, settings, tmp_path / "cut.tar")
    assert result.photos >= 1 and result.failed == 1
    [failed] = read(settings, "failed")
    assert "cut.tar is damaged or cannot be read" in failed["problem"]
    with zipfile.ZipFile(tmp_path / "not.tar", "w"):
        pass
    _, [result] = process(worker, settings, tmp_path / "not.tar")
    assert (result.photos, result.failed) == (0, 1)


def test_clip_gives_tracks(worker, settings, tmp_path):
    make_clip(tmp_path / "clip.mp4", 8, (96, 64))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    parts, results = process(worker, settings, tmp_path / "broken.mp4", tmp_path / "clip.mp4")
    assert [part.kind for part in parts] == ["clip", "clip"]
    assert [result.failed for result in results] == [1, 0]
    [video] = read(settings, "videos")
    assert video["video"] == str(tmp_path / "clip.mp4") and video["frames"] == 8
    tracks = read(settings, "tracks")
    assert {row["track"] for row in tracks} == set(range(1, video["tracks"] + 1))
    assert max(row["frame"] for row in tracks) == 7
    assert len(tracks[0]["body_pose"]) == 63 and tracks[0]["second"] >= 0
    [failed] = read(settings, "failed")
    assert "broken.mp4 is not a video" in failed["problem"]


def test_camera_and_input_size_are_those_of_the_predictor(worker, settings, weights, tmp_path):
    save_photo_with_focal_length(tmp_path / "exif.jpg", 28)
    save_photo(tmp_path / "none.png")
    predictor = AiOSPredictor.from_pretrained(weights, device="cpu").with_input_size("fast")
    settings = replace(settings, input_size="fast")
    for degrees, sources in ((None, ["exif", "model"]), (50.0, ["chosen", "chosen"])):
        limits, out = replace(settings.limits, field_of_view=degrees), f"{tmp_path}/{degrees}"
        own = replace(settings, limits=limits, out=out)
        process(worker, own, tmp_path / "exif.jpg", tmp_path / "none.png")
        rows = read(own, "people")[::3]
        assert [row["focal_length_from"] for row in rows] == sources
        assert {row["input_size"] for row in [*rows, *read(own, "photos")]} == {"fast"}
        for row, angle in zip(
            rows, (degrees or exif_field_of_view(tmp_path / "exif.jpg"), degrees), strict=True
        ):
            alone = predictor.predict(row["photo"], 0.0, 3)
            if angle is not None:
                alone = alone.with_field_of_view(angle)
            assert row["focal_length_px"] == pytest.approx(alone.camera.focal_length)
            np.testing.assert_allclose(row["transl"], alone.people.transl[0], rtol=1e-5)


def test_meshes_as_files_or_as_a_column(worker, settings, photos):
    glb = replace(settings, meshes="glb", out=settings.out + "-glb")
    process(worker, glb, photos / "1.png")
    [row] = read(glb, "photos")
    assert (Path(glb.out) / row["mesh"]).read_bytes()[:4] == b"glTF"
    vertices = replace(settings, meshes="vertices")
    process(worker, vertices, photos / "1.png")
    people = read(vertices, "people")
    assert np.reshape(people[0]["vertices"], (-1, 3)).shape == (10475, 3)


def test_photo_without_people_has_no_person_row(worker, settings, photos):
    process(worker, replace(settings, limits=PeopleLimits(1.0)), photos / "1.png")
    assert read(settings, "people") == []
    assert [row["people"] for row in read(settings, "photos")] == [0]


def test_other_weights_on_a_machine_are_refused(worker, settings, photos):
    _, [result] = process(worker, replace(settings, checksum="0" * 64), photos / "1.png")
    assert "differs between the machines" in result.error
    assert not (Path(settings.out) / "photos").exists()


def test_output_that_cannot_be_written_is_a_sentence(worker, settings, photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    _, [result] = process(worker, settings, photos / "1.png")
    assert result.error.startswith("A part has no results: ")


def test_photo_that_ends_the_program_is_left_out_at_last(worker, settings, photos, monkeypatch):
    """Attempts that end at a photo, as by a signal, leave notes of it."""

    class EndError(BaseException):
        pass

    usual = worker_module.predicted

    def end_at_second(predictor, items, *arguments):
        for work in usual(predictor, items, *arguments):
            if work.item.name.endswith("2.png"):
                raise EndError
            yield work

    monkeypatch.setattr(worker_module, "predicted", end_at_second)
    attempts = 0
    while True:
        attempts += 1
        try:
            _, [result] = process(worker, settings, photos, photos_per_part=20)
            break
        except EndError:
            assert not (Path(settings.out) / "photos").exists()
    assert attempts == result.attempt == 6  # three in batches, then two until the photo is known
    assert (result.photos, result.failed) == (8, 2)
    problems = {row["photo"]: row["problem"] for row in read(settings, "failed")}
    assert "ended the program twice" in problems[str(photos / "2.png")]
    assert not list((Path(settings.out) / "attempts").iterdir())


def test_notes_of_attempts_name_the_photo(tmp_path):
    store = Store(str(tmp_path))
    for number in (1, 2, 3):
        attempt = Attempt.begin(store, "k")
        assert (attempt.number, attempt.one_by_one) == (number, False)
    for index in (5, 5):
        attempt = Attempt.begin(store, "k")
        assert attempt.one_by_one and attempt.starts(index)
    attempt = Attempt.begin(store, "k")
    assert attempt.starts(4) and not attempt.starts(5)
    attempt.end()
    assert Attempt.begin(store, "k").number == 1


def test_parts_survive_json():
    [part] = build_parts(find_sources([__file__]), 3)
    assert Part.from_json(part.to_json()) == part
