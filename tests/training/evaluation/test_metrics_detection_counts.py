"""Detection metrics against values computed by hand."""

import numpy as np
import pytest

from training.evaluation.metrics import DetectionCounts, match_greedily, pelvis_aligned_mm


def test_greedy_matching_is_one_to_one():
    wanted = np.array([[0.0, 0, 10, 10]])
    twice = np.array([[0.0, 0, 10, 9], [0, 0, 10, 10]])
    assert match_greedily(twice, wanted) == [(0, 0)]
    assert match_greedily(np.zeros((0, 4)), wanted) == []
    assert match_greedily(twice, np.zeros((0, 4))) == []


def test_pelvis_alignment_removes_translation():
    wanted = np.random.default_rng(0).normal(size=(5, 3))
    moved = wanted + 7
    assert pelvis_aligned_mm(moved, wanted, np.stack([moved[0], wanted[0]])) < 1e-9
    moved[1] += [0.005, 0, 0]
    gap = pelvis_aligned_mm(moved, wanted, np.stack([moved[0], wanted[0]]))
    assert gap == pytest.approx(1.0)


def test_summary():
    counts = DetectionCounts(found=3, missed=1, false_positives=2, vertex_errors_mm=[10.0, 30.0])
    metrics = counts.summary()
    assert (metrics["people"], metrics["precision"], metrics["recall"]) == (4, 0.6, 0.75)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert (metrics["mve_mm"], metrics["mpjpe_mm"]) == (20, 0)
    assert DetectionCounts().summary()["f1"] == 0
