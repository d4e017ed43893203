"""Boxes: conversions undo each other, logits are bounded and exact in between."""

import math

import pytest
import torch

from aios.geometry.boxes import cxcywh_to_xyxy, inverse_sigmoid, xyxy_to_cxcywh


def test_corners_of_a_box():
    box = torch.tensor([0.5, 0.4, 0.2, 0.6])
    torch.testing.assert_close(cxcywh_to_xyxy(box), torch.tensor([0.4, 0.1, 0.6, 0.7]))


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 0, 4), (2, 3, 5, 4)])
def test_conversions_undo_each_other(shape):
    boxes = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_logit_undoes_sigmoid_where_it_is_not_bounded():
    x = torch.linspace(-6.9, 6.9, 101, dtype=torch.float64)
    torch.testing.assert_close(inverse_sigmoid(x.sigmoid()), x)


def test_logit_is_bounded_by_a_thousandth_on_each_side():
    x = torch.tensor([-5.0, 0.0, 1e-9, 1e-3, 0.5, 1 - 1e-3, 1.0, 7.0], dtype=torch.float64)
    low = math.log(1e-3)
    # At 0 the numerator alone is bounded: log(0.001 / 1).
    wanted = [low, low, low, low - math.log(0.999), 0.0, math.log(0.999) - low, -low, -low]
    torch.testing.assert_close(
        inverse_sigmoid(x), torch.tensor(wanted, dtype=torch.float64), atol=2e-9, rtol=0
    )


def test_logit_of_the_edges_has_no_gradient_that_is_not_finite():
    x = torch.tensor([0.0, 1e-4, 0.3, 1.0], requires_grad=True)
    inverse_sigmoid(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    inside = torch.rand(5, dtype=torch.float64).mul(0.9).add(0.05).requires_grad_()
    assert torch.autograd.gradcheck(inverse_sigmoid, inside)
