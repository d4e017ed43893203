"""CUDA graphs: launch the hundreds of small kernels of a function as one.

A graph fits one set of input shapes. Shapes are captured when they occur for the second time, so a
single odd photo costs nothing; the graphs used last are kept. If capture fails, the function runs
uncaptured and one log line states the reason.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .tf32 import tf32
from .zero_gpu import on_zero_gpu

MAX_GRAPHS = 4
"""Each graph holds the memory of one run."""
_MAX_SEEN_ONCE = 64
"""Input shapes remembered before they are captured."""
_WARM_UP = 2
"""Runs before a capture, in which libraries select kernels and allocate memory."""

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]
"""Tensors to tensors, without synchronising with the device."""
_Key = tuple[tuple[tuple[int, ...], torch.dtype], ...]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CapturedRun:
    """One captured run of a function.

    Attributes:
        inputs: memory that `replay` reads.
        outputs: memory that `replay` overwrites.
        replay: runs the captured kernels.
    """

    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], None]


class Capturer:
    """Captures runs on a CUDA device.

    All runs of one capturer share their memory: only one may run at a time, and outputs must be
    read before the next run begins.
    """

    def __init__(self) -> None:
        """Memory is allocated by the first capture."""
        self._pool: Any = None

    def __call__(self, function: Function, inputs: Tensors) -> CapturedRun:
        """Capture one run."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        inputs = tuple(tensor.clone() for tensor in inputs)
        device = inputs[0].device
        current, warm_up = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        warm_up.wait_stream(current)
        with torch.cuda.stream(warm_up):
            for _ in range(_WARM_UP):
                function(*inputs)
        current.wait_stream(warm_up)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the same device during the capture.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = function(*inputs)
        return CapturedRun(inputs, outputs, graph.replay)


def cuda_graphs_available(device: torch.device) -> bool:
    """True on CUDA, except on ZeroGPU, which frees GPU memory after each call."""
    return device.type == "cuda" and not on_zero_gpu()


class CudaGraph:
    """A function that runs as a CUDA graph for the input shapes used last.

    Not thread-safe.
    """

    def __init__(
        self,
        function: Function,
        capturer: Callable[[Function, Tensors], CapturedRun] | None = None,
        max_graphs: int = MAX_GRAPHS,
        allow_tf32: bool = False,
    ) -> None:
        """Wrap a function.

        Args:
            function: what is run.
            capturer: may be shared by several functions, with its memory.
            max_graphs: number of graphs kept.
            allow_tf32: compute products of float32 numbers in TF32, see `tf32`.
        """
        self._function, self._capturer = function, capturer or Capturer()
        self._max_graphs = max_graphs
        self._products = True if allow_tf32 else None
        self._graphs: OrderedDict[_Key, CapturedRun] = OrderedDict()
        self._seen_once: OrderedDict[_Key, None] = OrderedDict()
        self._works = True

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Outputs of the function, in memory of their own."""
        graph = self._graph(inputs) if self._works else None
        if graph is None:
            with tf32(products=self._products):
                return self._function(*inputs)
        for target, tensor in zip(graph.inputs, inputs, strict=True):
            target.copy_(tensor)
        graph.replay()
        return tuple(tensor.clone() for tensor in graph.outputs)

    def _graph(self, inputs: Tensors) -> CapturedRun | None:
        key = tuple((tuple(tensor.shape), tensor.dtype) for tensor in inputs)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        if key not in self._seen_once:
            self._seen_once[key] = None
            if len(self._seen_once) > _MAX_SEEN_ONCE:
                self._seen_once.popitem(last=False)
            return None
        while len(self._graphs) >= self._max_graphs:
            self._graphs.popitem(last=False)
        try:
            with tf32(products=self._products):
                self._graphs[key] = self._capturer(self._function, inputs)
        except Exception as reason:  # noqa: BLE001 - whatever fails, the function still runs
            line = " ".join(f"{type(reason).__name__}: {reason}".split())[:200]
            _log.warning("The network runs without CUDA graphs: %s", line)
            self._works = False
            self._graphs.clear()
            return None
        return self._graphs[key]
