"""What a run tells while it goes on: figures, pictures, a bar with the time that is left."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from .distributed import gathered, rank

logger = logging.getLogger(__name__)
LOG, _BOARD = "log.jsonl", "tensorboard"


class Journal:
    """`log.jsonl`, TensorBoard files and the bar of a run; all but process 0 only give figures."""

    def __init__(self, folder: Path, step: int) -> None:
        """Continue at `step`: what a killed run wrote beyond it is dropped."""
        self._path = folder / LOG
        self._sums: dict[str, Tensor] = {}
        self._steps, self._pictures, self._since = 0, 0, time.perf_counter()
        self._board: Any = None
        self._bar: Any = None
        if rank():
            return
        _drop_beyond(self._path, step)
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / _BOARD), purge_step=step)
        # Only where somebody watches; a file of messages gets the lines below instead.
        self._bar = tqdm(total=1.0, disable=None, bar_format=_BAR)

    def add(self, losses: dict[str, Tensor], pictures: int) -> None:
        """Take in the parts of one batch's loss, which add up over the batches of a step."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._pictures += pictures

    def end_step(self, step: int, progress: float, every: int, known: dict[str, float]) -> None:
        """After each step: move the bar, and every so many steps write means.

        Args:
            step: steps done.
            progress: share of the run that is done, 0-1.
            every: steps between two lines.
            known: further figures of this moment.
        """
        self._steps += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"step {step}", refresh=False)
            self._bar.update(progress - self._bar.n)
        if step % every:
            return
        own = {name: float(value) / self._steps for name, value in self._sums.items()}
        own["pictures_s"] = self._pictures / max(time.perf_counter() - self._since, 1e-9)
        means = _added(gathered(own))
        rate = means.pop("pictures_s")
        self._sums, self._steps, self._pictures = {}, 0, 0
        self._since = time.perf_counter()
        if self._board is None:
            return
        known = {"pictures_s": rate, **known}
        parts = {**means, "total": sum(means.values())}
        line: dict[str, float] = {"step": step, **known, **parts}
        with self._path.open("a") as file:
            file.write(
                json.dumps({name: float(f"{value:.6g}") for name, value in line.items()}) + "\n"
            )
        for name, value in known.items():
            self._board.add_scalar(name, value, step)
        for name, value in parts.items():
            self._board.add_scalar(f"loss/{name}", value, step)
        logger.info(
            "step %d (%.1f %%), %.1f pictures/s, loss %.3f, gradient %.2f",
            *(step, 100 * progress, rate, parts["total"], known.get("norm", 0.0)),
        )

    def picture(self, step: int, image: np.ndarray) -> None:
        """Show an RGB picture (H, W, 3) uint8."""
        if self._board is not None:
            self._board.add_image("truth left, prediction right", image, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is still in memory."""
        if self._board is not None:
            self._board.close()
            self._bar.close()


_BAR = "{percentage:5.1f} %|{bar}| {elapsed}, {remaining} left, {postfix}"


def _added(parts: list[dict[str, float]]) -> dict[str, float]:
    """Sums by name; a term may be missing where nobody has it."""
    names = sorted({name for part in parts for name in part})
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _drop_beyond(path: Path, step: int) -> None:
    if not path.exists():
        return
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
