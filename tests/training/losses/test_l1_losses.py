"""L1 distances against values computed by hand, and their gradients."""

import pytest
import torch

from training.losses.l1_losses import (
    image_points_l1,
    log_beyond,
    points_l1,
    rotation_l1,
    vector_l1,
)


def test_masked_points_do_not_count():
    predicted, annotated = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert float(points_l1(predicted, annotated, torch.tensor([[1.0, 0.0]]))) == 2.0
    assert float(points_l1(predicted, annotated, torch.tensor([[0.0, 0.0]]))) == 0.0


def test_rotation_l1_of_a_half_turn():
    eye = torch.eye(3)[None, None]
    turned = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None, None]
    assert float(rotation_l1(eye, turned, torch.ones(1, 1))) == 4.0


def test_distances_beyond_the_limit_grow_logarithmically():
    distance = torch.tensor([0.0, 0.5, 1.0, 2.0, 100.0], dtype=torch.float64)
    limited = log_beyond(distance, 1.0)
    torch.testing.assert_close(limited[:3], distance[:3])
    assert float(limited[4]) < 6.0
    assert bool((limited.diff() > 0).all())


def test_distance_in_box_units_is_a_mean_over_visible_points():
    annotated = torch.zeros(1, 4, 2)
    predicted = torch.full((1, 4, 2), 0.05)
    box, mask = torch.tensor([[0.5, 0.5, 0.1, 0.4]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    summed = image_points_l1(predicted, annotated, mask, box, in_box_units=False)
    mean = image_points_l1(predicted, annotated, mask, box, in_box_units=True)
    assert float(summed) == pytest.approx(0.2)
    assert float(mean) == pytest.approx(0.1 / 0.4)


def test_gradients_equal_finite_differences():
    def uniform(*shape):
        return torch.rand(*shape, dtype=torch.float64) * 0.4 + 0.2

    torch.manual_seed(0)
    boxes, others = uniform(5, 4).requires_grad_(), uniform(5, 4)
    assert torch.autograd.gradcheck(lambda x: vector_l1(x, others), boxes)
    mask = torch.tensor([[1.0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    rotations, others = uniform(2, 3, 3, 3).requires_grad_(), uniform(2, 3, 3, 3)
    assert torch.autograd.gradcheck(lambda x: rotation_l1(x, others, mask), rotations)
    points, others = uniform(2, 3, 2).requires_grad_(), uniform(2, 3, 2)
    assert torch.autograd.gradcheck(lambda x: points_l1(x, others, mask), points)
