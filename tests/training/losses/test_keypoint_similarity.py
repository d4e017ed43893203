"""OKS against its formula, and its gradient."""

import math

import pytest
import torch

from training.losses.keypoint_similarity import (
    BODY_OKS_SIGMAS,
    PART_OKS_SIGMAS,
    any_visible,
    object_keypoint_similarity,
)


def test_oks_is_one_for_equal_points_and_follows_the_formula():
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


def test_oks_without_visible_points_is_its_lower_bound():
    points = torch.rand(1, 17, 2)
    oks = object_keypoint_similarity(
        points, points, torch.zeros(1, 17), torch.ones(1), BODY_OKS_SIGMAS
    )
    assert float(oks) == pytest.approx(1e-6)


def test_factor_of_a_mean_over_no_visible_points_is_zero():
    visibility = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(any_visible(visibility), torch.tensor([0.0, 1.0, 1.0]))


@pytest.mark.parametrize("sigmas", [BODY_OKS_SIGMAS, PART_OKS_SIGMAS])
def test_gradients_equal_finite_differences(sigmas):
    torch.manual_seed(0)
    shape = (3, len(sigmas), 2)
    points, annotated = (torch.rand(shape, dtype=torch.float64) * 0.4 + 0.2 for _ in range(2))
    points.requires_grad_()
    visible = torch.rand(3, len(sigmas), dtype=torch.float64).round()
    visible[0] = 0.0
    area = torch.rand(3, dtype=torch.float64) * 0.4 + 0.2

    def oks(predicted):
        return object_keypoint_similarity(predicted, annotated, visible, area, sigmas)

    assert torch.autograd.gradcheck(oks, points)
