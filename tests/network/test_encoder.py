"""The encoder: what counts as padding, where each token looks from, and its feed-forward."""

import pytest
import torch

from aios.network.encoder import level_mask, reference_points, valid_ratio

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = ((4, 6), (2, 3))


@pytest.mark.parametrize("size", [(75, 93), (61, 88), (64, 96), (333, 257)])
@pytest.mark.parametrize("stride", [8, 16, 32, 64])
def test_masks_of_levels_are_nearest_neighbours(size, stride):
    mask = torch.ones(1, *size, dtype=torch.bool)
    mask[:, : size[0] * 2 // 3, : size[1] // 2] = False
    shape = (-(-size[0] // stride), -(-size[1] // stride))
    wanted = torch.nn.functional.interpolate(mask[None].float(), size=shape)[0] > 0.5
    assert torch.equal(level_mask(mask, shape, 1, mask.device), wanted)


def test_valid_share_of_a_level():
    mask = torch.ones(2, 4, 10, dtype=torch.bool)
    mask[0, :3, :5] = False
    mask[1] = False
    assert valid_ratio(mask).tolist() == [[0.5, 0.75], [1.0, 1.0]]


def test_references_are_cell_middles_on_every_level():
    points = reference_points(SHAPES, torch.ones(1, 2, 2))
    assert points.shape == (1, 30, 2, 2)
    middle = torch.tensor([[2.5 / 6, 1.5 / 4]]).expand(2, 2)
    torch.testing.assert_close(points[0, 1 * 6 + 2], middle)
    torch.testing.assert_close(points[0, 24 + 5], torch.tensor([[2.5 / 3, 1.5 / 2]]).expand(2, 2))


def test_references_follow_the_valid_part():
    """The same place of the image, expressed in the padded size of each level."""
    ratios = torch.tensor([[[0.5, 1.0], [0.75, 1.0]]])
    points = reference_points(SHAPES, ratios)
    first = points[0, 1]  # second column of the first level: middle of its valid 3 columns
    torch.testing.assert_close(first[:, 0], torch.tensor([0.25, 0.375]))
