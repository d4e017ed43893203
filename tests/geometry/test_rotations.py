"""Rotations: conversions are inverse, also at angles where formulas have singularities."""

import math

import pytest
import torch

from aios.geometry.rotations import (
    axis_angle_to_rotmat,
    quaternion_to_axis_angle,
    rotation_6d_to_rotmat,
    rotmat_to_axis_angle,
    rotmat_to_quaternion,
)

AXES = torch.nn.functional.normalize(
    torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [1, 1, 0], [1, -2, 3], [-1, -1, -1]],
        dtype=torch.float64,
    )
)
ANGLES = [0.0, 1e-9, 1e-7, 1e-3, 0.5, math.pi / 2, 3.0, math.pi - 1e-6, math.pi, math.pi + 0.2, 6.0]


def random_rotations(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return rotation_6d_to_rotmat(torch.randn(count, 6, dtype=torch.float64, generator=generator))


def assert_rotations(rotmat, atol=1e-9):
    eye = torch.eye(3, dtype=rotmat.dtype).expand_as(rotmat)
    torch.testing.assert_close(rotmat @ rotmat.mT, eye, atol=atol, rtol=0)
    assert (torch.linalg.det(rotmat) > 0).all()


def test_quarter_turn_about_z_takes_x_to_y():
    turn = axis_angle_to_rotmat(torch.tensor([0.0, 0.0, math.pi / 2]))
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_rotation_6d_is_two_columns_in_row_major_order():
    # Rows (1, 0), (0, 1), (0, 0): columns x and y.
    identity = rotation_6d_to_rotmat(torch.tensor([1.0, 0, 0, 1, 0, 0]))
    torch.testing.assert_close(identity, torch.eye(3))
    rotmat = random_rotations(50)
    rotation_6d = rotmat[..., :2].flatten(-2)
    torch.testing.assert_close(rotation_6d_to_rotmat(rotation_6d), rotmat)
    stretched = rotmat[..., :2] @ torch.tensor([[3.0, -4.0], [0.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(rotation_6d_to_rotmat(stretched.flatten(-2)), rotmat)


def test_any_rotation_6d_gives_a_rotation():
    rotation_6d = torch.randn(
        500, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    assert_rotations(rotation_6d_to_rotmat(rotation_6d * 10.0 ** torch.randint(-4, 4, (500, 1))))


def test_degenerate_rotation_6d_stays_finite():
    zero = rotation_6d_to_rotmat(torch.zeros(2, 6))
    assert torch.equal(zero, torch.zeros(2, 3, 3))
    assert torch.isfinite(rotmat_to_axis_angle(zero)).all()
    parallel = rotation_6d_to_rotmat(torch.tensor([1.0, 2, 1, 2, 1, 2]))
    assert torch.isfinite(parallel).all()


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_round_trip(angle):
    vectors = AXES * angle
    rotmat = axis_angle_to_rotmat(vectors)
    assert_rotations(rotmat)
    back = rotmat_to_axis_angle(rotmat)
    torch.testing.assert_close(axis_angle_to_rotmat(back), rotmat, atol=1e-8, rtol=0)
    if angle == 0.0:
        assert torch.equal(back, torch.zeros_like(back))
    assert (back.norm(dim=-1) < 2 * math.pi + 1e-9).all()
    different = (back - vectors).norm(dim=-1)
    # The vector itself or its 2 pi complement.
    complement = vectors - AXES * 2 * math.pi
    assert (torch.minimum(different, (back - complement).norm(dim=-1)) < 1e-7).all()


def test_angles_above_pi_are_not_reduced():
    """The largest component of the quaternion is positive, whatever the sign of w."""
    vectors = torch.tensor([[-3.0, 0.1, 0.0], [0.0, -2.5, 0.3]], dtype=torch.float64)
    back = rotmat_to_axis_angle(axis_angle_to_rotmat(vectors))
    assert (back.norm(dim=-1) > math.pi).all()
    axis = vectors / vectors.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(back, vectors - axis * 2 * math.pi)
    # A hand pose differs from its complement, so the round trip must keep it.
    again = rotmat_to_axis_angle(axis_angle_to_rotmat(back))
    torch.testing.assert_close(again, back)


def test_quaternion_of_known_rotations():
    half = math.sqrt(0.5)
    vectors = torch.tensor(
        [[0, 0, 0], [math.pi, 0, 0], [0, math.pi / 2, 0], [0, 0, -math.pi]], dtype=torch.float64
    )
    wanted = torch.tensor(
        [[1, 0, 0, 0], [0, 1, 0, 0], [half, 0, half, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    torch.testing.assert_close(rotmat_to_quaternion(axis_angle_to_rotmat(vectors)), wanted)
    quaternions = rotmat_to_quaternion(random_rotations(300))
    torch.testing.assert_close(quaternions.norm(dim=-1), torch.ones(300, dtype=torch.float64))
    largest = quaternions.abs().argmax(-1, keepdim=True)
    assert (quaternions.gather(-1, largest) > 0).all()
    assert (quaternions[:, 0] < 0).any()


def test_angle_of_a_quaternion_with_negative_w():
    w = math.cos(2.0)  # half of an angle of 4
    vector = quaternion_to_axis_angle(torch.tensor([w, math.sin(2.0), 0.0, 0.0]))
    torch.testing.assert_close(vector, torch.tensor([4.0, 0.0, 0.0]))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1.0, math.pi, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_at_every_angle(angle, dtype):
    vectors = (AXES * angle).to(dtype).requires_grad_()
    rotmat = axis_angle_to_rotmat(vectors)
    rotmat.sin().sum().backward()
    assert torch.isfinite(vectors.grad).all()
    rotmat = rotmat.detach().requires_grad_()
    rotmat_to_axis_angle(rotmat).sin().sum().backward()
    assert torch.isfinite(rotmat.grad).all()


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, math.pi, 4.5])
def test_gradients_are_right(angle):
    vectors = (AXES * angle).requires_grad_()
    # At zero the formula is linearised: the step must stay below the threshold.
    eps = 1e-8 if angle == 0.0 else 1e-6
    atol = 1e-4 if angle == 0.0 else 1e-6
    assert torch.autograd.gradcheck(axis_angle_to_rotmat, vectors, eps=eps, atol=atol)
    if angle:
        assert torch.autograd.gradcheck(
            lambda v: rotmat_to_axis_angle(axis_angle_to_rotmat(v)), vectors
        )


def test_gradient_of_rotation_6d():
    rotation_6d = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(rotation_6d_to_rotmat, rotation_6d.requires_grad_())
    rest = torch.tensor([[1.0, 0, 0, 1, 0, 0]], dtype=torch.float64, requires_grad=True)
    rotmat_to_axis_angle(rotation_6d_to_rotmat(rest)).sum().backward()
    assert torch.isfinite(rest.grad).all()
    assert rest.grad.any()


def test_float32_is_close_to_float64():
    rotmat = random_rotations(500, seed=3)
    exact = axis_angle_to_rotmat(rotmat_to_axis_angle(rotmat))
    rounded = axis_angle_to_rotmat(rotmat_to_axis_angle(rotmat.float()))
    torch.testing.assert_close(rounded.double(), exact, atol=5e-6, rtol=0)


def test_empty_input():
    assert rotmat_to_axis_angle(torch.zeros(0, 15, 3, 3)).shape == (0, 15, 3)
    assert rotation_6d_to_rotmat(torch.zeros(0, 22, 6)).shape == (0, 22, 3, 3)
