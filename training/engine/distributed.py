"""Training in several processes started by `torchrun`.

PyTorch's DistributedDataParallel averages the gradients.  On a CPU, two processes of one thread
are faster than one process of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that `torchrun` started; does nothing in a single process.

    The group is destroyed at the end: a process that exits while gloo's threads run is sometimes
    aborted ("terminate called without an active exception").  A barrier before keeps processes
    from leaving while others still communicate.  After an error there is no barrier; `torchrun`
    ends the other processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    own = device()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def device() -> torch.device:
    """Device of this process: its own GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def rank() -> int:
    """Number of this process; 0 in a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def mean_over_processes(value: float) -> float:
    """Mean of a number over all processes."""
    if world_size() == 1:
        return value
    return float(sum_over_processes(torch.tensor(value, device=device()))) / world_size()


def gather(value: dict[str, float]) -> list[dict[str, float]]:
    """Values of all processes, by rank."""
    if world_size() == 1:
        return [value]
    found: list[dict[str, float]] = [{} for _ in range(world_size())]
    dist.all_gather_object(found, value)
    return found


def data_parallel(module: nn.Module) -> nn.Module:
    """Wrap `module` to average the gradients of all processes; a single process needs no wrapper.

    The parameters in use vary by step: some stages train parts of the network, and a batch
    without people has no bodies.  A parameter unused in all processes gets no gradient.
    """
    if world_size() == 1:
        return module
    own = [device()] if device().type == "cuda" else None
    # The forward pass does not use running statistics; those of process 0 are saved.
    return DistributedDataParallel(
        module, device_ids=own, forward_sync_buffers=False, find_unused_parameters=True
    )
