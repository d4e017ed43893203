"""The camera: known points, resizing, and the scales at which depth has no good answer."""

import numpy as np
import pytest
import torch

from aios.camera import Camera, project_points, weak_camera_to_transl


def test_known_points():
    camera = Camera(1000.0, (320.0, 240.0), 640, 480)
    points = np.array([[0.0, 0.0, 3.0], [1.0, 0.0, 10.0], [0.0, -0.5, 5.0]])
    wanted = [[320, 240], [420, 240], [320, 140]]  # y down: -0.5 m is up
    np.testing.assert_allclose(camera.project(points), wanted)


def test_intrinsics_are_the_same_projection():
    camera = Camera(731.5, (300.25, 260.0), 640, 480)
    points = np.random.default_rng(0).normal(size=(4, 6, 3)) + (0, 0, 5)
    by_matrix = points @ camera.intrinsics.T
    np.testing.assert_allclose(camera.project(points), by_matrix[..., :2] / by_matrix[..., 2:])


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (333, 250), (64, 48)])
def test_resizing_moves_pixels_in_proportion(size):
    camera = Camera(5000.0, (400.0, 300.0), 800, 600)
    points = np.random.default_rng(1).normal(size=(20, 3)) + (0, 0, 12)
    scaled = camera.scaled(*size)
    assert (scaled.width, scaled.height) == size
    moved = camera.project(points) * (size[0] / 800)
    # Focal length follows the width, the middle follows each side.
    moved[:, 1] += scaled.principal_point[1] - 300.0 * size[0] / 800
    np.testing.assert_allclose(scaled.project(points), moved)
    assert abs(scaled.principal_point[1] - size[1] / 2) < 1e-9


def test_there_and_back():
    camera = Camera(5000.0, (400.0, 300.0), 800, 600)
    assert camera.scaled(1600, 1200).scaled(800, 600) == camera


def test_weak_camera():
    transl = weak_camera_to_transl(torch.tensor([[0.1, 0.05, -0.2]], dtype=torch.float64))
    wanted = torch.tensor([[0.5, -2.0, 10.0]], dtype=torch.float64)
    torch.testing.assert_close(transl, wanted, rtol=1e-7, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1e-7, 0.0, -1e-6, -0.1, -3.0])
def test_scales_without_good_depth_stay_finite(scale):
    """Near zero somebody is far away, below zero behind the camera; nothing is clamped."""
    weak = torch.tensor([[scale, 0.3, -0.4]], requires_grad=True)
    transl = weak_camera_to_transl(weak)
    assert torch.isfinite(transl).all()
    assert (transl[0, 2] < 0) == (scale < 0)
    torch.testing.assert_close(transl[0, :2] / transl[0, 2], torch.tensor([0.3, -0.4]))
    pixels = project_points(transl, 5000.0, torch.tensor([640, 480]))
    torch.testing.assert_close(pixels, torch.tensor([[320 + 1500.0, 240 - 2000.0]]))
    pixels.sum().backward()
    assert torch.isfinite(weak.grad).all()


def test_both_projections_agree():
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    points = points + torch.tensor([0.0, 0, 9])
    pixels = project_points(points, 900.0, torch.tensor([[[640, 480]], [[333, 801]]]))
    for index, (width, height) in enumerate([(640, 480), (333, 801)]):
        camera = Camera(900.0, (width / 2, height / 2), width, height)
        np.testing.assert_allclose(pixels[index].numpy(), camera.project(points[index].numpy()))


def test_nobody():
    assert Camera(9.0, (1.0, 1.0), 2, 2).project(np.zeros((0, 144, 3))).shape == (0, 144, 2)
    assert weak_camera_to_transl(torch.zeros(0, 3)).shape == (0, 3)
