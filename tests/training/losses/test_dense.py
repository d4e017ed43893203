"""Dense losses: tokens are assigned to the people around them, and every tensor is trained."""

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from tests.helpers.training_samples import random_batch
from training.config import TINY_MODEL
from training.losses.dense_criterion import DenseCriterion, assign_tokens, token_grid
from training.losses.loss_weights import LossWeights


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_tokens_are_assigned_to_the_person_they_lie_in():
    grid = token_grid(((4, 6), (2, 3)), 0.15)
    assert grid.centres.shape == (30, 2)
    torch.testing.assert_close(grid.centres[0], torch.tensor([1 / 12, 1 / 8]))
    boxes = torch.tensor([[0.25, 0.5, 0.4, 0.8], [0.75, 0.5, 0.4, 0.8], [0.5, 0.5, 0.9, 0.9]])
    pairs = assign_tokens(grid, boxes, torch.tensor([0, 0, 1]), 3)
    used = list(zip(pairs.image_index.tolist(), pairs.token_index.tolist(), strict=True))
    assert len(used) == len(set(used))
    for person, token in zip(pairs.person_index.tolist(), pairs.token_index.tolist(), strict=True):
        offset = (grid.centres[token] - boxes[person, :2]).abs()
        assert bool((offset <= boxes[person, 2:] / 2).all())


def build_criterion(unannotated_negative):
    return DenseCriterion(
        TINY_MODEL.hidden_dim,
        LossWeights(),
        tokens_per_person=4,
        proposal_size=TINY_MODEL.proposal_size,
        unannotated_negative=unannotated_negative,
    )


def encode(network, batch):
    encoded = network.encode(batch.images(TINY_MODEL.image))
    return encoded, network.proposals(encoded)[0]


@pytest.mark.parametrize("people", [(2, 0, 3), (0, 0), (40,)])
def test_losses_are_finite_and_reach_every_tensor(body, people):
    torch.manual_seed(0)
    network, criterion = AiOS(TINY_MODEL), build_criterion(0.5)
    batch = random_batch(body, people)
    losses = criterion(*encode(network, batch), batch)
    torch.stack(list(losses.values())).sum().backward()
    if sum(people) == 0:
        assert set(losses) == {"dense_class", "dense_heat"}
        assert all(bool(loss.isfinite()) for loss in losses.values())
        return
    trained = (*criterion.named_parameters(), *network.encoder.named_parameters())
    for name, parameter in (*trained, *network.proposals.named_parameters()):
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_tokens_count_less_in_images_with_unannotated_people(body):
    torch.manual_seed(0)
    network, batch = AiOS(TINY_MODEL), random_batch(body, (0, 0))
    batch.ignore_unmatched[0] = True
    encoded, proposals = encode(network, batch)

    def class_loss(factor):
        return float(build_criterion(factor)(encoded, proposals, batch)["dense_class"].detach())

    full, half, none = class_loss(1.0), class_loss(0.5), class_loss(0.0)
    assert 0 < none < half < full
    assert half == pytest.approx((full + none) / 2, rel=1e-4)
