"""Camera: known points, resizing, weak-perspective scales, translation from 2D points."""

import numpy as np
import pytest
import torch

from aios.geometry.camera import Camera, FitSigmas, fit_translation, weak_camera_to_transl
from tests.helpers.projection import project_points


def test_projection_of_known_points():
    camera = Camera(1000.0, (320.0, 240.0), 640, 480)
    points = np.array([[0.0, 0.0, 3.0], [1.0, 0.0, 10.0], [0.0, -0.5, 5.0]])
    wanted = [[320, 240], [420, 240], [320, 140]]  # y down: -0.5 m is up
    np.testing.assert_allclose(camera.project(points), wanted)


def test_intrinsics_give_the_same_projection():
    camera = Camera(731.5, (300.25, 260.0), 640, 480)
    points = np.random.default_rng(0).normal(size=(4, 6, 3)) + (0, 0, 5)
    by_matrix = points @ camera.intrinsics.T
    np.testing.assert_allclose(camera.project(points), by_matrix[..., :2] / by_matrix[..., 2:])


@pytest.mark.parametrize("size", [(640, 480), (1280, 960), (333, 250), (64, 48)])
def test_resizing_scales_projections(size):
    camera = Camera(5000.0, (400.0, 300.0), 800, 600)
    points = np.random.default_rng(1).normal(size=(20, 3)) + (0, 0, 12)
    scaled = camera.scaled(*size)
    assert (scaled.width, scaled.height) == size
    moved = camera.project(points) * (size[0] / 800)
    # The focal length is scaled as the width, the principal point as each side.
    moved[:, 1] += scaled.principal_point[1] - 300.0 * size[0] / 800
    np.testing.assert_allclose(scaled.project(points), moved)
    assert abs(scaled.principal_point[1] - size[1] / 2) < 1e-9


def test_resizing_round_trip():
    camera = Camera(5000.0, (400.0, 300.0), 800, 600)
    assert camera.scaled(1600, 1200).scaled(800, 600) == camera


def test_translation_of_a_known_weak_camera():
    transl = weak_camera_to_transl(torch.tensor([[0.1, 0.05, -0.2]], dtype=torch.float64))
    wanted = torch.tensor([[0.5, -2.0, 10.0]], dtype=torch.float64)
    torch.testing.assert_close(transl, wanted, rtol=1e-7, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1e-7, 0.0, -1e-6, -0.1, -3.0])
def test_translation_is_finite_for_any_scale(scale):
    """Not clamped: near zero a person is far away, below zero behind the camera."""
    weak_camera = torch.tensor([[scale, 0.3, -0.4]], requires_grad=True)
    transl = weak_camera_to_transl(weak_camera)
    assert torch.isfinite(transl).all()
    assert (transl[0, 2] < 0) == (scale < 0)
    torch.testing.assert_close(transl[0, :2] / transl[0, 2], torch.tensor([0.3, -0.4]))
    pixels = project_points(transl, 5000.0, torch.tensor([640, 480]))
    torch.testing.assert_close(pixels, torch.tensor([[320 + 1500.0, 240 - 2000.0]]))
    pixels.sum().backward()
    assert torch.isfinite(weak_camera.grad).all()


def test_empty_input():
    assert Camera(9.0, (1.0, 1.0), 2, 2).project(np.zeros((0, 144, 3))).shape == (0, 144, 2)
    assert weak_camera_to_transl(torch.zeros(0, 3)).shape == (0, 3)


