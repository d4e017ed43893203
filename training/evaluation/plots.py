"""Pictures of a run: precision and recall over the threshold, errors by occlusion and size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .figures import Summary, by_property
from .metrics import VERTICES, Figures
from .run import Measured

_OCCLUSION = np.linspace(0, 90, 10)
_SIZE_BINS = 8
_FEWEST_PEOPLE = 2
_INCHES = (6.4, 4.2)
_DPI = 120
_LABEL_GAP = 0.08
"""Of the axes' length."""
Place = tuple[float, float]


def write_plots(measured: Measured, summary: Summary, folder: Path) -> list[Path]:
    """Draw everything that the records know, as PNG files.

    Returns:
        The files.
    """
    drawn = [_write(folder / "precision_recall.png", lambda axes: _curve(axes, summary))]
    records = measured.records[measured.benchmark.headline.name]
    error = "pve_all" if measured.benchmark.headline is VERTICES else "body_mve"
    pictures = records.pictures()
    known = np.concatenate([record.occlusion[record.valid] for record in pictures] or [[]])
    if np.isfinite(known).any():
        bars = by_property(records, summary.thresholds[0], error, "occlusion", _OCCLUSION)
        drawn.append(_bars(folder / "occlusion.png", _OCCLUSION, bars, "hidden, percent", error))
    sizes = np.concatenate([record.size_px[record.valid] for record in pictures] or [[]])
    if len(sizes) >= _FEWEST_PEOPLE and sizes.min() < sizes.max():
        edges = np.geomspace(max(sizes.min(), 1.0), sizes.max(), _SIZE_BINS + 1)
        edges[0], edges[-1] = sizes.min(), sizes.max()
        bars = by_property(records, summary.thresholds[0], error, "size_px", edges)
        label = "longer side of the person, pixels"
        drawn.append(_bars(folder / "size.png", edges, bars, label, error))
    return drawn


def _write(path: Path, draw: Callable[[Any], None]) -> Path:
    """One picture with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    draw(figure.add_subplot())
    figure.savefig(path, dpi=_DPI)
    return path


def _curve(axes: Any, summary: Summary) -> None:  # noqa: ANN401 - matplotlib is not typed for us
    points = [point for point in summary.sweep if point.get("found")]
    recall, precision = ([point[name] for point in points] for name in ("recall", "precision"))
    axes.plot(recall, precision, "o-", color="tab:blue", markersize=4)
    for point, place in _apart([(p, (p["recall"], p["precision"])) for p in points]):
        axes.annotate(
            f"{point['threshold']:g}", place, textcoords="offset points", xytext=(6, 5), fontsize=8
        )
    own = summary.main()
    axes.plot(*_point(own), "*", color="tab:red", markersize=13)
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


def _apart(points: list[tuple[Figures, Place]]) -> list[tuple[Figures, Place]]:
    """Those far enough from the one before to be named."""
    named: list[tuple[Figures, Place]] = []
    for point, place in points:
        if not named or np.hypot(*np.subtract(place, named[-1][1])) > _LABEL_GAP:
            named.append((point, place))
    return named


def _point(figures: Figures) -> tuple[list[float], list[float]]:
    return [figures["recall"]], [figures["precision"]]


def _bars(
    path: Path,
    edges: np.ndarray,
    bars: tuple[np.ndarray, np.ndarray, np.ndarray],
    label: str,
    error: str,
) -> Path:
    """Mean error as bars, share of people found as a line, number of people under each bar."""
    means, found, people = bars
    borders = zip(edges[:-1], edges[1:], people, strict=True)
    names = [f"{low:.0f}–{high:.0f}\n({count})" for low, high, count in borders]

    def draw(axes: Any) -> None:  # noqa: ANN401 - as above
        places = np.arange(len(people))
        axes.bar(places, np.nan_to_num(means), color="tab:blue", width=0.75)
        axes.set_xticks(places, names, fontsize=7)
        axes.set_xlabel(f"{label} (number of people)")
        what = error.replace("_", " ").upper().replace("BODY", "body").replace("ALL", "all")
        axes.set_ylabel(f"{what} of those found, mm", color="tab:blue")
        shares = axes.twinx()
        shares.plot(places, found, "o-", color="tab:orange", markersize=4)
        shares.set_ylim(0, 1.05)
        shares.set_ylabel("share found", color="tab:orange")

    return _write(path, draw)
