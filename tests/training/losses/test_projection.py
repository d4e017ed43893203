"""Projection through the predicted camera, and the fit of its target."""

import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.camera import weak_camera_to_transl
from tests.helpers.training_samples import FOCAL_PX, SIZE_HW, random_targets
from training.losses.projection import fit_weak_camera, project_joints
from training.targets import BODY_KEYPOINTS


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def test_fitted_camera_projects_joints_onto_their_annotations(body):
    targets = random_targets(body, 4)
    sizes_hw = torch.tensor([SIZE_HW]).expand(4, 2)
    camera, usable = fit_weak_camera(targets, FOCAL_PX, sizes_hw)
    assert bool((usable == 1).all())
    without = targets.joints_3d - targets.transl[:, None]
    projected = project_joints(without, camera, FOCAL_PX, sizes_hw, None)
    torch.testing.assert_close(projected, targets.joints_2d, atol=2e-3, rtol=0)
    torch.testing.assert_close(camera[:, 0], 1 / targets.transl[:, 2], atol=1e-3, rtol=0)
    keypoints = projected[:, list(BODY_KEYPOINTS)]
    torch.testing.assert_close(keypoints, targets.keypoints_2d, atol=2e-3, rtol=0)


def test_principal_point_is_the_centre_of_each_image():
    points, camera = torch.rand(2, 5, 3), torch.tensor([[0.1, 0.2, -0.1]]).expand(2, 3)
    sizes_hw = torch.tensor([[100, 200], [300, 150]])
    found = project_joints(points, camera, 500.0, sizes_hw, None)
    sizes_wh = sizes_hw.flip(-1)[:, None].float()
    moved = points + weak_camera_to_transl(camera)[:, None]
    expected = (moved[..., :2] / moved[..., 2:] * 500.0 + sizes_wh / 2) / sizes_wh
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-12, -0.5, -2.0, 3.0, 50.0])
@pytest.mark.parametrize("min_scale", [None, 1e-3])
def test_projection_is_finite_for_every_scale(scale, min_scale):
    """An untrained network predicts 0, and joints may lie behind the camera."""
    points = torch.linspace(-1, 1, 33).view(1, 11, 3)
    camera = torch.tensor([[scale, 0.1, 0.0]], requires_grad=True)
    sizes_hw = torch.tensor([[800, 1000]])
    projected = project_joints(points, camera, 5000.0, sizes_hw, min_scale)
    (gradient,) = torch.autograd.grad(projected.abs().sum(), camera)
    assert bool(projected.isfinite().all() and gradient.isfinite().all())
    if scale == 0.0 and min_scale is None:
        assert float(gradient[0, 0].abs()) > 0


def test_projection_gradient_equals_finite_differences():
    torch.manual_seed(0)
    points = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    camera = (torch.rand(2, 3, dtype=torch.float64) * 0.2 + 0.05).requires_grad_()
    sizes_hw = torch.tensor([[20, 30], [30, 20]])

    def project(p, c):
        return project_joints(p, c, 10.0, sizes_hw, 1e-3)

    assert torch.autograd.gradcheck(project, (points, camera))
