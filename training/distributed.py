"""Several processes that train one network; `torchrun` starts them.

On a CPU two processes of one thread are faster than one of two threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn


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
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_processes(value: float) -> float:
    """The mean of a number over all processes, the same in each of them."""
    if world_size() == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(tensor)
    return float(tensor) / world_size()


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes.

    A gradient that exists in some processes only counts as zero in the others; one that exists
    nowhere stays None, so that the optimiser leaves its parameter alone.
    """
    if world_size() == 1:
        return
    present = torch.tensor([float(p.grad is not None) for p in parameters])
    dist.all_reduce(present)
    used = [p for p, count in zip(parameters, present.tolist(), strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for parameter, part in zip(used, flat.split([g.numel() for g in gradients]), strict=True):
        parameter.grad = part.view_as(parameter).clone()
