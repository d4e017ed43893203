"""A cluster of two workers on this machine: the rows of one process, also after a kill."""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from aios.cli import StartError
from aios.cluster import run as run_module
from aios.cluster.__main__ import main
from aios.cluster.join import prepare_ray
from aios.cluster.parts import build_parts
from aios.cluster.run import Resources, fitting_resources, ray_cluster, run_parts
from aios.cluster.sources import find_sources
from aios.cluster.worker import PartResult, PartWorker, WorkerSettings
from aios.pipelines.batches import PeopleLimits
from tests.helpers.served import free_port, save_photo
from tests.helpers.waiting import wait_until

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]

ROOT = Path(__file__).resolve().parents[2]
TWO_WORKERS = Resources(2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Ray with two CPUs in another process and folder, found by "auto"; all of it ends there."""
    head = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.ray_head"],
        cwd=tmp_path_factory.mktemp("head"),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
    with head, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", head.stdout.readline().strip())
        servers = ray_servers(head.pid)
        assert len(servers) == 2
        yield
        head.stdin.close()
        assert head.wait() == 0
    signal.signal(signal.SIGTERM, handler)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in servers))


def ray_servers(parent: int) -> list[int]:
    """Servers of Ray that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, name, _, parent_of_it = path.read_text().split()[:4]
        except (OSError, ValueError):  # it has just ended
            continue
        if name in ("(raylet)", "(gcs_server)") and int(parent_of_it) == parent:
            found.append(int(number))
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixteen photos, one of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(15):
        save_photo(folder / f"{index:02d}.png", 60 + index, 80)
    (folder / "broken.jpg").write_bytes(b"")
    return folder


def settings(out, weights):
    return WorkerSettings(str(out), str(weights), limits=PeopleLimits(0.0, 2))


def rows(out, table):
    """All rows of a table, in an order that does not depend on its files."""
    paths = sorted((Path(out) / table).glob("*.parquet"))
    found = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return sorted(found, key=lambda row: json.dumps([row["photo"], row.get("person")]))


def test_a_killed_worker_costs_no_row_and_doubles_none(cluster, photos, weights, tmp_path):
    parts = build_parts(find_sources([str(photos)]), 2)
    alone, worker = settings(tmp_path / "alone", weights), PartWorker()
    for part in parts:
        worker({"part": part.to_json(), "settings": alone.to_bytes()})
    results = []

    def kill_the_first(part):
        if not results:
            os.kill(part.pid, signal.SIGKILL)
        results.append(part)

    together = settings(tmp_path / "together", weights)
    with ray_cluster("auto"):
        job = run_parts(parts, together, TWO_WORKERS, kill_the_first)
    assert {part.key for part in results} == {part.key for part in parts}
    assert job.errors == []
    for table, count in {"people": 30, "photos": 15, "failed": 1}.items():
        found = rows(together.out, table)
        assert len(found) == count
        assert found == rows(alone.out, table)


def test_workers_fit_the_cluster(cluster):
    with ray_cluster("auto"):
        assert fitting_resources(None, None, None) == TWO_WORKERS
        assert fitting_resources(None, 2, None) == Resources(1, 2, 0.0)
        assert fitting_resources(5, 1, 0.0) == Resources(5, 1, 0.0)


def test_command_joins_a_cluster_of_another_folder(
    cluster, photos, weights, tmp_path, monkeypatch, caplog
):
    """Workers do not have the current folder of the command."""
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").symlink_to(photos)
    (tmp_path / "weights.safetensors").symlink_to(weights)
    options = ["--out", "out", "--weights", "weights.safetensors", "--max-people", "2"]
    assert main(["in/01.png", *options, "--address", "auto"]) == 0
    assert "1 parts on 1 workers of 1 CPUs" in caplog.text
    assert [row["photo"] for row in rows("out", "people")] == [f"{tmp_path}/in/01.png"] * 2


@pytest.fixture
def no_cluster(monkeypatch):
    """A machine without a cluster, whatever other programs run on it."""
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", cache(list))  # cleared by Ray
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)


@pytest.mark.parametrize(
    ("address", "environment", "sentence"),
    [
        ("auto", "", "No Ray cluster runs on this machine: start one with ray start --head"),
        ("auto", "127.0.0.1:{}", "No Ray cluster answers at "),
        ("auto", "ray://127.0.0.1:{}", "RAY_ADDRESS"),
        ("127.0.0.1:{}", "", "No Ray cluster answers at 127.0.0.1:"),
    ],
)
def test_missing_cluster_is_one_sentence(no_cluster, monkeypatch, address, environment, sentence):
    port = free_port()
    monkeypatch.setenv("RAY_ADDRESS", environment.format(port))
    with pytest.raises(StartError, match=sentence):
        prepare_ray(address.format(port))


