"""Deformable attention: both ways of sampling agree everywhere, and with a sum done by hand."""

import pytest
import torch

from aios.network.deformable_attention import DeformableAttention, scale_to_levels
from aios.network.outputs import EncodedImage
from aios.network.sampling import Sampling, sample_by_bag, sample_by_grid

SHAPES = ((5, 7), (3, 4), (1, 1))
BATCH, QUERIES, HEADS, POINTS, WIDTH = 2, 6, 3, 4, 5


def random_case(seed=0, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(h * w for h, w in SHAPES)
    shape = (BATCH, QUERIES, HEADS, len(SHAPES), POINTS)
    value = torch.randn(BATCH, tokens, HEADS, WIDTH, generator=generator, dtype=dtype)
    places = torch.randn(*shape, 2, generator=generator, dtype=dtype) * spread + 0.5
    weights = torch.rand(shape, generator=generator, dtype=dtype)
    return value, Sampling(places, weights / weights.sum((-1, -2), keepdim=True))


def by_hand(value, sampling):
    """One place after the other, one pixel after the other."""
    result = torch.zeros(BATCH, QUERIES, HEADS, WIDTH, dtype=value.dtype)
    start = 0
    for level, (h, w) in enumerate(SHAPES):
        for index in torch.cartesian_prod(*map(torch.arange, result.shape[:3])):
            b, q, head = index.tolist()
            for point in range(POINTS):
                x, y = sampling.locations[b, q, head, level, point].tolist()
                weight = sampling.weights[b, q, head, level, point]
                for row in range(h):
                    for column in range(w):
                        near = max(0.0, 1 - abs(x * w - 0.5 - column))
                        near *= max(0.0, 1 - abs(y * h - 0.5 - row))
                        if near:
                            pixel = value[b, start + row * w + column, head]
                            result[b, q, head] += weight * near * pixel
        start += h * w
    return result.flatten(2)


@pytest.mark.parametrize("sample", [sample_by_grid, sample_by_bag])
@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_sampling_is_the_rule(sample, spread):
    value, sampling = random_case(spread=spread)
    torch.testing.assert_close(sample(value, SHAPES, sampling), by_hand(value, sampling))


def test_middle_of_a_pixel_is_that_pixel():
    value, sampling = random_case()
    token = torch.arange(35).view(5, 7)[3, 2]
    places = torch.tensor([2.5 / 7, 3.5 / 5], dtype=torch.float64).expand_as(sampling.locations)
    weights = torch.zeros_like(sampling.weights)
    weights[..., 0, 1] = 1.0
    for sample in (sample_by_grid, sample_by_bag):
        result = sample(value, SHAPES, Sampling(places, weights)).unflatten(-1, (HEADS, WIDTH))
        torch.testing.assert_close(result[1, 4], value[1, token])


@pytest.mark.parametrize("place", [-0.5, 0.0, 1.0, 1.5, 3.0, -1e4, 1e7, -1e12, 1e30])
def test_outside_is_zero_and_the_edge_is_half_way(place):
    """Half a pixel beyond the last centre half of it is left; further out nothing is."""
    value, sampling = random_case()
    value = torch.ones_like(value)
    places = torch.full_like(sampling.locations, 0.5)
    places[..., 0] = place
    sampling = Sampling(places, sampling.weights)
    bag, grid = (sample(value, SHAPES, sampling) for sample in (sample_by_bag, sample_by_grid))
    assert torch.isfinite(bag).all()
    inside = 0.5 if place in (0.0, 1.0) else 0.0
    torch.testing.assert_close(bag, torch.full_like(bag, inside))
    if abs(place) < 1e5:  # `grid_sample` casts places to integers, which overflows far outside
        torch.testing.assert_close(bag, grid)


@pytest.mark.parametrize("spread", [0.1, 0.7, 5.0, 1000.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_bag_equals_grid(spread, dtype, tolerance):
    value, sampling = random_case(seed=1, spread=spread, dtype=dtype)
    bag, grid = (sample(value, SHAPES, sampling) for sample in (sample_by_bag, sample_by_grid))
    assert bag.dtype == dtype
    torch.testing.assert_close(bag, grid, atol=tolerance, rtol=0)


def test_places_that_are_no_numbers_do_not_crash():
    value, sampling = random_case()
    places = sampling.locations.clone()
    places[0, 0, 0, 0, 0] = torch.nan
    bag = sample_by_bag(value, SHAPES, Sampling(places, sampling.weights))
    assert torch.isfinite(bag[1]).all()


def test_value_may_be_a_view():
    value, sampling = random_case()
    strided = torch.cat([value, value], -1)[..., :WIDTH]
    torch.testing.assert_close(
        sample_by_bag(strided, SHAPES, sampling), sample_by_bag(value, SHAPES, sampling)
    )


def test_gradients_of_the_differentiable_way():
    value, sampling = random_case(seed=2, spread=0.3)
    value, places = value[:1, :, :1, :2], sampling.locations[:1, :2, :1, :, :2]
    weights = sampling.weights[:1, :2, :1, :, :2]
    inputs = [x.clone().requires_grad_() for x in (value, places, weights)]
    assert torch.autograd.gradcheck(
        lambda v, p, w: sample_by_grid(v, SHAPES, Sampling(p, w)), inputs
    )


def test_gradients_flow_in_training_and_not_in_inference():
    attn = DeformableAttention(12, 3, len(SHAPES), POINTS)
    tokens = torch.randn(1, sum(h * w for h, w in SHAPES), 12)
    queries = torch.randn(1, 4, 12)

    def run():
        sampling = attn.around_points(queries, torch.full((1, 4, 3, 2), 0.4), SHAPES)
        return attn.gather(attn.value(tokens, None), SHAPES, sampling)

    trained = run()
    trained.sum().backward()
    assert attn.sampling_offsets.bias.grad.abs().sum() > 0
    with torch.inference_mode():
        torch.testing.assert_close(run(), trained.detach(), atol=1e-6, rtol=0)


def test_weights_sum_to_one_over_levels_and_points():
    attn = DeformableAttention(12, 3, 2, 4)
    torch.nn.init.normal_(attn.attention_weights.weight)
    weights = attn.weights(torch.randn(2, 5, 12))
    assert weights.shape == (2, 5, 3, 2, 4)
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(2, 5, 3))


def test_first_rays():
    """Head 0 looks right, head H / 4 down; point n is n steps away; all levels alike."""
    attn = DeformableAttention(32, 8, 2, 4)
    offsets = attn.offsets(torch.zeros(1, 1, 32))[0, 0]
    for point in range(4):
        steps = float(point + 1)
        torch.testing.assert_close(offsets[0, :, point], torch.tensor([[steps, 0.0]] * 2))
        torch.testing.assert_close(offsets[2, :, point], torch.tensor([[0.0, steps]] * 2))
    diagonal = torch.full((2, 2), 1.0)
    torch.testing.assert_close(offsets[1, :, 0], diagonal)


def test_offsets_count_in_cells_around_points_and_in_half_boxes_around_boxes():
    attn = DeformableAttention(8, 1, 2, 2)
    torch.nn.init.zeros_(attn.sampling_offsets.bias)
    with torch.no_grad():
        attn.sampling_offsets.bias.view(1, 2, 2, 2)[..., 0] = 1.0  # one step to the right
    queries = torch.zeros(1, 1, 8)
    shapes = ((10, 20), (5, 8))
    places = attn.around_points(queries, torch.full((1, 1, 2, 2), 0.5), shapes).locations
    torch.testing.assert_close(places[0, 0, 0, 0, 0], torch.tensor([0.5 + 1 / 20, 0.5]))
    torch.testing.assert_close(places[0, 0, 0, 1, 0], torch.tensor([0.5 + 1 / 8, 0.5]))
    box = torch.tensor([0.5, 0.5, 0.4, 0.2]).expand(1, 1, 2, 4)
    places = attn.around_boxes(queries, box).locations
    # 2 points: 2 steps make half the box of 0.4.
    torch.testing.assert_close(places[0, 0, 0, 0, 0], torch.tensor([0.5 + 0.1, 0.5]))


def test_padding_has_no_value():
    attn = DeformableAttention(8, 2, 1, 1)
    tokens, mask = torch.randn(1, 4, 8), torch.tensor([[False, False, True, True]])
    value = attn.value(tokens, mask)
    assert value.shape == (1, 4, 2, 4)
    assert not value[:, 2:].any()
    assert value[:, :2].any()


def test_boxes_on_padded_levels():
    encoded = EncodedImage(
        torch.zeros(1, 2, 4), None, ((1, 1), (1, 1)), torch.tensor([[[0.5, 0.8], [0.6, 1.0]]])
    )
    scaled = scale_to_levels(torch.tensor([[[0.2, 0.5, 0.4, 0.1]]]), encoded)
    wanted = [[0.1, 0.4, 0.2, 0.08], [0.12, 0.5, 0.24, 0.1]]
    torch.testing.assert_close(scaled[0, 0], torch.tensor(wanted))
