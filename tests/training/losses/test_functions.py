"""Losses against numbers worked out by hand, and their gradients."""

import math

import pytest
import torch

from training.losses.functions import (
    BODY_OKS_SIGMAS,
    PART_OKS_SIGMAS,
    box_giou,
    box_iou,
    object_keypoint_similarity,
    points_l1,
    quality_focal_loss,
    rotation_l1,
    sigmoid_focal_loss,
    vector_l1,
    visible_share,
)


def test_focal_loss_at_one_half():
    loss = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    wanted = torch.tensor([0.25, 0.75]) * 0.25 * math.log(2)
    torch.testing.assert_close(loss, wanted)


def test_focal_loss_forgives_what_is_already_right():
    right, wrong = sigmoid_focal_loss(torch.tensor([5.0, -5.0]), torch.ones(2))
    assert right < 1e-5 * wrong


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ([0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], 1.0),
        # Side by side, touching: no overlap, the hull is exactly the union.
        ([0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], 0.0),
        # Half a box apart: union 2, hull 2.5 -> 0 - 0.5 / 2.5.
        ([0.1, 0.5, 0.2, 1.0], [0.4, 0.5, 0.2, 1.0], -0.2),
    ],
)
def test_giou_by_hand(first, second, wanted):
    value = box_giou(torch.tensor([first]), torch.tensor([second]))
    assert float(value) == pytest.approx(wanted, abs=1e-4)


def test_iou_by_hand():
    first = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]])
    second = torch.tensor([[0.6, 0.5, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2]])
    torch.testing.assert_close(
        box_iou(first, second), torch.tensor([1 / 3, 0.0]), atol=1e-4, rtol=0
    )


def test_quality_focal_loss_is_least_at_the_label():
    labels = torch.full((5,), 0.25)
    logits = torch.logit(torch.tensor([0.05, 0.15, 0.25, 0.4, 0.9]))
    loss = quality_focal_loss(logits, labels)
    assert int(loss.argmin()) == 2
    assert float(loss[2]) == pytest.approx(0.0, abs=1e-9)


def test_oks_is_one_on_the_spot_and_follows_the_formula():
    points = torch.rand(3, 17, 2)
    visible = torch.ones(3, 17)
    area = torch.full((3,), 0.25)
    same = object_keypoint_similarity(points, points, visible, area, BODY_OKS_SIGMAS)
    torch.testing.assert_close(same, torch.ones(3))
    moved = points.clone()
    moved[:, 0, 0] += 0.02
    oks = object_keypoint_similarity(moved, points, visible, area, BODY_OKS_SIGMAS)
    nose = math.exp(-(0.02**2) / (2 * 0.25 * (2 * 0.026) ** 2))
    torch.testing.assert_close(oks, torch.full((3,), (16 + nose) / 17))


def test_oks_without_visible_points_is_the_floor():
    points = torch.rand(1, 17, 2)
    nobody = torch.zeros(1, 17)
    oks = object_keypoint_similarity(points, points, nobody, torch.ones(1), BODY_OKS_SIGMAS)
    assert float(oks) == pytest.approx(1e-6)


def test_hidden_points_do_not_count():
    predicted, wanted = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert float(points_l1(predicted, wanted, torch.tensor([[1.0, 0.0]]))) == 2.0
    assert float(points_l1(predicted, wanted, torch.tensor([[0.0, 0.0]]))) == 0.0


def test_rotation_loss_of_a_half_turn():
    eye = torch.eye(3)[None, None]
    turned = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None, None]
    assert float(rotation_l1(eye, turned, torch.ones(1, 1))) == 4.0


def test_a_loss_of_the_mean_over_nothing_is_nothing():
    visibility = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(visible_share(visibility), torch.tensor([0.0, 1.0, 1.0]))


def uniform(*shape):
    return torch.rand(*shape, dtype=torch.float64) * 0.4 + 0.2


WANTED = {
    sigmoid_focal_loss: torch.tensor([[1.0, 0], [0, 0], [0, 1], [1, 1]], dtype=torch.float64),
    quality_focal_loss: torch.tensor([[0.25, 0], [0, 1], [0, 1], [1, 1]], dtype=torch.float64),
}


@pytest.mark.parametrize("loss", WANTED)
def test_gradients_of_class_losses(loss):
    torch.manual_seed(0)
    logits = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, WANTED[loss]), logits)


@pytest.mark.parametrize("loss", [box_iou, box_giou, vector_l1])
def test_gradients_of_box_losses(loss):
    torch.manual_seed(0)
    boxes, wanted = uniform(5, 4).requires_grad_(), uniform(5, 4)
    assert torch.autograd.gradcheck(lambda x: loss(x, wanted), boxes)


@pytest.mark.parametrize("sigmas", [BODY_OKS_SIGMAS, PART_OKS_SIGMAS])
def test_gradients_of_keypoint_losses(sigmas):
    torch.manual_seed(0)
    points, wanted = uniform(3, len(sigmas), 2).requires_grad_(), uniform(3, len(sigmas), 2)
    visible, area = torch.rand(3, len(sigmas), dtype=torch.float64).round(), uniform(3)
    visible[0] = 0.0

    def oks(predicted):
        return object_keypoint_similarity(predicted, wanted, visible, area, sigmas)

    assert torch.autograd.gradcheck(oks, points)
    assert torch.autograd.gradcheck(lambda x: points_l1(x, wanted, visible), points)


def test_gradients_of_rotation_losses():
    torch.manual_seed(0)
    predicted, wanted = uniform(2, 3, 3, 3).requires_grad_(), uniform(2, 3, 3, 3)
    valid = torch.tensor([[1.0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: rotation_l1(x, wanted, valid), predicted)
