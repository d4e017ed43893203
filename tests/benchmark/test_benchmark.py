"""Report of the benchmark, including failed measurements; nothing is timed here."""

import numpy as np

from tests.benchmark.difference import _pairs
from tests.benchmark.report import PARTS, head, machine, markdown, plot


def results():
    good = {
        "input": "512x853",
        "parts": dict.fromkeys(PARTS, 0.25),
        "total": 1.75,
        "cpu": 3.0,
        "peak_gb": 1.2,
    }
    parts = [
        {"size": size, "device": "cpu", "wish": speed, "speed": speed, "pixels": pixels} | good
        for size, pixels in (("512", 4e5), ("800", 1e6), ("builtin", 1e5))
        for speed in ("exact", "fast")
    ]
    parts.append({"size": "800", "device": "cuda", "wish": "fast", "failed": "no GPU here"})
    pair = {
        "size": "800",
        "ways": ["fast", "exact"],
        "seconds": [2.0, 5.0],
        "cpu_seconds": [4.0, 8.0],
        "ratio_of_seconds": 2.5,
        "ratio_of_cpu_seconds": 2.0,
    }
    return {
        "machine": machine(2),
        "load": 0.1,
        "parts": parts,
        "pairs": [pair, {"size": "512", "failed": "out of memory"}],
        "crowd": {"exact": {"people": [1, 50], "seconds": [1.0, 2.0]}, "fast": {"failed": "no"}},
        "others": {"page": 4.2, "help": None, "overlay gl": {"first": 0.5, "seconds": 0.09}},
    }


def test_tables_contain_all_results_and_failures():
    text = markdown(results())
    assert head(results()) in text
    for words in ("no GPU here", "out of memory", "| 2.50 | 2.00 |", "seconds 0.090", "4.200"):
        assert words in text
    tables = [line for line in text.splitlines() if line.startswith("| official 512 | 512x853")]
    assert len(tables) == 2


def test_plot_writes_a_png(tmp_path):
    path = tmp_path / "plot.png"
    plot(results(), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_pairs_are_one_to_one_by_best_overlap():
    first = np.array([[0, 0, 10, 10], [100, 100, 120, 120]], float)
    second = np.array([[0, 0, 10, 9], [1, 0, 11, 10], [300, 0, 310, 10]], float)
    assert _pairs(first, second) == [(0, 0)]
    assert _pairs(first, second[:0]) == []
