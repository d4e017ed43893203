"""Denoising queries: people, noise, and groups."""

from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from tests.helpers.training_samples import random_batch
from training.config import TINY_MODEL
from training.losses.denoising import (
    NUM_LABELS,
    Denoising,
    DenoisingConfig,
    NoiseDraws,
    disturb_boxes,
    disturb_labels,
    repeat_people,
)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_groups_and_bounds_of_the_noise(body):
    batch = random_batch(body, (2, 0))
    denoising = Denoising(8, DenoisingConfig(queries=5))
    prefix, targets = denoising(batch)
    assert prefix.content.shape == (2, 5, 8)
    assert targets.is_person.tolist() == [[True] * 5, [False] * 5]
    torch.testing.assert_close(targets.boxes[0, 2:4], batch.targets.boxes)
    group = torch.tensor([0, 0, 1, 1, 2])
    assert torch.equal(prefix.blocked[0], group[:, None] != group[None])
    assert not bool(prefix.blocked[1].any())
    change = (prefix.boxes[0] - targets.boxes[0]).abs()
    size = targets.boxes[0, :, 2:]
    assert bool((change[:, :2] <= 0.2 * size + 1e-6).all())
    assert bool((change[:, 2:] <= 0.4 * size + 1e-6).all())


def test_disturbed_boxes_by_hand():
    box = torch.tensor([0.5, 0.5, 0.2, 0.4])
    moved = disturb_boxes(box, torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.4)
    torch.testing.assert_close(moved, torch.tensor([0.54, 0.42, 0.28, 0.24]))


@pytest.mark.parametrize("people", [(2, 0), (1, 3, 0, 5), (0, 0), (12, 1), (5,)])
def test_queries_repeat_the_people_of_their_image(body, people):
    """Compared with a plain loop over images and queries."""
    queries, batch = 5, random_batch(body, people)
    torch.manual_seed(0)
    draws = NoiseDraws.draw(len(people), queries, torch.device("cpu"))
    boxes, is_person, group = repeat_people(batch, draws)
    for image, number in enumerate(people):
        own = batch.targets.boxes[batch.image_index == image]
        for query in range(queries):
            assert bool(is_person[image, query]) == (number > 0)
            if number == 0:
                expected, block = draws.random_box[image, query], 0
            elif query < queries // number * number:
                expected, block = own[query % number], query // number
            else:
                random = int(draws.person[image, query] * number)
                expected, block = own[random], query // number
            assert torch.equal(boxes[image, query], expected)
            assert int(group[image, query]) == block


def test_half_of_the_labels_are_replaced_by_any_label_but_the_last():
    torch.manual_seed(0)
    draws = NoiseDraws.draw(40, 100, torch.device("cpu"))
    is_person = torch.tensor([True, False])[:, None].expand(2, 2000).reshape(40, 100)
    labels = disturb_labels(is_person, draws, 0.5)
    replaced = draws.replace < 0.5
    assert bool((labels[~replaced & is_person] == 1).all())
    assert bool((labels[~replaced & ~is_person] == 2).all())
    assert 0.45 < float(replaced.float().mean()) < 0.55
    assert sorted(set(labels[replaced].tolist())) == list(range(NUM_LABELS - 1))
    edge = replace(draws, label=torch.full_like(draws.label, 1.0))
    assert int(disturb_labels(is_person, edge, 1.0).max()) == NUM_LABELS - 2


def test_denoising_queries_do_not_change_the_predictions(body):
    torch.manual_seed(0)
    network, batch = AiOS(TINY_MODEL).eval(), random_batch(body, (2, 0))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    prefix, _ = Denoising(TINY_MODEL.hidden_dim, DenoisingConfig(queries=7))(batch)
    images = batch.images(TINY_MODEL.image)
    alone, beside = network(images), network(images, prefix)
    torch.testing.assert_close(alone.final.boxes, beside.final.boxes)
    assert alone.final.prefix_boxes is None
    assert beside.final.prefix_boxes.shape == (2, 7, 4)
