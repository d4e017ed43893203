"""Worker processes deliver every batch, whatever the size of shared memory."""

import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_batch
from training.data.loader import load_batches

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[3]


class Numbered(torch.utils.data.Dataset):
    """One fixed batch; its number stands in the first pixel."""

    def __init__(self, side: int = 64) -> None:
        self._batch = random_batch(BodyModel.load(), (2, 1))
        self._side = side

    def __getitem__(self, index: int):
        pictures = torch.zeros(2, 3, self._side, self._side, dtype=torch.uint8)
        pictures[0, 0, 0, 0] = index
        return replace(self._batch, pictures=pictures)


def first_pixels(loaded, count: int) -> list[int]:
    return [int(next(loaded).pictures[0, 0, 0, 0]) for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order(workers):
    assert first_pixels(load_batches(Numbered(), 3, 2, workers), 6) == [3, 5, 7, 9, 11, 13]


def test_full_shared_memory_is_replaced_by_a_pipe(monkeypatch, caplog):
    def refuse(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    batches = Numbered()
    loaded = load_batches(batches, 0, 1, 2)
    with caplog.at_level("WARNING"):
        received = [next(loaded) for _ in range(4)]
    for number, batch in enumerate(received):
        wanted = batches[number]
        assert torch.equal(batch.pictures, wanted.pictures)
        assert torch.equal(batch.targets.boxes, wanted.targets.boxes)
        assert batch.focal_length == wanted.focal_length
    assert [record.message.split(":")[0] for record in caplog.records] == ["/dev/shm is full"]


def can_mount() -> bool:
    """Whether this process may mount a file system of its own, as root in a namespace."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces")
def test_a_small_dev_shm_does_not_stop_a_run():
    """40 batches of 6 MB, 4 prefetched by each of 2 workers, in 8 MB of shared memory."""
    code = textwrap.dedent(
        """
        import logging, time
        from tests.training.data.test_loader import Numbered, first_pixels, load_batches
        logging.basicConfig(format="%(message)s")
        loaded = load_batches(Numbered(side=1000), 0, 1, 2)
        first = first_pixels(loaded, 1)
        time.sleep(2)  # the workers fill their queues
        assert first + first_pixels(loaded, 39) == list(range(40))
        """
    )
    small = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", small, "sh", sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "/dev/shm is full" in done.stderr
