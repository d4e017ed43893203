"""Plot the losses of runs over time: `python -m training.tools.curve RUN... --out PNG`.

Several runs are drawn one after the other, for runs that continue each other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..engine.training_log import LOG

PANELS = {
    "people": ("class", "dense_class", "box", "dense_box"),
    "keypoints": ("keypoints", "dense_keypoints", "dense_heat"),
    "pose": ("root", "dense_root", "body", "dense_body", "body_joints_3d"),
}
"""Panel title -> weighted losses drawn in it."""

Line = dict[str, float]


class CurveError(RuntimeError):
    """The log of a run is missing or empty."""


def read_runs(folders: Sequence[Path]) -> list[list[Line]]:
    """Log lines of each run; `minutes` continue from one run to the next.

    Raises:
        CurveError: a folder has no log, or an empty one.
    """
    runs, start = [], 0.0
    for folder in folders:
        try:
            text = (folder / LOG).read_text()
        except OSError as error:
            raise CurveError(f"{folder} does not hold {LOG}: name the folder of a run") from error
        lines = [json.loads(line) for line in text.splitlines()]
        if not lines:
            raise CurveError(f"{folder / LOG} is empty: the run has not reached its first log line")
        runs.append([line | {"minutes": start + line["minutes"]} for line in lines])
        start = runs[-1][-1]["minutes"]
    return runs


def draw(runs: Sequence[Sequence[Line]], path: Path) -> None:
    """Draw one panel per entry of `PANELS`, with gaps between runs and where a loss is absent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(PANELS), 3.2), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name in names:
            x: list[float] = []
            y: list[float] = []
            for run in runs:
                x += [line["minutes"] for line in run] + [run[-1]["minutes"]]
                y += [line.get(name, float("nan")) for line in run] + [float("nan")]
            axes.plot(x, y, label=name.replace("_", " "), linewidth=1)
        for run in runs[:-1]:
            axes.axvline(run[-1]["minutes"], color="0.8", linewidth=1, zorder=0)
        axes.set(title=title, xlabel="minutes", yscale="log")
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("weighted loss")
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if there is nothing to draw."""
    parser = argparse.ArgumentParser(prog="python -m training.tools.curve", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, in order")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    options = parser.parse_args(arguments)
    try:
        draw(read_runs(options.runs), options.out)
    except CurveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