def test_missing_cluster_or_input_removes_no_results(no_cluster, photos, weights, tmp_path, caplog):
    marker = tmp_path / "out" / "photos" / "earlier.parquet"
    marker.parent.mkdir(parents=True)
    marker.touch()
    options = ["--out", str(tmp_path / "out"), "--weights", str(weights), "--overwrite"]
    assert main([str(photos), *options, "--address", f"127.0.0.1:{free_port()}"]) == 2
    assert "No Ray cluster answers" in caplog.text
    assert main([str(tmp_path / "missing"), *options]) == 2
    assert f"There is no {tmp_path}/missing." in caplog.text
    assert marker.exists()


def test_cluster_that_refuses_is_one_sentence(monkeypatch):
    import ray

    def refuse(*_, **__):
        raise RuntimeError("Version mismatch: Ray 1\nPython 2")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr("aios.cluster.join.socket.create_connection", lambda *_: nullcontext())
    with pytest.raises(StartError, match=r"at 10.0.0.1:6379 cannot be joined \(Version mismatch"):
        with ray_cluster("10.0.0.1:6379"):
            pass


@pytest.fixture
def in_this_process(monkeypatch):
    """Parts of the command are processed by one worker in this process."""

    def results(parts, settings, resources):
        worker = PartWorker()
        for part in parts:
            row = {"part": part.to_json(), "settings": settings.to_bytes()}
            yield PartResult(**worker(row))

    monkeypatch.setattr(run_module, "_results", results)
    monkeypatch.setattr(run_module, "ray_cluster", lambda *_: nullcontext())
    monkeypatch.setattr(run_module, "fitting_resources", lambda *_: Resources(1))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.delenv("AIOS_SMPLX", raising=False)


def test_unusable_weights_end_the_job_with_one_sentence(
    in_this_process, photos, tmp_path, monkeypatch
):
    parts = build_parts(find_sources([str(photos)]), 2)
    missing = settings(tmp_path / "out", tmp_path / "missing.safetensors")
    with pytest.raises(StartError, match="No weights found"):
        run_parts(parts, missing, TWO_WORKERS)
    assert len(run_parts(parts[:2], missing, TWO_WORKERS).errors) == 2


def test_command_does_what_is_missing(in_this_process, photos, weights, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    options = ["--out", str(out), "--weights", str(weights), "--max-people", "2"]
    options += ["--workers", "1", "--photos-per-part", "8"]
    assert main([str(photos), *options]) == 1
    assert "15 photos with 30 people" in caplog.text
    assert "1 photos or videos failed" in caplog.text
    before = rows(out, "people")
    times = {path.name: path.stat().st_mtime_ns for path in (out / "people").iterdir()}
    assert len(before) == 30 and len(times) == 2
    caplog.clear()
    assert main([str(photos), *options]) == 0
    assert "Everything is finished" in caplog.text
    # A part whose marker is missing was not finished.
    marker = sorted((out / "photos").iterdir())[0]
    marker.unlink()
    assert main([str(photos), *options]) in (0, 1)
    assert "1 of 2 parts are left" in caplog.text
    assert rows(out, "people") == before
    changed = {
        path.name
        for path in (out / "people").iterdir()
        if path.stat().st_mtime_ns != times[path.name]
    }
    assert changed == {marker.name}
    caplog.clear()
    assert main([str(photos), *options, "--retry-failed"]) == 1
    assert "1 of 2 parts are left" in caplog.text
    assert rows(out, "people") == before and len(rows(out, "failed")) == 1
    assert main([str(photos), *options, "--max-people", "1"]) == 2
    assert "results of other weights, settings or version" in caplog.text
    assert json.loads((out / "dataset.json").read_text())["max_people"] == 2
    assert main([str(photos / "00.png"), *options, "--overwrite", "--max-people", "1"]) == 0
    assert len(rows(out, "people")) == 1 and rows(out, "failed") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["photos"],
        ["--out", "out"],
        ["photos", "--out", "out", "--workers", "0"],
        ["photos", "--out", "out", "--address", "ray://127.0.0.1:10001"],
        ["photos", "--out", "out", "--gpus-per-worker", "-1"],
        ["photos", "--out", "out", "--meshes", "fbx"],
    ],
)
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_missing_package_is_one_sentence(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert 'There is no package ray: pip install ".[cluster]".' in caplog.text
