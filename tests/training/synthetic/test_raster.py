"""Rasterizer against a slow ray caster and analytic geometry; Triton kernel against plain fill."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from tests.accelerate.test_kernel_attention import results_of
from training.synthetic import raster
from training.synthetic.primitives import BOX, CYLINDER, ELLIPSOID, Primitives, mesh_templates
from training.synthetic.raster import Triangles, rasterize
from training.synthetic.raster_fill import EMPTY, unpack

SIZE = (24, 32)


def triangles(corners: torch.Tensor, images: torch.Tensor, two_sided: bool = True) -> Triangles:
    """Triangles with corners (T, 3, 3), camera frames, metres; owners 0, 1, 2 in turn."""
    count = len(corners)
    return Triangles(
        tuple(corners.permute(1, 2, 0)),
        images,
        torch.arange(count) % 3,
        torch.ones(count, dtype=torch.bool),
        torch.full((count,), two_sided),
    )


def random_corners(count: int, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    middle = torch.rand(count, 1, 3, generator=source) * torch.tensor([3.0, 2.4, 3.0])
    middle = middle - torch.tensor([1.5, 1.2, -1.5])
    return middle + torch.randn(count, 3, 3, generator=source) * 0.35


def ray_cast(corners: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Number and depth of the nearest triangle per pixel, -1 and inf where there is none."""
    height, width = SIZE
    number, nearest = np.full(SIZE, -1), np.full(SIZE, np.inf)
    for row in range(height):
        for column in range(width):
            ray = np.array(
                [(column + 0.5 - width / 2) / focal, (row + 0.5 - height / 2) / focal, 1]
            )
            for index, (a, b, c) in enumerate(corners):
                if min(a[2], b[2], c[2]) <= 0.1:
                    continue
                solution = np.linalg.lstsq(np.stack([a, b, c], 1), ray, rcond=None)[0]
                weights = solution / solution.sum()
                depth = 1 / solution.sum()
                if weights.min() >= 0 and 0 < depth < nearest[row, column]:
                    number[row, column], nearest[row, column] = index, depth
    return number, nearest


def test_rasterizer_matches_ray_casting() -> None:
    corners = random_corners(40)
    drawn = rasterize(
        triangles(corners, torch.zeros(40, dtype=torch.int64)), torch.tensor([30.0]), SIZE
    )
    number, depth = unpack(drawn.keys.view(SIZE))
    wanted, wanted_depth = ray_cast(corners.double().numpy(), 30.0)
    found = torch.where(drawn.keys.view(SIZE) < EMPTY, number, -1).numpy()
    assert (found >= 0).sum() > 200
    same = found == wanted
    assert same.mean() > 0.995  # a pixel centre exactly on an edge can fall to either side
    near = same & (wanted >= 0)
    np.testing.assert_allclose(depth.numpy()[near], wanted_depth[near], atol=2e-4)


def test_image_does_not_depend_on_its_batch() -> None:
    first, second = random_corners(30, 1), random_corners(50, 2)
    focal = torch.tensor([25.0, 40.0])
    images = torch.tensor([0] * 30 + [1] * 50)
    both = rasterize(triangles(torch.cat([first, second]), images), focal, SIZE).keys.view(2, -1)
    alone = rasterize(triangles(second, torch.zeros(50, dtype=torch.int64)), focal[1:], SIZE).keys
    number, depth = unpack(both[1])
    own_number, own_depth = unpack(alone)
    assert torch.equal(depth, own_depth)
    drawn = alone < EMPTY
    assert torch.equal(number[drawn] - 30, own_number[drawn])


def test_back_faces_are_culled_unless_two_sided() -> None:
    front = torch.tensor([[[-0.5, -0.5, 2.0], [-0.5, 0.5, 2.0], [0.5, 0.5, 2.0]]])
    for corners, seen in ((front, True), (front.flip(1), False)):
        for two_sided in (False, True):
            one = triangles(corners, torch.zeros(1, dtype=torch.int64), two_sided)
            drawn = rasterize(one, torch.tensor([30.0]), SIZE).keys < EMPTY
            assert bool(drawn.any()) == (seen or two_sided)


