"""Dense targets: tokens find their people, and all of it can be learned."""

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.model import AiOS
from tests.helpers.training_samples import random_batch
from training.config import TINY_MODEL
from training.losses.dense import DenseHead, assign_tokens, dense_terms, token_grid


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_tokens_go_to_the_person_they_lie_in():
    grid = token_grid(((4, 6), (2, 3)), 0.15)
    assert grid.centres.shape == (30, 2)
    torch.testing.assert_close(grid.centres[0], torch.tensor([1 / 12, 1 / 8]))
    boxes = torch.tensor([[0.25, 0.5, 0.4, 0.8], [0.75, 0.5, 0.4, 0.8], [0.5, 0.5, 0.9, 0.9]])
    pairs = assign_tokens(grid, boxes, torch.tensor([0, 0, 1]), 3)
    taken = list(zip(pairs.image_index.tolist(), pairs.token_index.tolist(), strict=True))
    assert len(taken) == len(set(taken))
    for person, token in zip(pairs.person_index.tolist(), pairs.token_index.tolist(), strict=True):
        gap = (grid.centres[token] - boxes[person, :2]).abs()
        assert bool((gap <= boxes[person, 2:] / 2).all())


@pytest.mark.parametrize("people", [(2, 0, 3), (0, 0), (40,)])
def test_dense_losses_are_finite_and_reach_every_tensor(body, people):
    torch.manual_seed(0)
    network, head = AiOS(TINY_MODEL), DenseHead(TINY_MODEL.hidden_dim)
    batch = random_batch(body, people)
    output = network(batch.images(TINY_MODEL.image), aux_outputs=True)
    terms = dense_terms(
        output.encoded, output.proposals, batch, head, 4, TINY_MODEL.proposal_size, 0.5
    )
    torch.stack(list(terms.values())).sum().backward()
    if sum(people) == 0:
        assert set(terms) == {"dense_class", "dense_heat"}
        assert all(bool(term.isfinite()) for term in terms.values())
        return
    learnt = (*head.named_parameters(), *network.encoder.named_parameters())
    for name, parameter in (*learnt, *network.proposals.named_parameters()):
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_tokens_of_pictures_with_hidden_people_count_less(body):
    torch.manual_seed(0)
    network, head = AiOS(TINY_MODEL), DenseHead(TINY_MODEL.hidden_dim)
    batch = random_batch(body, (0, 0))
    batch.ignore_unmatched[0] = True
    output = network(batch.images(TINY_MODEL.image), aux_outputs=True)

    def class_loss(weight):
        return float(
            dense_terms(
                output.encoded, output.proposals, batch, head, 4, TINY_MODEL.proposal_size, weight
            )["dense_class"].detach()
        )

    full, half, none = class_loss(1.0), class_loss(0.5), class_loss(0.0)
    assert 0 < none < half < full
    assert half == pytest.approx((full + none) / 2, rel=1e-4)
