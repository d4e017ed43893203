"""Inputs and results in stores: S3 by a local server, others by a store in memory."""

import io
import tarfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from moto.server import ThreadedMotoServer

from aios.cluster.parts import build_parts
from aios.cluster.sources import find_sources
from aios.cluster.store import Store
from aios.cluster.worker import PartResult, PartWorker, WorkerSettings
from aios.pipelines.batches import PeopleLimits
from tests.helpers.clips import make_clip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def s3():
    """Address of a bucket of a server on this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.fixture(params=["s3", "gs", "hf"])
def place(request):
    """Address of a store; those of Google and Hugging Face are kept in memory."""
    scheme = request.param
    if scheme == "s3":
        yield request.getfixturevalue("s3")
        return

    class Service(MemoryFileSystem):
        protocol = (scheme,)
        store, pseudo_dirs = {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix(f"{scheme}:/"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_registry, scheme, Service)
        yield f"{scheme}:///datasets/user/name"  # as such a store names its files


def process(location, out, weights):
    settings = WorkerSettings(out, str(weights), limits=PeopleLimits(0.0, 2))
    worker = PartWorker()
    rows = [
        {"part": part.to_json(), "settings": settings.to_bytes()}
        for part in build_parts(find_sources([location]), 20)
    ]
    return [PartResult(**worker(row)) for row in rows]


def test_photos_archives_videos_lists_and_results_in_a_store(place, photos, weights, tmp_path):
    files, root = fsspec.core.url_to_fs(place)
    make_clip(tmp_path / "clip.mp4", 4, (96, 64))
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        archive.add(photos / "1.png", "one.png")
    contents = {path.name: path.read_bytes() for path in photos.glob("*.png")}
    contents |= {"shard.tar": shard.getvalue(), "clip.mp4": (tmp_path / "clip.mp4").read_bytes()}
    for name, content in contents.items():
        files.pipe_file(f"{root}/in/{name}", content)
    out = f"{place}/out"
    results = process(f"{place}/in", out, weights)
    assert [result.error for result in results] == [""] * 3
    assert [(result.photos, result.failed) for result in results] == [(8, 0), (4, 0), (1, 0)]
    store = Store(out)
    names = sorted(store.column("photos", "photo"))
    assert names == sorted(
        [*(f"{place}/in/{i}.png" for i in range(8)), f"{place}/in/shard.tar#one.png"]
    )
    assert len(list(store.column("people", "photo"))) == 18
    assert list(store.column("videos", "video")) == [f"{place}/in/clip.mp4"]
    assert [result.attempt for result in process(f"{place}/in", out, weights)] == [0, 0, 0]
    table = io.BytesIO()
    pq.write_table(pa.table({"url": [f"{place}/in/2.png", "missing.png"]}), table)
    files.pipe_file(f"{root}/list.parquet", table.getvalue())
    [result] = process(f"{place}/list.parquet", f"{place}/listed", weights)
    assert (result.photos, result.failed) == (1, 1)
    store.drop_everything()
    assert store.finished() == set()
