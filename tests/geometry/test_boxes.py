"""Boxes: conversions are inverse, logits are clamped, overlap of known boxes."""

import math

import numpy as np
import pytest
import torch

from aios.geometry.boxes import (
    cxcywh_to_xyxy,
    intersection_and_union,
    inverse_sigmoid,
    nms,
    pairwise_iou,
    xyxy_to_cxcywh,
)


def test_corners_of_a_box():
    box = torch.tensor([0.5, 0.4, 0.2, 0.6])
    torch.testing.assert_close(cxcywh_to_xyxy(box), torch.tensor([0.4, 0.1, 0.6, 0.7]))


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 0, 4), (2, 3, 5, 4)])
def test_conversions_are_inverse(shape):
    boxes = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


def test_logit_is_inverse_of_sigmoid_below_the_clamp():
    x = torch.linspace(-6.9, 6.9, 101, dtype=torch.float64)
    torch.testing.assert_close(inverse_sigmoid(x.sigmoid()), x)


def test_logit_clamps_numerator_and_denominator():
    x = torch.tensor([-5.0, 0.0, 1e-9, 1e-3, 0.5, 1 - 1e-3, 1.0, 7.0], dtype=torch.float64)
    low = math.log(1e-3)
    # At 0 only the numerator is clamped: log(0.001 / 1).
    wanted = [low, low, low, low - math.log(0.999), 0.0, math.log(0.999) - low, -low, -low]
    torch.testing.assert_close(
        inverse_sigmoid(x), torch.tensor(wanted, dtype=torch.float64), atol=2e-9, rtol=0
    )


def test_gradient_of_logit_is_finite_at_0_and_1():
    x = torch.tensor([0.0, 1e-4, 0.3, 1.0], requires_grad=True)
    inverse_sigmoid(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    inside = torch.rand(5, dtype=torch.float64).mul(0.9).add(0.05).requires_grad_()
    assert torch.autograd.gradcheck(inverse_sigmoid, inside)


def test_pairwise_iou_of_known_boxes():
    first = np.array([[0.0, 0, 2, 2]])
    second = np.array([[1.0, 0, 3, 2], [5, 5, 6, 6], [0, 0, 2, 2], [1, 1, 1, 1]])
    np.testing.assert_allclose(pairwise_iou(first, second), [[1 / 3, 0, 1, 0]])
    assert pairwise_iou(np.zeros((0, 4)), second).shape == (0, 4)
    assert pairwise_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]


def test_torch_and_numpy_iou_are_equal():
    corners = np.random.default_rng(0).uniform(0, 1, (2, 20, 2, 2))
    boxes = np.concatenate([corners.min(2), corners.max(2)], -1)
    shared, union = intersection_and_union(*torch.from_numpy(boxes))
    paired = pairwise_iou(*boxes).diagonal()
    np.testing.assert_allclose((shared / union).numpy(), paired, atol=1e-12)
    assert 0 < paired.max() < 1 and (paired == 0).any()


def test_nms_keeps_the_first_of_overlapping_boxes():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [5, 0, 15, 10]])
    # IoU with box 0: 0.82, 0, 0.33; IoU of boxes 1 and 3: 0.43.
    assert nms(boxes, 0.5).tolist() == [0, 2, 3]
    assert nms(boxes, 0.3).tolist() == [0, 2]
    assert nms(boxes, 0.9).tolist() == [0, 1, 2, 3]
    assert nms(boxes[:0], 0.5).tolist() == []


def test_dropped_box_does_not_suppress_others():
    boxes = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    assert nms(boxes, 0.4).tolist() == [0, 2]