def test_field_of_view_is_across_the_longer_side():
    camera = Camera(500.0, (500.0, 200.0), 1000, 400)
    assert camera.field_of_view == pytest.approx(90)
    assert Camera(500.0, (200.0, 500.0), 400, 1000).field_of_view == pytest.approx(90)
    other = camera.with_field_of_view(60.0)
    assert other.field_of_view == pytest.approx(60) and other.focal_length > 500
    assert (other.width, other.height, other.principal_point) == (1000, 400, (500.0, 200.0))
    for degrees in (0, -3, 180, 200, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 180"):
            camera.with_field_of_view(degrees)


def people_in_front(camera, count=5):
    rng = np.random.default_rng(4)
    bodies = rng.normal(size=(count, 22, 3)) * (0.25, 0.5, 0.15)
    positions = np.stack([rng.uniform(-1, 1, count), rng.uniform(-1, 1, count)], -1)
    depth = rng.uniform(8, 30, count)
    return bodies + np.concatenate([positions, depth[:, None]], -1)[:, None]


@pytest.mark.parametrize("degrees", [10.0, 40.0, 75.0])
def test_projections_stay_in_place_with_another_field_of_view(degrees):
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_in_front(camera)
    other = camera.with_field_of_view(degrees)
    moved = points + fit_translation(points, camera.project(points), other)[:, None]
    heights = np.ptp(camera.project(points)[..., 1], axis=1)
    distance = np.linalg.norm(other.project(moved) - camera.project(points), axis=-1)
    assert (distance.mean(1) < 0.12 * heights).all()
    ratio = other.focal_length / camera.focal_length
    np.testing.assert_allclose(moved[:, :, 2].mean(1) / points[:, :, 2].mean(1), ratio, rtol=0.25)
    # The sum of squares is at its minimum.
    best = ((other.project(moved) - camera.project(points)) ** 2).sum()
    for axis in range(3):
        for step in (-0.02, 0.02):
            nudged = moved + step * np.eye(3)[axis]
            assert ((other.project(nudged) - camera.project(points)) ** 2).sum() > best


def test_fit_is_zero_for_the_same_camera_and_exact_for_a_flat_body():
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_in_front(camera)
    np.testing.assert_allclose(
        fit_translation(points, camera.project(points), camera), 0, atol=1e-9
    )
    flat = points.copy()
    flat[..., 2] = flat[:, :1, 2]
    other = camera.with_field_of_view(65.0)
    moved = flat + fit_translation(flat, camera.project(flat), other)[:, None]
    np.testing.assert_allclose(other.project(moved), camera.project(flat), atol=1e-6)


def test_bodies_with_invalid_points_do_not_move():
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_in_front(camera)
    points[1, 3, 2] = -0.1
    points[2, 0, 0] = np.nan
    wide = camera.with_field_of_view(60.0)
    shift = fit_translation(points, camera.project(points), wide)
    assert (shift[[1, 2]] == 0).all() and (shift[[0, 3, 4]] != 0).all()
    assert fit_translation(points[:0], np.zeros((0, 22, 2)), camera).shape == (0, 3)


def test_fit_recovers_a_known_translation():
    camera = Camera(900.0, (640.0, 360.0), 1280, 720)
    points = people_in_front(camera)
    target = points + np.random.default_rng(0).uniform(-0.5, 0.5, (len(points), 1, 3))
    moved = points + fit_translation(points, camera.project(target), camera)[:, None]
    np.testing.assert_allclose(moved, target, atol=1e-6)
    unknown = np.full((len(points), 22, 2), np.nan)
    assert (fit_translation(points, unknown, camera) == 0).all()


def test_depth_prior_keeps_the_depth_and_fits_the_image_position():
    camera = Camera(900.0, (640.0, 360.0), 1280, 720)
    points = people_in_front(camera)
    # Keypoints of a body of half the size, shifted: alone they imply a larger depth.
    middle = points.mean(1, keepdims=True)
    small = camera.project(middle + (points - middle) / 2) + 40.0
    count = len(points)

    def fitted(depth_sigma: float, pixels: float) -> np.ndarray:
        sigmas = FitSigmas(np.full(count, pixels), depth_sigma * middle[:, 0, 2])
        return fit_translation(points, small, camera, sigmas)

    alone = fit_translation(points, small, camera)
    assert (alone[:, 2] > 0.5 * middle[:, 0, 2]).all()
    kept = fitted(1e-4, 30.0)
    assert (np.abs(kept[:, 2]) < 1e-3 * middle[:, 0, 2]).all()
    seen = camera.project(points + kept[:, None])
    np.testing.assert_allclose(seen.mean(1), small.mean(1), atol=3.0)
    np.testing.assert_allclose(fitted(1e4, 1.0), alone, rtol=1e-4, atol=1e-4)
    between = fitted(0.2, 30.0)
    assert ((between[:, 2] > kept[:, 2]) & (between[:, 2] < alone[:, 2])).all()
    # Only the ratio of the standard deviations matters.
    np.testing.assert_allclose(fitted(0.2, 15.0), fitted(0.4, 30.0), rtol=1e-6)
