"""Heat maps peak at the keypoints and have no weight where nothing is annotated."""

from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_batch
from training.losses.heatmap import CELLS, HeatmapHead, heatmap_targets

HEIGHT, WIDTH = 40, 56


@pytest.fixture(scope="module")
def batch():
    made = random_batch(BodyModel.load(), (2, 0, 1))
    points = torch.rand(3, 17, 2, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5]]).repeat(3, 1)
    targets = replace(
        made.targets,
        boxes=boxes,
        keypoints_2d=points,
        keypoints_visible=torch.ones(3, 17),
        smplx_valid=torch.ones(3, dtype=torch.bool),
    )
    everyone_annotated = torch.zeros(3, dtype=torch.bool)
    return replace(made, targets=targets, ignore_unmatched=everyone_annotated)


def cell_of(point):
    return int(point[1] * HEIGHT), int(point[0] * WIDTH)


def with_targets(batch, **changes):
    return replace(batch, targets=replace(batch.targets, **changes))


def test_each_token_predicts_the_cells_under_it():
    """Channels of the head are ordered by keypoint, then row and column of the cell."""
    head = HeatmapHead(2)
    with torch.no_grad():
        head.logits.weight.zero_()
        head.logits.weight[:, 0] = 1.0
        head.logits.bias.copy_(torch.arange(17 * CELLS * CELLS) / 1000)
    tokens = torch.zeros(1, 3, 5, 2)
    tokens[..., 0] = torch.arange(15).view(3, 5)
    maps = head(tokens)
    assert maps.shape == (1, 17, 3 * CELLS, 5 * CELLS)
    for keypoint, row, column, y, x in ((0, 0, 0, 0, 0), (3, 2, 1, 3, 0), (16, 1, 4, 2, 3)):
        expected = row * 5 + column + (keypoint * CELLS * CELLS + y * CELLS + x) / 1000
        found = maps[0, keypoint, row * CELLS + y, column * CELLS + x]
        torch.testing.assert_close(float(found.detach()), expected, rtol=1e-5, atol=1e-5)


def test_heat_peaks_at_the_keypoints(batch):
    heat, weight = heatmap_targets(batch, HEIGHT, WIDTH)
    assert heat.shape == (3, 17, HEIGHT, WIDTH) and bool((weight == 1).all())
    assert float(heat[1].max()) == 0
    for person, image in enumerate(batch.image_index.tolist()):
        for keypoint in range(17):
            y, x = cell_of(batch.targets.keypoints_2d[person, keypoint].tolist())
            around = heat[image, keypoint, y - 1 : y + 2, x - 1 : x + 2]
            assert float(heat[image, keypoint, y, x]) == float(around.max()) > 0.6
    alone = heat[2, 0].flatten().argmax()
    y, x = cell_of(batch.targets.keypoints_2d[2, 0].tolist())
    assert int(alone) == y * WIDTH + x


def test_invisible_keypoints_have_no_heat(batch):
    visible = batch.targets.keypoints_visible.clone()
    visible[2, 9] = 0
    heat, weight = heatmap_targets(with_targets(batch, keypoints_visible=visible), HEIGHT, WIDTH)
    assert float(heat[2, 9].max()) == 0 and bool((weight == 1).all())


def test_cells_without_annotation_have_no_weight(batch):
    """A photo with 12 keypoints of one person: its face and other people are unknown."""
    visible, posed = batch.targets.keypoints_visible.clone(), batch.targets.smplx_valid.clone()
    visible[2, :5], posed[2] = 0, False
    photo = with_targets(batch, keypoints_visible=visible, smplx_valid=posed)
    photo = replace(photo, ignore_unmatched=torch.tensor([False, False, True]))
    _, weight = heatmap_targets(photo, HEIGHT, WIDTH)
    assert bool((weight[:2] == 1).all())
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[HEIGHT // 4 : 3 * HEIGHT // 4, WIDTH // 4 : 3 * WIDTH // 4] = True
    assert bool((weight[2, 5:, inside] == 1).all()) and bool((weight[2, :5] == 0).all())
    assert bool((weight[2, 5:, :5, :5] == 0).all())
