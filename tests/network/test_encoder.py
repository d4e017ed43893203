"""Encoder: level masks, valid ratios, reference points."""

import pytest
import torch

from aios.network.encoder import level_mask, reference_points, valid_ratio

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = ((4, 6), (2, 3))


@pytest.mark.parametrize("size", [(75, 93), (61, 88), (64, 96), (333, 257)])
@pytest.mark.parametrize("stride", [8, 16, 32, 64])
def test_level_masks_equal_nearest_neighbour_interpolation(size, stride):
    mask = torch.ones(1, *size, dtype=torch.bool)
    mask[:, : size[0] * 2 // 3, : size[1] // 2] = False
    shape = (-(-size[0] // stride), -(-size[1] // stride))
    wanted = torch.nn.functional.interpolate(mask[None].float(), size=shape)[0] > 0.5
    assert torch.equal(level_mask(mask, shape, 1, mask.device), wanted)


def test_valid_ratio_is_the_unpadded_share_of_a_level():
    mask = torch.ones(2, 4, 10, dtype=torch.bool)
    mask[0, :3, :5] = False
    mask[1] = False
    assert valid_ratio(mask).tolist() == [[0.5, 0.75], [1.0, 1.0]]


def test_reference_points_are_cell_centres_on_every_level():
    points = reference_points(SHAPES, torch.ones(1, 2, 2))
    assert points.shape == (1, 30, 2, 2)
    centre = torch.tensor([[2.5 / 6, 1.5 / 4]]).expand(2, 2)
    torch.testing.assert_close(points[0, 1 * 6 + 2], centre)
    torch.testing.assert_close(points[0, 24 + 5], torch.tensor([[2.5 / 3, 1.5 / 2]]).expand(2, 2))


def test_reference_points_are_relative_to_the_padded_size_of_each_level():
    ratios = torch.tensor([[[0.5, 1.0], [0.75, 1.0]]])
    points = reference_points(SHAPES, ratios)
    first = points[0, 1]  # second of the three un-padded columns of the first level
    torch.testing.assert_close(first[:, 0], torch.tensor([0.25, 0.375]))
