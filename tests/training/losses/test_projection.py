"""The camera sees the joints where they are, and stays finite where it is not learned yet."""

import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.camera import project_points, weak_camera_to_transl
from tests.helpers.training_samples import FOCAL_PX, SIZE_HW, random_targets
from training.losses.projection import bounded, fit_weak_camera, point_distance, project_joints
from training.targets import BODY_KEYPOINTS


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_camera_fit_sees_the_joints_where_they_are(body):
    targets = random_targets(body, 4)
    sizes_hw = torch.tensor([SIZE_HW]).expand(4, 2)
    camera, told = fit_weak_camera(targets, FOCAL_PX, sizes_hw)
    assert bool((told == 1).all())
    without = targets.joints_3d - targets.transl[:, None]
    projected = project_joints(without, camera, FOCAL_PX, sizes_hw, None)
    torch.testing.assert_close(projected, targets.joints_2d, atol=2e-3, rtol=0)
    torch.testing.assert_close(camera[:, 0], 1 / targets.transl[:, 2], atol=1e-3, rtol=0)
    keypoints = projected[:, list(BODY_KEYPOINTS)]
    torch.testing.assert_close(keypoints, targets.keypoints_2d, atol=2e-3, rtol=0)


def test_each_picture_has_its_own_middle():
    points, camera = torch.rand(2, 5, 3), torch.tensor([[0.1, 0.2, -0.1]]).expand(2, 3)
    sizes_hw = torch.tensor([[100, 200], [300, 150]])
    ours = project_joints(points, camera, 500.0, sizes_hw, None)
    sizes_wh = sizes_hw.flip(-1)[:, None].float()
    moved = points + weak_camera_to_transl(camera)[:, None]
    wanted = project_points(moved, 500.0, sizes_wh) / sizes_wh
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-12, -0.5, -2.0, 3.0, 50.0])
@pytest.mark.parametrize("least", [None, 1e-3])
def test_no_scale_makes_projection_blow_up(scale, least):
    """An untrained network says 0; joints may also come to lie behind the camera."""
    points = torch.linspace(-1, 1, 33).view(1, 11, 3)
    camera = torch.tensor([[scale, 0.1, 0.0]], requires_grad=True)
    sizes_hw = torch.tensor([[800, 1000]])
    projected = project_joints(points, camera, 5000.0, sizes_hw, least)
    (gradient,) = torch.autograd.grad(projected.abs().sum(), camera)
    assert bool(projected.isfinite().all() and gradient.isfinite().all())
    if scale == 0.0 and least is None:
        assert float(gradient[0, 0].abs()) > 0


def test_projection_gradient():
    torch.manual_seed(0)
    points = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    camera = (torch.rand(2, 3, dtype=torch.float64) * 0.2 + 0.05).requires_grad_()
    sizes_hw = torch.tensor([[20, 30], [30, 20]])

    def project(p, c):
        return project_joints(p, c, 10.0, sizes_hw, 1e-3)

    assert torch.autograd.gradcheck(project, (points, camera))


def test_far_misses_are_bounded_and_near_ones_are_not():
    distance = torch.tensor([0.0, 0.5, 1.0, 2.0, 100.0], dtype=torch.float64)
    kept = bounded(distance, 1.0)
    torch.testing.assert_close(kept[:3], distance[:3])
    assert float(kept[4]) < 6.0
    assert bool((kept.diff() > 0).all())


def test_distance_in_sides_of_the_box_is_a_mean():
    wanted = torch.zeros(1, 4, 2)
    predicted = torch.full((1, 4, 2), 0.05)
    box, mask = torch.tensor([[0.5, 0.5, 0.1, 0.4]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    summed = point_distance(predicted, wanted, mask, box, in_box_units=False)
    mean = point_distance(predicted, wanted, mask, box, in_box_units=True)
    assert float(summed) == pytest.approx(0.2)
    assert float(mean) == pytest.approx(0.1 / 0.4)
