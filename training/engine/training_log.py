"""Log of a run: `log.jsonl`, TensorBoard, log messages and a progress bar."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from .distributed import gather, rank

logger = logging.getLogger(__name__)
LOG, _BOARD = "log.jsonl", "tensorboard"


class TrainingLog:
    """Means of all losses every few steps; only process 0 writes."""

    def __init__(self, folder: Path, step: int) -> None:
        """Continue at `step`: later lines, written by a run that was killed, are dropped."""
        self._path = folder / LOG
        self._sums: dict[str, Tensor] = {}
        self._steps, self._images, self._since = 0, 0, time.perf_counter()
        self._board: Any = None
        self._bar: Any = None
        if rank():
            return
        _drop_beyond(self._path, step)
        self._board = _open_board(folder / _BOARD, step)
        # None disables the bar where the output is not a terminal.
        self._bar = tqdm(total=1.0, disable=None, bar_format=_BAR)

    def add(self, losses: dict[str, Tensor], images: int) -> None:
        """Add the losses of one batch; the batches of a step add up."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._images += images

    def end_step(self, step: int, progress: float, every: int, state: dict[str, float]) -> None:
        """Move the progress bar; every `every` steps write means over these steps.

        Args:
            step: finished steps.
            progress: finished share of the run, 0-1.
            every: steps between two lines.
            state: further numbers to write, e.g. the learning rate.
        """
        self._steps += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"step {step}", refresh=False)
            self._bar.update(progress - self._bar.n)
        if step % every:
            return
        own = {name: float(value) / self._steps for name, value in self._sums.items()}
        own["images_per_second"] = self._images / max(time.perf_counter() - self._since, 1e-9)
        means = _summed(gather(own))
        rate = means.pop("images_per_second")
        self._sums, self._steps, self._images = {}, 0, 0
        self._since = time.perf_counter()
        if self._board is None:
            return
        state = {"images_per_second": rate, **state}
        parts = {**means, "total": sum(means.values())}
        line: dict[str, float] = {"step": step, **state, **parts}
        with self._path.open("a") as file:
            file.write(
                json.dumps({name: float(f"{value:.6g}") for name, value in line.items()}) + "\n"
            )
        for name, value in state.items():
            self._board.add_scalar(name, value, step)
        for name, value in parts.items():
            self._board.add_scalar(f"loss/{name}", value, step)
        logger.info(
            "step %d (%.1f %%), %.1f images/s, loss %.3f, gradient %.2f",
            *(step, 100 * progress, rate, parts["total"], state.get("norm", 0.0)),
        )

    def add_image(self, step: int, image: np.ndarray) -> None:
        """Write an RGB image (H, W, 3) uint8 to TensorBoard."""
        if self._board is not None:
            self._board.add_image(
                "annotation left, prediction right", image, step, dataformats="HWC"
            )

    def close(self) -> None:
        """Flush and close all files."""
        if self._board is not None:
            self._board.close()
            self._bar.close()


_BAR = "{percentage:5.1f} %|{bar}| {elapsed}, {remaining} left, {postfix}"


def _summed(parts: list[dict[str, float]]) -> dict[str, float]:
    """Sum by name; a process may lack a term."""
    names = sorted({name for part in parts for name in part})
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _open_board(folder: Path, step: int) -> Any:  # noqa: ANN401 - the class is imported below
    """TensorBoard's writer, without TensorFlow.

    TensorBoard imports TensorFlow where it is installed, and Mesa's software OpenGL then crashes
    in the same process.  If the module `notf` exists, TensorBoard uses its own stub instead.
    """
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def _drop_beyond(path: Path, step: int) -> None:
    """Keep the lines up to `step`; incomplete and unreadable lines are dropped."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if _step_of(line) <= step))


def _step_of(line: bytes) -> float:
    try:
        step = json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf
    return step if isinstance(step, int | float) else math.inf
