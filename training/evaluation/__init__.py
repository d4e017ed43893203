"""Benchmarks: from a data set's files and weights to tables, plots, boxes and submissions.

`Benchmark` says what is measured how; `open_cases` gives its pictures with their truth; `measure`
takes predictions of all of them, on any number of processes, and keeps records and answers on
disk; everything people read is made from these.
"""

from .benchmarks import BENCHMARKS, Benchmark
from .cases import Case, Truth
from .report import write_report
from .run import RunOptions, measure
from .sources import open_cases

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Case",
    "RunOptions",
    "Truth",
    "measure",
    "open_cases",
    "write_report",
]
