"""Focal losses against values computed by hand, and their gradients."""

import math

import pytest
import torch

from training.losses.focal_loss import quality_focal_loss, sigmoid_focal_loss


def test_focal_loss_at_probability_one_half():
    loss = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    expected = torch.tensor([0.25, 0.75]) * 0.25 * math.log(2)
    torch.testing.assert_close(loss, expected)


def test_focal_loss_is_small_for_confident_correct_predictions():
    right, wrong = sigmoid_focal_loss(torch.tensor([5.0, -5.0]), torch.ones(2))
    assert right < 1e-5 * wrong


def test_quality_focal_loss_is_zero_at_the_label():
    labels = torch.full((5,), 0.25)
    logits = torch.logit(torch.tensor([0.05, 0.15, 0.25, 0.4, 0.9]))
    loss = quality_focal_loss(logits, labels)
    assert int(loss.argmin()) == 2
    assert float(loss[2]) == pytest.approx(0.0, abs=1e-9)


LABELS = {
    sigmoid_focal_loss: torch.tensor([[1.0, 0], [0, 0], [0, 1], [1, 1]], dtype=torch.float64),
    quality_focal_loss: torch.tensor([[0.25, 0], [0, 1], [0, 1], [1, 1]], dtype=torch.float64),
}


@pytest.mark.parametrize("loss", LABELS)
def test_gradients_equal_finite_differences(loss):
    torch.manual_seed(0)
    logits = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, LABELS[loss]), logits)
