"""CUDA graphs: the hundreds of small kernels of a network, started as one.

A graph fits one size of input.  A size is recorded when it comes for the second time, so that a
photo of its own pays nothing, and the sizes used last are kept.  What cannot be recorded runs as
before, and one line of the log says why.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .zero_gpu import on_zero_gpu

KEPT = 4
"""Recorded sizes; each holds the memory of one run of the network."""
_REMEMBERED = 64
"""Sizes of which it is known that they came once."""
_WARM_UP = 2
"""Runs before one is recorded, in which libraries choose their ways and ask for their memory."""

Tensors = tuple[Tensor, ...]
Network = Callable[..., Tensors]
"""Takes tensors and gives some; asks nothing of their device."""
_Key = tuple[tuple[tuple[int, ...], torch.dtype], ...]

_log = logging.getLogger(__name__)

_NOT_REPLAYED = threading.Lock()
"""Held while kernels are chosen, so that nobody's products are rounded as somebody else's are."""


@dataclass(frozen=True)
class Recording:
    """One recorded run.

    Attributes:
        given: is read by `replay`.
        answer: is overwritten by `replay`.
        replay: runs again what was recorded.
    """

    given: Tensors
    answer: Tensors
    replay: Callable[[], None]


@contextmanager
def rounded_products(rounded: bool) -> Iterator[None]:
    """Products of float32 round what they multiply to 11 bits (TF32), if so wished.

    Tensor cores do them many times as fast, and sums stay float32.  The setting is that of the
    whole process, and as before afterwards.
    """
    setting = torch.backends.cuda.matmul
    before = setting.allow_tf32
    setting.allow_tf32 = rounded or before
    try:
        yield
    finally:
        setting.allow_tf32 = before


class Recorder:
    """Records runs on a CUDA device.

    All of them work in the same memory, so no two may run at once, nor may an answer be read
    after another run has begun.
    """

    def __init__(self) -> None:
        """Memory is asked for with the first recording."""
        self._pool: Any = None

    def __call__(self, network: Network, given: Tensors) -> Recording:
        """Record one run."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        given = tuple(tensor.clone() for tensor in given)
        device = given[0].device
        here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                network(*given)
        here.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may pose bodies on the same device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            answer = network(*given)
        return Recording(given, answer, graph.replay)


def allowed(device: torch.device) -> bool:
    """On a CUDA device of one's own; on ZeroGPU memory is gone after each call."""
    return device.type == "cuda" and not on_zero_gpu()


class Recorded:
    """A network that is recorded for the sizes it meets most lately.

    Not for more than one thread at a time.
    """

    def __init__(
        self,
        network: Network,
        recorder: Callable[[Network, Tensors], Recording] | None = None,
        kept: int = KEPT,
        rounded: bool = False,
    ) -> None:
        """Run a network.

        Args:
            network: what is run.
            recorder: several may share one and its memory.
            kept: sizes at most.
            rounded: see `rounded_products`.
        """
        self._network, self._recorder, self._kept = network, recorder or Recorder(), kept
        self._rounded = rounded
        self._recordings: OrderedDict[_Key, Recording] = OrderedDict()
        self._came_once: OrderedDict[_Key, None] = OrderedDict()
        self._works = True

    def __call__(self, *given: Tensor) -> Tensors:
        """What the network answers, in memory of its own."""
        recording = self._recording(given) if self._works else None
        if recording is None:
            with _NOT_REPLAYED, rounded_products(self._rounded):
                return self._network(*given)
        for own, tensor in zip(recording.given, given, strict=True):
            own.copy_(tensor)
        recording.replay()
        return tuple(tensor.clone() for tensor in recording.answer)

    def _recording(self, given: Tensors) -> Recording | None:
        key = tuple((tuple(tensor.shape), tensor.dtype) for tensor in given)
        if key in self._recordings:
            self._recordings.move_to_end(key)
            return self._recordings[key]
        if key not in self._came_once:
            self._came_once[key] = None
            if len(self._came_once) > _REMEMBERED:
                self._came_once.popitem(last=False)
            return None
        while len(self._recordings) >= self._kept:
            self._recordings.popitem(last=False)
        try:
            with _NOT_REPLAYED, rounded_products(self._rounded):
                self._recordings[key] = self._recorder(self._network, given)
        except Exception as reason:  # noqa: BLE001 - whatever it is, the network still runs
            line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
            _log.warning("The network runs without CUDA graphs: %s", line)
            self._works = False
            self._recordings.clear()
            return None
        return self._recordings[key]
