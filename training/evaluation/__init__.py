"""Benchmarks: from a data set and weights to metrics, tables, plots, boxes and submissions.

`Benchmark` defines what is measured; `open_samples` returns its images with ground truth;
`evaluate` predicts all of them, on any number of processes, and stores records on disk;
`write_results` computes everything else from these.  May import `training.targets`,
`training.joints`, `training.synthetic`, `training.data`, `training.engine` and `aios`.
"""

from .benchmark_samples import open_samples
from .benchmarks import BENCHMARKS, Benchmark
from .results import write_results
from .run import RunOptions, evaluate
from .samples import EvaluationSample, GroundTruth

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "EvaluationSample",
    "GroundTruth",
    "RunOptions",
    "evaluate",
    "open_samples",
    "write_results",
]
