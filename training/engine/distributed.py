"""Several processes that train one network; `torchrun` starts them.

Gradients are averaged by PyTorch's DistributedDataParallel; here is what goes around it.  On a CPU
two processes of one thread are faster than one of two threads.
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
def joined() -> Iterator[None]:
    """Be one of the processes that `torchrun` started; nothing to do where there are none.

    Leaving takes the group down: a process that ends with gloo's threads still running is
    aborted now and then ("terminate called without an active exception"). Nobody leaves before
    all are done, so that no process takes away what another still waits for; an error leaves
    at once, and `torchrun` then ends the others.
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
    """What this process computes on: its own GPU of the machine's, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place, the same in each of them."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def mean_over_processes(value: float) -> float:
    """The mean of a number over all processes, the same in each of them."""
    if world_size() == 1:
        return value
    return float(sum_over_processes(torch.tensor(value, device=device()))) / world_size()


def gathered(value: dict[str, float]) -> list[dict[str, float]]:
    """What every process gives, in the order of their numbers."""
    if world_size() == 1:
        return [value]
    found: list[dict[str, float]] = [{} for _ in range(world_size())]
    dist.all_gather_object(found, value)
    return found


def parallel(module: nn.Module) -> nn.Module:
    """`module` so that every backward pass averages the gradients of all processes.

    Which parameters a step reaches differs: stages train parts of the network, and a batch
    without people teaches no bodies.  A parameter that a step reaches nowhere keeps no gradient.
    """
    if world_size() == 1:
        return module
    own = [device()] if device().type == "cuda" else None
    # Running statistics do not enter training; those of process 0 are kept.
    return DistributedDataParallel(
        module, device_ids=own, forward_sync_buffers=False, find_unused_parameters=True
    )
