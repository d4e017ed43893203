"""Sampling by `embedding_bag` equals bilinear sampling, everywhere and in any batch."""

import pytest
import torch

from aios.accelerate.padded_levels import PaddedLevels
from aios.network.sampling import Sampling, sample_bilinear
from tests.helpers.sampling_cases import HEADS, POINTS, SHAPES, WIDTH, random_case, sample_by_loops

pytestmark = pytest.mark.usefixtures("one_thread")


def sample_by_bag(value, sampling):
    """`PaddedLevels.sample` with the arguments of `sample_bilinear`."""
    levels = PaddedLevels(SHAPES, HEADS, POINTS, value.dtype)
    sizes = torch.tensor([(w, h) for h, w in SHAPES], dtype=value.dtype)
    cells = sampling.locations.to(value.dtype) * sizes[:, None] - 0.5
    images = []
    for image, points, weights in zip(value, cells, sampling.weights, strict=True):
        (table,) = levels.tables(torch.Tensor.clone, image.flatten(1), None)
        x, y = (part.flatten(1) for part in points.unbind(-1))
        images.append(levels.sample(table, x, y, weights.flatten(1)))
    return torch.stack(images)


@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_samples_equal_those_of_loops(spread):
    value, sampling = random_case(spread=spread)
    torch.testing.assert_close(sample_by_bag(value, sampling), sample_by_loops(value, sampling))


@pytest.mark.parametrize("spread", [0.1, 0.7, 5.0, 1000.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_samples_equal_those_of_grid_sample(spread, dtype, tolerance):
    value, sampling = random_case(seed=1, spread=spread, dtype=dtype)
    actual, expected = sample_by_bag(value, sampling), sample_bilinear(value, SHAPES, sampling)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("location", [-0.5, 0.0, 1.0, 1.5, 3.0, -1e4, 1e7, -1e12, 1e30])
def test_edge_is_half_and_outside_is_zero(location):
    """Half of the last pixel is left half a pixel beyond its centre, nothing further out."""
    value, sampling = random_case()
    value = torch.ones_like(value)
    locations = torch.full_like(sampling.locations, 0.5)
    locations[..., 0] = location
    sampling = Sampling(locations, sampling.weights)
    samples = sample_by_bag(value, sampling)
    inside = 0.5 if location in (0.0, 1.0) else 0.0
    torch.testing.assert_close(samples, torch.full_like(samples, inside))
    if abs(location) < 1e5:  # `grid_sample` casts locations to integers, which overflow further out
        torch.testing.assert_close(samples, sample_bilinear(value, SHAPES, sampling))


def test_nan_locations_neither_crash_nor_reach_other_images():
    value, sampling = random_case()
    locations = sampling.locations.clone()
    locations[0, 0, 0, 0, 0] = torch.nan
    samples = sample_by_bag(value, Sampling(locations, sampling.weights))
    assert torch.isfinite(samples[1]).all()


def test_values_may_be_a_view():
    value, sampling = random_case()
    strided = torch.cat([value, value], -1)[..., :WIDTH]
    torch.testing.assert_close(sample_by_bag(strided, sampling), sample_by_bag(value, sampling))


def test_recorded_sampling_is_the_one_sampled():
    value, sampling = random_case()
    levels = PaddedLevels(SHAPES, HEADS, POINTS, value.dtype)
    sizes = torch.tensor([(w, h) for h, w in SHAPES], dtype=value.dtype)
    x, y = (sampling.locations * sizes[:, None] - 0.5)[0].unbind(-1)
    recorded = levels.sampling(x.flatten(1), y.flatten(1), sampling.weights[0].flatten(1))
    torch.testing.assert_close(recorded.locations, sampling.locations[:1])
    torch.testing.assert_close(recorded.weights, sampling.weights[:1])
