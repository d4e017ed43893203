"""Batches from worker processes, also where shared memory is small.

PyTorch passes tensors between processes through `/dev/shm`, of which a container has 64 MB by
default.  When it is full, PyTorch drops the batch inside a thread of the worker and the main
process waits forever, so each worker here reserves the memory itself and falls back to a pipe.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import pickle
from collections.abc import Iterator

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from .batch import Batch

logger = logging.getLogger(__name__)


def load_batches(batches: Dataset[Batch], first: int, stride: int, workers: int) -> Iterator[Batch]:
    """Batches `first`, `first + stride`, ... without end.

    Args:
        batches: gives a batch for each number.
        first: number of the first batch.
        stride: step between numbers.
        workers: processes that make batches; 0 makes them in this process.
    """
    cv2.setNumThreads(1)
    loader = DataLoader(
        _Packed(batches),
        batch_size=None,
        sampler=itertools.count(first, stride),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_use_one_thread,
    )
    return _unpacked(iter(loader))


def _unpacked(loaded: Iterator[Batch | bytes]) -> Iterator[Batch]:
    """Start no later than the first call of `next`: workers already run."""
    warned = False

    def unpack(item: Batch | bytes) -> Batch:
        nonlocal warned
        if not isinstance(item, bytes):
            return item
        if not warned:
            logger.warning(
                "/dev/shm is full: batches go through a pipe, which is slower; "
                "enlarge it (docker run --shm-size=8g) or lower data.workers"
            )
            warned = True
        return pickle.loads(item)

    return map(unpack, loaded)


class _Packed(Dataset["Batch | bytes"]):
    """Batches in shared memory if it has room, else as bytes."""

    def __init__(self, batches: Dataset[Batch]) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> Batch | bytes:
        batch = self._batches[index]
        if get_worker_info() is None:
            return batch
        try:
            _share(batch)
        except RuntimeError:  # "unable to allocate shared memory"
            return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)
        return batch


def _share(value: object) -> None:
    """Move every tensor inside a tree of dataclasses into shared memory."""
    if isinstance(value, Tensor):
        value.share_memory_()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _share(getattr(value, field.name))


def _use_one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
