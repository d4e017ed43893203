"""The camera: known points, resizing, and the scales at which depth has no good answer."""

import numpy as np
import pytest
import torch

from aios.geometry.camera import (
    Camera,
    Spread,
    project_points,
    shift_to_match,
    weak_camera_to_transl,
)


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


def test_field_of_view_is_that_of_the_longer_side():
    camera = Camera(500.0, (500.0, 200.0), 1000, 400)
    assert camera.field_of_view == pytest.approx(90)
    assert Camera(500.0, (200.0, 500.0), 400, 1000).field_of_view == pytest.approx(90)
    other = camera.with_field_of_view(60.0)
    assert other.field_of_view == pytest.approx(60) and other.focal_length > 500
    assert (other.width, other.height, other.principal_point) == (1000, 400, (500.0, 200.0))
    for degrees in (0, -3, 180, 200, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 180"):
            camera.with_field_of_view(degrees)


def people_before(camera, count=5):
    rng = np.random.default_rng(4)
    bodies = rng.normal(size=(count, 22, 3)) * (0.25, 0.5, 0.15)
    places = np.stack([rng.uniform(-1, 1, count), rng.uniform(-1, 1, count)], -1)
    depth = rng.uniform(8, 30, count)
    return bodies + np.concatenate([places, depth[:, None]], -1)[:, None]


@pytest.mark.parametrize("degrees", [10.0, 40.0, 75.0])
def test_people_stay_where_they_are_seen_before_another_lens(degrees):
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_before(camera)
    other = camera.with_field_of_view(degrees)
    moved = points + shift_to_match(points, camera.project(points), other)[:, None]
    heights = np.ptp(camera.project(points)[..., 1], axis=1)
    apart = np.linalg.norm(other.project(moved) - camera.project(points), axis=-1)
    assert (apart.mean(1) < 0.12 * heights).all()
    ratio = other.focal_length / camera.focal_length
    np.testing.assert_allclose(moved[:, :, 2].mean(1) / points[:, :, 2].mean(1), ratio, rtol=0.25)
    # No other place is better: the residual of least squares has no slope.
    best = ((other.project(moved) - camera.project(points)) ** 2).sum()
    for axis in range(3):
        for step in (-0.02, 0.02):
            nudged = moved + step * np.eye(3)[axis]
            assert ((other.project(nudged) - camera.project(points)) ** 2).sum() > best


def test_the_same_lens_moves_nobody_and_a_flat_body_is_exact():
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_before(camera)
    np.testing.assert_allclose(shift_to_match(points, camera.project(points), camera), 0, atol=1e-9)
    flat = points.copy()
    flat[..., 2] = flat[:, :1, 2]
    other = camera.with_field_of_view(65.0)
    moved = flat + shift_to_match(flat, camera.project(flat), other)[:, None]
    np.testing.assert_allclose(other.project(moved), camera.project(flat), atol=1e-6)


def test_who_cannot_be_seen_stays():
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    points = people_before(camera)
    points[1, 3, 2] = -0.1
    points[2, 0, 0] = np.nan
    wide = camera.with_field_of_view(60.0)
    shift = shift_to_match(points, camera.project(points), wide)
    assert (shift[[1, 2]] == 0).all() and (shift[[0, 3, 4]] != 0).all()
    assert shift_to_match(points[:0], np.zeros((0, 22, 2)), camera).shape == (0, 3)


def test_a_body_moves_to_the_pixels_where_it_should_be_seen():
    camera = Camera(900.0, (640.0, 360.0), 1280, 720)
    points = people_before(camera)
    there = points + np.random.default_rng(0).uniform(-0.5, 0.5, (len(points), 1, 3))
    moved = points + shift_to_match(points, camera.project(there), camera)[:, None]
    np.testing.assert_allclose(moved, there, atol=1e-6)
    unknown = np.full((len(points), 22, 2), np.nan)
    assert (shift_to_match(points, unknown, camera) == 0).all()


def test_a_depth_that_is_sure_is_kept_and_the_place_in_the_picture_still_found():
    camera = Camera(900.0, (640.0, 360.0), 1280, 720)
    points = people_before(camera)
    # Keypoints of a body half as large, and elsewhere: by themselves they say it is far away.
    middle = points.mean(1, keepdims=True)
    small = camera.project(middle + (points - middle) / 2) + 40.0
    count = len(points)

    def shifted(share: float, pixels: float) -> np.ndarray:
        spread = Spread(np.full(count, pixels), share * middle[:, 0, 2])
        return shift_to_match(points, small, camera, spread)

    alone = shift_to_match(points, small, camera)
    assert (alone[:, 2] > 0.5 * middle[:, 0, 2]).all()
    kept = shifted(1e-4, 30.0)
    assert (np.abs(kept[:, 2]) < 1e-3 * middle[:, 0, 2]).all()
    seen = camera.project(points + kept[:, None])
    np.testing.assert_allclose(seen.mean(1), small.mean(1), atol=3.0)
    np.testing.assert_allclose(shifted(1e4, 1.0), alone, rtol=1e-4, atol=1e-4)
    between = shifted(0.2, 30.0)
    assert ((between[:, 2] > kept[:, 2]) & (between[:, 2] < alone[:, 2])).all()
    # Pixels that are twice as sure count as a depth that is half as sure.
    np.testing.assert_allclose(shifted(0.2, 15.0), shifted(0.4, 30.0), rtol=1e-6)
