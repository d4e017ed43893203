"""How many processes and threads a folder of photos has use for on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from ..body.model import BodyModel
from ..predictor import AiOSPredictor
from .photo_results import SideBySide

_SMALL_SHORT_SIDE_PX = 512
"""Input sizes up to this one belong to networks that two threads do not make faster."""
_CONTROL_GROUP = Path("/sys/fs/cgroup")

# A process takes 0.7 GB with the built-in network (measured with 640x480 photos); the other numbers
# are estimates.
_SMALL_BYTES, _LARGE_BYTES = 1_000_000_000, 3_500_000_000
_SMALL_PHOTOS, _LARGE_PHOTOS = 40, 4
"""Photos for which another process saves more time than it takes to start."""
_MAX_PROCESSES = 64


def useful_processes(predictor: AiOSPredictor, photos: int) -> int:
    """Number of processes for a number of photos: at most one for each core that fits in memory."""
    small = has_small_network(predictor) or predictor.device.type != "cpu"
    per_process = _SMALL_PHOTOS if small else _LARGE_PHOTOS
    fitting = free_memory() // (_SMALL_BYTES if small else _LARGE_BYTES)
    return max(1, min(usable_cores(), fitting, photos // per_process, _MAX_PROCESSES))


def threads_of(predictor: AiOSPredictor, processes: int) -> int | None:
    """PyTorch threads of each process; None for no limit, with a GPU.

    A small network runs on one, whatever the number of processes, since the number of threads
    changes the last bits of the results.
    """
    if predictor.device.type != "cpu":
        return None
    return 1 if has_small_network(predictor) else max(1, usable_cores() // processes)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Run PyTorch on a number of threads; None changes nothing."""
    earlier = torch.get_num_threads()
    torch.set_num_threads(count or earlier)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)


def plan_processes(
    predictor: AiOSPredictor,
    processes: int,
    weights: str,
    body: Path | None,
    prepare: Callable[[], None] | None = None,
) -> SideBySide | None:
    """How a number of processes share the work; None for this one alone.

    On the CPU each has a copy of the predictor. A GPU is used by this process, and the others draw
    and encode.

    Args:
        predictor: of this process.
        processes: their number.
        weights: from which it was loaded; "auto" might find others a second time.
        body: from which its body was loaded.
        prepare: called in each process before anything else.
    """
    if processes == 1:
        return None
    load = None
    if predictor.device.type == "cpu":
        source = predictor.weights.name if weights == "auto" else weights
        sizes = predictor.input_sizes.items()
        size = next(name for name, image in sizes if image == predictor.image)
        load = partial(_load, source, body, predictor.speed, predictor.refine, size)
    threads = threads_of(predictor, processes) or 1
    return SideBySide(processes, threads, partial(BodyModel.load, body), load, prepare)


def _load(
    weights: str, body: Path | None, speed: Literal["exact", "fast"], refine: bool, input_size: str
) -> AiOSPredictor:
    loaded = AiOSPredictor.from_pretrained(weights, body, "cpu", speed, refine)
    return loaded.with_input_size(input_size)


def has_small_network(predictor: AiOSPredictor) -> bool:
    """Whether the network is a small one, like the built-in one."""
    return predictor.model.config.image.short_side <= _SMALL_SHORT_SIDE_PX


def usable_cores() -> int:
    """Cores that this process may use: its affinity and the limit of its control group."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # also without a limit, which is the word "max"
        quota, period = (_CONTROL_GROUP / "cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def free_memory() -> int:
    """Bytes that new processes can take; very many if unknown."""
    free = 1 << 50
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = (
            next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
        )
    with suppress(OSError, ValueError):
        limit, used = (
            int((_CONTROL_GROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
        free = min(free, max(0, limit - used))
    return free
