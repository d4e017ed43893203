"""Deformable attention: bilinear samples, sampling points, padding."""

import pytest
import torch

from aios.network.decoder import boxes_on_levels
from aios.network.deformable_attention import DeformableAttention
from aios.network.outputs import EncodedImage
from aios.network.sampling import Sampling, sample_bilinear
from tests.helpers.sampling_cases import HEADS, POINTS, SHAPES, WIDTH, random_case, sample_by_loops

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_samples_equal_those_of_loops(spread):
    value, sampling = random_case(spread=spread)
    samples = sample_bilinear(value, SHAPES, sampling)
    torch.testing.assert_close(samples, sample_by_loops(value, sampling))


def test_centre_of_a_cell_gives_its_value():
    value, sampling = random_case()
    token = torch.arange(35).view(5, 7)[3, 2]
    locations = torch.tensor([2.5 / 7, 3.5 / 5], dtype=torch.float64).expand_as(sampling.locations)
    weights = torch.zeros_like(sampling.weights)
    weights[..., 0, 1] = 1.0
    result = sample_bilinear(value, SHAPES, Sampling(locations, weights))
    torch.testing.assert_close(result.unflatten(-1, (HEADS, WIDTH))[1, 4], value[1, token])


def test_gradients_of_samples():
    value, sampling = random_case(seed=2, spread=0.3)
    value, locations = value[:1, :, :1, :2], sampling.locations[:1, :2, :1, :, :2]
    weights = sampling.weights[:1, :2, :1, :, :2]
    inputs = [x.clone().requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, p, w: sample_bilinear(v, SHAPES, Sampling(p, w)), inputs
    )


def test_every_parameter_has_a_gradient():
    attention = DeformableAttention(12, 3, len(SHAPES), POINTS)
    tokens, queries = torch.randn(1, sum(h * w for h, w in SHAPES), 12), torch.randn(1, 4, 12)
    points = torch.full((1, 4, 3, 2), 0.4)
    output, _ = attention(queries, points, tokens, None, SHAPES)
    output.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in attention.parameters())


def test_weights_sum_to_one_over_levels_and_points():
    attention = DeformableAttention(12, 3, 2, 4)
    torch.nn.init.normal_(attention.attention_weights.weight)
    _, weights = attention.offsets_and_weights(torch.randn(2, 5, 12))
    assert weights.shape == (2, 5, 3, 2, 4)
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(2, 5, 3))


def test_initial_offsets_are_rays():
    """Head 0 points right, head H / 4 down; point n is n steps away; all levels are alike."""
    attention = DeformableAttention(32, 8, 2, 4)
    offsets = attention.offsets_and_weights(torch.zeros(1, 1, 32))[0][0, 0]
    for point in range(4):
        steps = float(point + 1)
        torch.testing.assert_close(offsets[0, :, point], torch.tensor([[steps, 0.0]] * 2))
        torch.testing.assert_close(offsets[2, :, point], torch.tensor([[0.0, steps]] * 2))
    diagonal = torch.full((2, 2), 1.0)
    torch.testing.assert_close(offsets[1, :, 0], diagonal)


def test_offsets_are_in_cells_around_points_and_in_half_boxes_around_boxes():
    attention = DeformableAttention(8, 1, 2, 2)
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    with torch.no_grad():
        attention.sampling_offsets.bias.view(1, 2, 2, 2)[..., 0] = 1.0  # one step to the right
    queries, shapes = torch.zeros(1, 1, 8), ((10, 20), (5, 8))
    locations = attention.sampling(queries, torch.full((1, 1, 2, 2), 0.5), shapes).locations
    torch.testing.assert_close(locations[0, 0, 0, 0, 0], torch.tensor([0.5 + 1 / 20, 0.5]))
    torch.testing.assert_close(locations[0, 0, 0, 1, 0], torch.tensor([0.5 + 1 / 8, 0.5]))
    box = torch.tensor([0.5, 0.5, 0.4, 0.2]).expand(1, 1, 2, 4)
    locations = attention.sampling(queries, box, shapes).locations
    # With 2 points, 2 steps reach from the centre to the side, 0.2.
    torch.testing.assert_close(locations[0, 0, 0, 0, 0], torch.tensor([0.5 + 0.1, 0.5]))


def test_padding_has_zero_values():
    attention = DeformableAttention(8, 2, 1, 1)
    tokens, mask = torch.randn(1, 4, 8), torch.tensor([[False, False, True, True]])
    value = attention.value(tokens, mask)
    assert value.shape == (1, 4, 2, 4)
    assert not value[:, 2:].any()
    assert value[:, :2].any()


def test_boxes_are_scaled_to_padded_levels():
    encoded = EncodedImage(
        torch.zeros(1, 2, 4), None, ((1, 1), (1, 1)), torch.tensor([[[0.5, 0.8], [0.6, 1.0]]])
    )
    scaled = boxes_on_levels(torch.tensor([[[0.2, 0.5, 0.4, 0.1]]]), encoded)
    expected = [[0.1, 0.4, 0.2, 0.08], [0.12, 0.5, 0.24, 0.1]]
    torch.testing.assert_close(scaled[0, 0], torch.tensor(expected))