def test_adjacent_triangles_leave_no_gap_and_coverage_ignores_occlusion() -> None:
    """A wall of two triangles hides a person; the person's coverage is counted all the same."""
    low, high = -9.0, 9.0
    square = torch.tensor([[low, low, 3.0], [high, low, 3.0], [high, high, 3.0], [low, high, 3.0]])
    wall = square[torch.tensor([[0, 2, 1], [0, 3, 2]])]
    person = square[torch.tensor([[0, 2, 1], [0, 3, 2]])] * 0.02 + torch.tensor([0, 0, 4.0])
    corners = torch.cat([wall, person])
    one = triangles(corners, torch.zeros(4, dtype=torch.int64))
    one = Triangles(one.corners, one.image, torch.tensor([-1, -1, 0, 0]), one.shown, one.two_sided)
    drawn = rasterize(one, torch.tensor([30.0]), SIZE, people=1)
    number, _ = unpack(drawn.keys)
    assert (drawn.keys < EMPTY).all()
    assert (number < 2).all()
    width = 0.36 / 4.06 * 30
    assert abs(int(drawn.covered.sum()) - width**2) < 3 * width


def test_no_triangles_give_an_empty_image() -> None:
    none = triangles(torch.zeros(0, 3, 3), torch.zeros(0, dtype=torch.int64))
    assert (rasterize(none, torch.tensor([30.0]), SIZE).keys == EMPTY).all()


def test_primitives_have_the_given_size_and_outward_faces() -> None:
    kinds = torch.tensor([BOX, CYLINDER, ELLIPSOID])
    sizes = torch.tensor([[1.0, 2.0, 0.5]] * 3)
    shapes = Primitives(
        kinds, torch.diag_embed(sizes), torch.zeros(3, 3), torch.ones(3, 3),
        torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64), -torch.ones(3).long(),
    )  # fmt: skip
    vertices, normals = shapes.mesh()
    torch.testing.assert_close(vertices.amax(1)[0], sizes[0])
    assert (vertices.abs().amax(1) <= sizes + 1e-6).all()
    faces = mesh_templates(torch.device("cpu"))[2]
    corners = vertices[:, faces]
    outwards = torch.linalg.cross(
        corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    )
    assert ((outwards * corners.mean(2)).sum(-1) >= -1e-6).all()
    # Volumes by the divergence theorem: 8 abc, about 2 pi abc, about 4/3 pi abc.
    volume = (outwards * corners.mean(2)).sum((1, 2)) / 6
    assert abs(float(volume[0]) - 8) < 1e-4
    assert 5.9 < float(volume[1]) < 6.3
    assert 3.4 < float(volume[2]) < 4.2
    assert ((normals * vertices).sum(-1) > 0).all()


def test_kernel_matches_plain_fill(tmp_path: Path) -> None:
    found = results_of("tests.helpers.raster_cases", tmp_path)
    assert found["chosen"]
    for case, (keys, covers, drawn) in found["cases"].items():
        assert drawn > 0 or case == "none", case
        # A pixel centre on an edge can fall to either side; the last bit of a depth can differ.
        assert keys <= 0.01 * drawn, case
        assert covers <= 0.01 * drawn, case


def test_plain_fill_is_used_if_the_kernel_is_missing_or_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    raster.select_fill.cache_clear()
    monkeypatch.setitem(sys.modules, "training.synthetic.raster_kernel", None)
    assert raster.select_fill(torch.device("cpu")) is raster.fill
    assert "without the Triton kernel" in caplog.text
    raster.select_fill.cache_clear()
    wrong = ModuleType("training.synthetic.raster_kernel")
    wrong.fill_by_kernel = lambda *_: None
    monkeypatch.setitem(sys.modules, "training.synthetic.raster_kernel", wrong)
    assert raster.select_fill(torch.device("cpu")) is raster.fill
    assert caplog.text.count("without the Triton kernel") == 2
    raster.select_fill.cache_clear()
