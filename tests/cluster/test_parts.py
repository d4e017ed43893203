"""Inputs of the cluster: lists, tables, addresses; parts, and what is left of them."""

import http.server
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aios.cli import StartError
from aios.cluster import sources as sources_module
from aios.cluster.parts import build_parts, unfinished_parts
from aios.cluster.sources import Source, find_sources, read_source
from aios.media.photo import PhotoError


def locations(*inputs):
    return [(source.location, source.kind) for source in find_sources(map(str, inputs))]


def test_folder_stands_for_all_files_below_it(photos):
    (photos / "shard.tar").write_bytes(b"")
    (photos / "clip.MP4").write_bytes(b"")
    found = locations(photos)
    assert [location.removeprefix(f"{photos}/") for location, _ in found] == [
        *(f"{index}.png" for index in range(8)),
        "broken.jpg",
        "clip.MP4",
        "more/a.png",
        "shard.tar",
    ]
    assert dict(found)[f"{photos}/shard.tar"] == "archive"
    assert dict(found)[f"{photos}/clip.MP4"] == "video"


def test_list_of_locations_is_relative_to_its_folder(tmp_path):
    lines = "a.jpg\n\n  ../b.png \nhttps://example.org/c?size=2\n/d/e.tar\ns3://bucket/f.mp4\n"
    (tmp_path / "list.txt").write_text(lines)
    assert locations(tmp_path / "list.txt") == [
        (f"{tmp_path}/a.jpg", "photo"),
        (f"{tmp_path.parent}/b.png", "photo"),
        ("https://example.org/c?size=2", "photo"),
        ("/d/e.tar", "archive"),
        ("s3://bucket/f.mp4", "video"),
    ]


def test_parquet_list_may_name_its_photos(tmp_path):
    table = pa.table({"id": [7, 8], "url": ["https://example.org/a.jpg", "b.jpg"], "x": [0, 1]})
    pq.write_table(table, tmp_path / "list.parquet")
    found = list(find_sources([str(tmp_path / "list.parquet")]))
    assert [(source.name, source.location) for source in found] == [
        ("7", "https://example.org/a.jpg"),
        ("8", f"{tmp_path}/b.jpg"),
    ]
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(StartError, match="none of the columns location, url, path, photo"):
        list(find_sources([str(tmp_path / "other.parquet")]))


@pytest.mark.parametrize("location", ["missing", "missing.txt", "unknown://a/b", "memory://none"])
def test_input_that_cannot_be_listed_is_one_sentence(location, tmp_path):
    if "://" not in location:
        location = str(tmp_path / location)
    if location == "memory://none":  # of a store, only reading tells
        assert len(list(find_sources([location]))) == 1
        return
    with pytest.raises(StartError):
        list(find_sources([location]))


def test_name_that_is_not_utf8_can_be_stored(tmp_path):
    (tmp_path / "M\udcfcnchen.png").write_bytes(b"")
    [source] = find_sources([str(tmp_path)])
    assert source.name == f"{tmp_path}/M\\udcfcnchen.png"
    assert source.location == f"{tmp_path}/M\udcfcnchen.png"


@pytest.fixture
def site(tmp_path):
    """Address of a local web server with `a.jpg`, which fails at the first request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        requests: list[str] = []

        def do_GET(self):
            self.requests.append(self.path)
            is_there = self.path == "/a.jpg"
            status = 404 if not is_there else 503 if len(self.requests) == 1 else 200
            self.send_response(status)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"photo")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler.requests
    server.shutdown()
    thread.join()
    server.server_close()


def test_remote_photo_is_tried_again(site, monkeypatch):
    monkeypatch.setattr(sources_module, "_SECONDS_BETWEEN_TRIES", 0)
    address, requests = site
    assert read_source(Source("a", f"{address}/a.jpg", "photo")) == b"photo"
    assert len(requests) > 1
    with pytest.raises(PhotoError, match="b does not exist"):
        read_source(Source("b", f"{address}/b.jpg", "photo"))


def test_remote_photo_that_is_too_large_is_refused(site, monkeypatch):
    monkeypatch.setattr(sources_module, "_SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(sources_module, "MAX_FILE_BYTES", 4)
    with pytest.raises(PhotoError, match="a has more than"):
        read_source(Source("a", f"{site[0]}/a.jpg", "photo"))


def sources(*names, kind="photo"):
    return [Source(name, f"/in/{name}", kind) for name in names]


def names(parts):
    return ["".join(source.name for source in part.sources) for part in parts]


def test_parts_have_a_number_of_photos_or_one_archive():
    parts = build_parts([*sources("t", kind="archive"), *sources(*"abcadeb")], 2)
    assert names(parts) == ["ab", "cd", "e", "t"]
    assert len({part.key for part in parts}) == 4
    assert [part.key.partition("-")[0] for part in parts] == [*["photos"] * 3, "archive"]
    assert [part.key for part in build_parts(sources(*"abcde"), 2)] == [p.key for p in parts[:3]]


def test_second_run_has_the_parts_that_are_left():
    parts = build_parts(sources(*"abcdef"), 2)
    finished = {parts[1].key}
    left = unfinished_parts(parts, finished, iter(()))
    assert names(left) == ["ab", "ef"]
    assert unfinished_parts(parts, {part.key for part in parts}, iter(())) == []


def test_photos_that_were_added_to_the_input_do_not_repeat_the_others():
    earlier = build_parts(sources(*"bcdf"), 2)
    parts = build_parts([*sources(*"abcdefg"), *sources("t", kind="archive")], 2)
    left = unfinished_parts(parts, {part.key for part in earlier}, iter("bcdf"))
    assert names(left) == ["ae", "g", "t"]
    finished = {part.key for part in [*earlier, left[0]]}
    again = unfinished_parts(parts, finished, iter("bcdfae"))
    assert [part.key for part in again] == [part.key for part in left[1:]]
