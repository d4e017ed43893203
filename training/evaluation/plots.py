"""Plots of a run: precision and recall over the threshold, errors by occlusion and size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .metrics import VERTICES, MetricValues
from .run import EvaluationRun
from .run_summary import RunSummary, by_property

_OCCLUSION = np.linspace(0, 90, 10)
_SIZE_BINS = 8
_FEWEST_PEOPLE = 2
_INCHES = (6.4, 4.2)
_DPI = 120
_LABEL_GAP = 0.08
"""Minimum distance of labelled points, in axis lengths."""
Point = tuple[float, float]


def write_plots(run: EvaluationRun, summary: RunSummary, folder: Path) -> list[Path]:
    """Write the plots as PNG files.

    Returns:
        Paths of the files.
    """
    drawn = [_write(folder / "precision_recall.png", lambda axes: _curve(axes, summary))]
    records = run.records[run.benchmark.headline.name]
    error = "pve_all" if run.benchmark.headline is VERTICES else "body_mve"
    images = records.images()
    known = np.concatenate([record.occlusion[record.valid] for record in images] or [[]])
    if np.isfinite(known).any():
        bars = by_property(records, summary.thresholds[0], error, "occlusion", _OCCLUSION)
        drawn.append(_bars(folder / "occlusion.png", _OCCLUSION, bars, "occlusion, percent", error))
    sizes = np.concatenate([record.size_px[record.valid] for record in images] or [[]])
    if len(sizes) >= _FEWEST_PEOPLE and sizes.min() < sizes.max():
        edges = np.geomspace(max(sizes.min(), 1.0), sizes.max(), _SIZE_BINS + 1)
        edges[0], edges[-1] = sizes.min(), sizes.max()
        bars = by_property(records, summary.thresholds[0], error, "size_px", edges)
        label = "longer side of the person, pixels"
        drawn.append(_bars(folder / "size.png", edges, bars, label, error))
    return drawn


def _write(path: Path, draw: Callable[[Any], None]) -> Path:
    """Write a figure with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    draw(figure.add_subplot())
    figure.savefig(path, dpi=_DPI)
    return path


def _curve(axes: Any, summary: RunSummary) -> None:  # noqa: ANN401 - matplotlib.axes.Axes, imported lazily
    points = [point for point in summary.sweep if point.get("found")]
    recall, precision = ([point[name] for point in points] for name in ("recall", "precision"))
    axes.plot(recall, precision, "o-", color="tab:blue", markersize=4)
    for point, position in _spaced([(p, (p["recall"], p["precision"])) for p in points]):
        axes.annotate(
            f"{point['threshold']:g}",
            position,
            textcoords="offset points",
            xytext=(6, 5),
            fontsize=8,
        )
    own = summary.main()
    axes.plot(*_coordinates(own), "*", color="tab:red", markersize=13)
    axes.set(
        xlim=(0, 1.06),
        ylim=(0, 1.06),
        xlabel="recall",
        ylabel="precision",
    )
    axes.set_title(
        f"{summary.benchmark}, by score threshold; star: {summary.thresholds[0]:g}, "
        f"F1 {own['f1']:.2f}",
        fontsize=10,
    )
    axes.grid(alpha=0.3)


def _spaced(points: list[tuple[MetricValues, Point]]) -> list[tuple[MetricValues, Point]]:
    """Points far enough from the previous one to be labelled."""
    labelled: list[tuple[MetricValues, Point]] = []
    for point, position in points:
        if not labelled or np.hypot(*np.subtract(position, labelled[-1][1])) > _LABEL_GAP:
            labelled.append((point, position))
    return labelled


def _coordinates(metrics: MetricValues) -> tuple[list[float], list[float]]:
    return [metrics["recall"]], [metrics["precision"]]


def _bars(
    path: Path,
    edges: np.ndarray,
    bars: tuple[np.ndarray, np.ndarray, np.ndarray],
    label: str,
    error: str,
) -> Path:
    """Plot the mean error as bars, recall as a line, and the number of people below each bar."""
    means, found, people = bars
    borders = zip(edges[:-1], edges[1:], people, strict=True)
    names = [f"{low:.0f}–{high:.0f}\n({count})" for low, high, count in borders]

    def draw(axes: Any) -> None:  # noqa: ANN401 - as above
        positions = np.arange(len(people))
        axes.bar(positions, np.nan_to_num(means), color="tab:blue", width=0.75)
        axes.set_xticks(positions, names, fontsize=7)
        axes.set_xlabel(f"{label} (number of people)")
        label_of_error = (
            error.replace("_", " ").upper().replace("BODY", "body").replace("ALL", "all")
        )
        axes.set_ylabel(f"{label_of_error} of people found, mm", color="tab:blue")
        shares = axes.twinx()
        shares.plot(positions, found, "o-", color="tab:orange", markersize=4)
        shares.set_ylim(0, 1.05)
        shares.set_ylabel("recall", color="tab:orange")

    return _write(path, draw)
