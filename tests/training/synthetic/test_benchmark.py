"""Definition of the synthetic test set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.synthetic import BENCHMARK_PARTS, BENCHMARK_SIZE_HW, benchmark_scene


def test_part_and_index_determine_the_scene() -> None:
    first, again = benchmark_scene("group", 3), benchmark_scene("group", 3)
    assert first.image.shape == (*BENCHMARK_SIZE_HW, 3)
    assert np.array_equal(first.image, again.image)
    assert torch.equal(first.targets.joints_3d, again.targets.joints_3d)
    assert not np.array_equal(first.image, benchmark_scene("group", 4).image)


def test_seed_gives_other_scenes_of_the_same_kind() -> None:
    test_set = benchmark_scene("group", 3)
    others = [benchmark_scene("group", 3, seed).image for seed in (1, 2, 1)]
    assert np.array_equal(others[0], others[2])
    assert not np.array_equal(others[0], test_set.image)
    assert not np.array_equal(others[0], others[1])


def test_parts_have_the_documented_number_of_people() -> None:
    assert sum(part.scenes for part in BENCHMARK_PARTS.values()) >= 500
    for name, part in BENCHMARK_PARTS.items():
        seen = [len(benchmark_scene(name, index).targets) for index in range(2)]
        assert max(seen) <= part.people[1]
        assert max(seen) >= part.people[0] - 2


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="single, group, crowd"):
        benchmark_scene("circus", 0)
    with pytest.raises(ValueError, match="0 to 199"):
        benchmark_scene("single", 200)
