import dataclasses
import logging
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import trimesh

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.render import opengl, overlay
from aios.render.labels import label_points
from aios.render.overlay import depth_overlay, person_colors, render_people, warm_up
from aios.render.scene import NEAR, build_scene, vertex_normals
from aios.render.software import rasterize

SPHERE = trimesh.creation.icosphere(subdivisions=3)
SPHERE_FACES = np.asarray(SPHERE.faces)


def spheres(*centres_and_radii):
    """(P, V, 3) from rows of x, y, z, radius."""
    rows = np.array(centres_and_radii, np.float32)
    return (SPHERE.vertices[None] * rows[:, None, 3:] + rows[:, None, :3]).astype(np.float32)


def camera_of(width, height, focal_length):
    return Camera(float(focal_length), (width / 2, height / 2), width, height)


@pytest.fixture(scope="module")
def bodies():
    """Five posed people about 9 m away, with overlapping limbs."""
    random = torch.Generator().manual_seed(3)
    body = BodyModel.load()
    pose = torch.randn(5, 63, generator=random) * 0.25
    pose[:, 15 * 3 + 2] -= 0.9
    pose[:, 16 * 3 + 2] += 0.9
    upright = torch.tensor([[np.pi, 0.0, 0.0]]).float().expand(5, 3)
    transl = torch.stack(
        [torch.linspace(-1.0, 1.0, 5), torch.zeros(5), 9 + torch.randn(5, generator=random)], 1
    )
    betas = torch.randn(5, 10, generator=random) * 0.7
    posed = body({"body_pose": pose, "global_orient": upright, "transl": transl, "betas": betas})
    return posed.vertices.numpy(), body.faces


def cast_rays(vertices, faces, camera):
    """Reference: intersects the ray of each pixel centre with each triangle."""
    x, y = camera.principal_point
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([(columns - x), (rows - y), np.full(rows.shape, camera.focal_length)], -1)
    rays = rays.reshape(-1, 3) / camera.focal_length
    depth, person = np.full(len(rays), np.inf), np.full(len(rays), -1)
    ambiguous = np.zeros(len(rays), bool)
    for index, points in enumerate(vertices.astype(np.float64)):
        for a, b, c in points[faces]:
            columns_of = np.stack([a - c, b - c], 1)
            normal = np.cross(a - c, b - c)
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = (c @ normal) / (rays @ normal)
            hits = rays * distance[:, None]
            barycentric = (hits - c) @ np.linalg.pinv(columns_of).T
            least = np.minimum(barycentric.min(1), 1 - barycentric.sum(1))
            ambiguous |= (np.abs(least) < 1e-4) & (distance > 0)
            wins = (least >= 0) & (distance >= NEAR) & (distance < depth)
            depth[wins], person[wins] = distance[wins], index
    shape = rows.shape
    return depth.reshape(shape), person.reshape(shape), ambiguous.reshape(shape)


def test_software_rasterizer_matches_ray_casting():
    random = np.random.default_rng(0)
    faces = np.arange(24).reshape(8, 3)
    centres = random.uniform((-1, -1, 0.5), (1, 1, 4), (4, 8, 1, 3))
    vertices = (centres + random.normal(0, 0.7, (4, 8, 3, 3))).reshape(4, 24, 3)
    assert (vertices[..., 2] < NEAR).any()  # some triangles cross the near plane
    camera = Camera(30.0, (21.3, 17.8), 44, 36)
    found = rasterize(build_scene(vertices, faces, np.ones((4, 3))), camera)
    depth, person, ambiguous = cast_rays(vertices, faces, camera)
    sure = ~ambiguous
    assert sure.mean() > 0.95
    assert (person >= 0).mean() > 0.5
    np.testing.assert_array_equal(found.person[sure], person[sure])
    drawn = sure & (person >= 0)
    np.testing.assert_allclose(found.depth[drawn], depth[drawn], rtol=1e-5)
    assert np.isinf(found.depth[found.person < 0]).all()


def test_adjacent_triangles_leave_no_cracks():
    random = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.linspace(-1.2, 1.2, 41), np.linspace(-1.2, 1.2, 41)), -1)
    grid[1:-1, 1:-1] += random.uniform(-0.02, 0.02, (39, 39, 2))
    points = np.concatenate([grid, np.full((41, 41, 1), 2.0)], -1).reshape(1, -1, 3)
    corner = (np.arange(40)[:, None] * 41 + np.arange(40)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 42], 1),
            np.stack([corner, corner + 42, corner + 41], 1),
        ]
    )
    found = rasterize(build_scene(points, faces, np.ones((1, 3))), camera_of(200, 200, 200))
    assert (found.person == 0).all()
    np.testing.assert_allclose(found.depth, 2.0, rtol=1e-6)


VIEWS = {
    "group": (camera_of(640, 360, 1700), (0, 0.35, 2)),
    "close": (camera_of(320, 240, 900), (0, 0.2, -7)),
    "far": (camera_of(240, 160, 500), (0, 0, 20)),
    "cut_by_frame": (camera_of(200, 300, 1700), (1.2, 0, 0)),
    "through_the_camera": (camera_of(320, 200, 150), (1, 0.35, -9.2)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("winding", [1, -1])
def test_renderers_agree(bodies, view, winding):
    vertices, faces = bodies
    camera, shift = VIEWS[view]
    vertices = vertices + np.array(shift, np.float32)
    ours, theirs = (
        render_people(vertices, faces[:, ::winding], camera, renderer)
        for renderer in ("software", "gl")
    )
    covered, also = ours.person >= 0, theirs.person >= 0
    assert covered.sum() > 100
    both = covered & also
    assert both.sum() / (covered | also).sum() >= 0.98
    inner = cv2.erode((ours.person + 1).astype(np.float32), np.ones((3, 3))) == ours.person + 1
    inner &= cv2.dilate((ours.person + 1).astype(np.float32), np.ones((3, 3))) == ours.person + 1
    np.testing.assert_array_equal(ours.person[inner & both], theirs.person[inner & both])
    assert (ours.person[both] == theirs.person[both]).mean() > 0.999
    ratio = ours.depth[both] / theirs.depth[both]
    assert np.percentile(np.abs(ratio - 1), 99) < 1e-3
    assert np.abs(ours.alpha - theirs.alpha).mean() < 0.02
    difference = ours.color[both].astype(int) - theirs.color[both]
    assert np.abs(difference.mean(0)).max() < 1.5
    # For triangles smaller than pixels, each renderer picks another triangle of the pixel.
    assert np.abs(difference).mean() < (8 if view == "far" else 3)


@pytest.mark.parametrize("renderer", ["software", "gl"])
def test_depth_test_does_not_depend_on_the_order_of_people(renderer):
    vertices = spheres((-0.2, 0, 6, 0.5), (0.2, 0, 5, 0.5), (0, 0.2, 7, 0.8))
    camera = camera_of(200, 160, 500)
    forwards = render_people(vertices, SPHERE_FACES, camera, renderer)
    colors = person_colors(3)
    backwards = render_people(vertices[::-1], SPHERE_FACES, camera, renderer, colors[::-1])
    middle = forwards.person[80, 100]
    assert middle == 1
    assert forwards.depth[80, 100] == pytest.approx(4.54, abs=0.02)
    flipped = np.where(backwards.person < 0, -1, 2 - backwards.person)
    assert (flipped == forwards.person).mean() > 0.999
    assert np.abs(backwards.color.astype(int) - forwards.color).mean() < 0.5


@pytest.mark.parametrize("renderer", ["software", "gl"])
def test_intersecting_people_are_split_by_depth(renderer):
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    slope = np.array([1, 1, 0], np.float32)
    tilted = square * slope + square[:, :1] * (0, 0, 0.5) + (0, 0, 4)
    vertices = np.stack([square + (0, 0, 4), tilted]).astype(np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    found = render_people(vertices, faces, camera_of(120, 120, 200), renderer)
    assert (found.person[55:65, 20:55] == 1).all()
    assert (found.person[55:65, 65:100] == 0).all()


@pytest.mark.parametrize("renderer", ["software", "gl"])
def test_undrawable_people_are_skipped(renderer):
    camera = camera_of(160, 120, 300)
    good = spheres((0, 0, 5, 0.6))
    bad = np.repeat(good, 5, 0)
    bad[0, 7, 1] = np.nan
    bad[1] *= -1
    bad[2, 3] = np.inf
    bad[3] += (0, 0, 1e7)
    bad[4] += (40, 0, 0)
    alone = render_people(good, SPHERE_FACES, camera, renderer, np.array([[9, 99, 200]]))
    colors = np.full((6, 3), (9, 99, 200))
    among = render_people(np.concatenate([bad, good]), SPHERE_FACES, camera, renderer, colors)
    np.testing.assert_array_equal(among.alpha, alone.alpha)
    np.testing.assert_allclose(among.color, alone.color, atol=8)
    assert (among.color != alone.color).mean() < 0.001
    np.testing.assert_array_equal(np.unique(among.person), [-1, 5])


def test_only_the_outline_is_soft():
    found = render_people(spheres((0, 0, 5, 1)), SPHERE_FACES, camera_of(200, 200, 350), "software")
    mask = (found.person >= 0).astype(np.uint8)
    inside = cv2.erode(mask, np.ones((9, 9)))
    outside = 1 - cv2.dilate(mask, np.ones((9, 9)))
    assert (found.alpha[inside > 0] == 1).all()
    assert (found.alpha[outside > 0] == 0).all()
    steps = np.unique(found.alpha[100, :100])
    assert len(steps) >= 4  # intermediate values
    assert (np.diff(found.alpha[100, 20:60]) >= 0).all()
    assert abs(found.alpha.sum() - mask.sum()) / mask.sum() < 0.01
    assert (found.color[found.alpha > 0.1].max(1) > 20).all()  # no black fringe


def test_lighting_is_from_the_upper_left():
    vertices = spheres((0, 0, 5, 1))
    normals = vertex_normals(vertices, SPHERE_FACES)
    np.testing.assert_allclose(normals[0], SPHERE.vertices, atol=0.02)
    found = render_people(vertices, SPHERE_FACES, camera_of(200, 200, 350), "software")
    bright = found.color.astype(int).sum(-1)
    assert bright[65, 75] > bright[135, 125] + 60  # from the upper left


def test_overlay_changes_only_people():
    photo = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    before = photo.copy()
    camera = camera_of(160, 120, 300)
    vertices = spheres((0.4, 0, 5, 0.5))
    image = overlay.overlay(photo, vertices, SPHERE_FACES, camera, renderer="software")
    found = render_people(vertices, SPHERE_FACES, camera, "software")
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(image[found.alpha == 0], photo[found.alpha == 0])
    np.testing.assert_allclose(image[found.alpha == 1], found.color[found.alpha == 1], atol=1)
    empty = overlay.overlay(photo, vertices[:0], SPHERE_FACES, camera)
    np.testing.assert_array_equal(empty, photo)
    assert not np.shares_memory(empty, photo)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 1)])
@pytest.mark.parametrize("renderer", ["software", "gl"])
def test_smallest_photos(size, renderer):
    width, height = size
    photo = np.full((height, width, 3), 128, np.uint8)
    camera = camera_of(width, height, 300)
    vertices = spheres((0, 0, 5, 1))
    image = overlay.overlay(photo, vertices, SPHERE_FACES, camera, renderer=renderer)
    assert image.shape == photo.shape
    assert (image != photo).any()
    depth = depth_overlay(photo, vertices, SPHERE_FACES, camera, [5.0], renderer)
    assert depth.shape == photo.shape


def test_large_photo_is_rendered_reduced_and_upscaled():
    camera = camera_of(5000, 3000, 7000)
    vertices = spheres((0.3, 0.1, 5, 0.5))
    photo = np.full((3000, 5000, 3), 255, np.uint8)
    image = overlay.overlay(photo, vertices, SPHERE_FACES, camera, renderer="software")
    assert image.shape == photo.shape
    changed = (image != 255).any(-1)
    rows, columns = np.indices(changed.shape)[:, changed]
    centre = 2500 + 0.3 / 5 * 7000, 1500 + 0.1 / 5 * 7000
    assert columns.mean() == pytest.approx(centre[0], abs=6)
    assert rows.mean() == pytest.approx(centre[1], abs=6)
    radius = 7000 * 0.5 / np.sqrt(25 - 0.25)
    assert changed.sum() == pytest.approx(np.pi * radius**2, rel=0.02)


def test_depth_overlay_colours_people_by_distance():
    photo = np.random.default_rng(0).integers(0, 256, (240, 400, 3), np.uint8)
    camera = camera_of(400, 240, 400)
    vertices = spheres((-1.2, 0, 6, 0.6), (0, 0, 4, 0.5), (2.2, 0, 9, 0.8))
    image = depth_overlay(photo, vertices, SPHERE_FACES, camera, [6.0, 4.0, 9.0], "software")
    found = render_people(vertices, SPHERE_FACES, camera, "software")
    background = image[cv2.dilate((found.alpha > 0).astype(np.uint8), np.ones((31, 31))) == 0]
    gray = (background.max(1) == background.min(1)).mean()
    assert gray > 0.7  # all but the legend
    assert image.flags.writeable
    redness = []
    for index in range(3):
        inside = cv2.erode((found.person == index).astype(np.uint8), np.ones((3, 3))) > 0
        mean = image[inside].astype(float).mean(0)
        redness.append(mean[0] - mean[2])
    assert redness[1] > redness[0] > redness[2]
    other = depth_overlay(photo, vertices, SPHERE_FACES, camera, [6.0, 4.2, 9.1], "software")
    changed = (image != other).any(-1)
    assert changed.any()
    assert {1, 2} <= set(np.unique(found.person[changed])) <= {-1, 1, 2}  # only two labels differ
    renamed = depth_overlay(
        photo, vertices, SPHERE_FACES, camera, [6.0, 4.0, 9.0], "software", [0, 1, 6]
    )
    assert set(np.unique(found.person[(image != renamed).any(-1)])) <= {-1, 2}


def test_depth_overlay_keeps_the_colours_beside_a_far_person():
    photo = np.full((240, 400, 3), 128, np.uint8)
    camera = camera_of(400, 240, 400)
    vertices = spheres((-1.2, 0, 6, 0.6), (0, 0, 4, 0.5), (90, 0, 200, 0.8))
    found = render_people(vertices, SPHERE_FACES, camera, "software")

    def colour(image, index):
        inside = cv2.erode((found.person == index).astype(np.uint8), np.ones((3, 3))) > 0
        return np.median(image[inside].astype(float), axis=0)

    image = depth_overlay(photo, vertices, SPHERE_FACES, camera, [6.0, 4.0, 200.0], "software")
    difference = np.abs(colour(image, 0) - colour(image, 1)).max()
    assert difference > 40
    faded = depth_overlay(
        *(photo, vertices, SPHERE_FACES, camera, [6.0, 4.0, 200.0], "software"),
        faded=np.array([True, False, False]),
    )
    assert np.ptp(colour(faded, 0)) < 20 < np.ptp(colour(faded, 1))


def test_label_point_is_inside_the_visible_region():
    person = np.full((60, 80), -1, np.int32)
    person[10:50, 10:40] = 0
    person[20:60, 20:70] = 2
    points = label_points(person, 3)
    assert np.isnan(points[1]).all()
    for index in (0, 2):
        x, y = points[index].round().astype(int)
        around = person[y - 2 : y + 3, x - 2 : x + 3]
        assert (around == index).all()


def test_depth_overlay_without_people_is_the_dimmed_photo():
    photo = np.full((50, 60, 3), 200, np.uint8)
    camera = camera_of(60, 50, 300)
    none = np.zeros((0, 3, 3), np.float32)
    image = depth_overlay(photo, none, np.zeros((0, 3), int), camera, [])
    assert image.shape == photo.shape
    assert len(np.unique(image)) == 1
    assert image.max() < 150


def test_colors_are_distinct_and_depend_on_the_index_alone():
    colors = person_colors(30)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(person_colors(np.array([7, 23])), colors[[7, 23]])
    distances = np.abs(colors[:, None].astype(int) - colors).sum(-1)
    assert distances[:10, :10][~np.eye(10, dtype=bool)].min() > 60
    assert distances[~np.eye(30, dtype=bool)].min() > 0
    assert person_colors(0).shape == (0, 3)


def test_many_threads_and_sizes_at_once():
    vertices = spheres((-0.3, 0, 5, 0.5), (0.3, 0, 6, 0.7))
    sizes = [(64, 48), (200, 100), (33, 190), (128, 128)] * 3

    def draw(size):
        camera = camera_of(*size, 200)
        return render_people(vertices, SPHERE_FACES, camera, "gl").color

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(draw, sizes))
    for size, image in zip(sizes, together, strict=True):
        np.testing.assert_array_equal(image, draw(size))


def test_more_people_than_an_8_bit_index():
    random = np.random.default_rng(4)
    centres = random.uniform((-1, -0.7, 3), (1, 0.7, 9), (600, 1, 3))
    vertices = (centres + random.normal(0, 0.1, (600, 3, 3))).astype(np.float32)
    view = vertices, np.array([[0, 1, 2]]), camera_of(300, 200, 400)
    ours, theirs = (render_people(*view, renderer) for renderer in ("software", "gl"))
    assert set(np.unique(theirs.person) // 255) == {-1, 0, 1, 2}  # three passes
    assert (ours.person == theirs.person).mean() > 0.998
    same = (ours.person == theirs.person) & (ours.person >= 0)
    np.testing.assert_allclose(theirs.depth[same], ours.depth[same], rtol=1e-3)
    assert np.abs(ours.color[same].astype(int) - theirs.color[same]).mean() < 1


def test_warm_up_does_not_block_rendering(monkeypatch):
    monkeypatch.setenv("AIOS_RENDERER", "gl")
    warm_up()
    vertices, camera = spheres((0, 0, 5, 1)), camera_of(50, 50, 90)
    assert render_people(vertices, SPHERE_FACES, camera).person[25, 25] == 0
    monkeypatch.setattr(opengl, "_start_worker", None)
    monkeypatch.setenv("AIOS_RENDERER", "software")
    warm_up()  # software needs no warm-up


def test_warm_up_does_not_start_the_worker_in_the_main_thread(monkeypatch):
    asked = queue.Queue()
    worker = SimpleNamespace(submit=lambda *_: asked.put(threading.current_thread()))
    monkeypatch.setattr(opengl, "_start_worker", lambda: worker)
    monkeypatch.setenv("AIOS_RENDERER", "auto")
    warm_up()
    assert asked.get(timeout=60) is not threading.main_thread()


def test_software_renderer_is_the_fallback_with_one_warning(monkeypatch, caplog):
    def fail(scene, camera):
        raise opengl.OpenGLError("no display")

    monkeypatch.setattr(opengl, "rasterize", fail)
    monkeypatch.setattr(overlay, "_auto_without_gl", False)
    vertices, camera = spheres((0, 0, 5, 1)), camera_of(50, 50, 90)
    with caplog.at_level(logging.WARNING):
        first = render_people(vertices, SPHERE_FACES, camera, "auto")
        render_people(vertices, SPHERE_FACES, camera, "auto")
    assert [record.getMessage() for record in caplog.records] == [
        "OpenGL is not available, using the software renderer: no display"
    ]
    expected = render_people(vertices, SPHERE_FACES, camera, "software")
    np.testing.assert_array_equal(first.color, expected.color)
    with pytest.raises(opengl.OpenGLError, match="no display"):
        render_people(vertices, SPHERE_FACES, camera, "gl")


def test_environment_variable_chooses_the_renderer(monkeypatch):
    vertices, camera = spheres((0, 0, 5, 1)), camera_of(50, 50, 90)
    monkeypatch.setenv("AIOS_RENDERER", "painter")
    with pytest.raises(ValueError, match="painter.*auto, gl, software"):
        render_people(vertices, SPHERE_FACES, camera)
    asked = []
    monkeypatch.setattr(opengl, "rasterize", lambda *scene: asked.append(scene))
    monkeypatch.setenv("AIOS_RENDERER", "software")
    render_people(vertices, SPHERE_FACES, camera)
    assert not asked


def in_new_process(script, variables):
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def test_triton_can_be_imported_after_rendering():
    """Mesa and Triton each load an LLVM; in the wrong order the process crashes."""
    script = """
import numpy as np
from aios.render.overlay import render_people
from aios.geometry.camera import Camera
triangle = np.array([[[0, 0, 5], [1, 0, 5], [0, 1, 5]]], np.float32)
view = triangle, np.array([[0, 1, 2]]), Camera(100.0, (20.0, 20.0), 40, 40)
assert (render_people(*view, "gl").person == 0).any()
import triton
"""
    done = in_new_process(script, {})
    assert done.returncode == 0, done.stderr


def test_import_does_not_load_opengl_and_its_failure_is_one_sentence():
    """An unknown OpenGL platform simulates a machine without OpenGL."""
    script = """
import sys
import numpy as np
from aios.render.opengl import OpenGLError
from aios.render.overlay import render_people
from aios.geometry.camera import Camera
assert not {"pyrender", "OpenGL", "trimesh"} & set(sys.modules)
triangle = np.array([[[0, 0, 5], [1, 0, 5], [0, 1, 5]]], np.float32)
view = triangle, np.array([[0, 1, 2]]), Camera(100.0, (20.0, 20.0), 40, 40)
try:
    render_people(*view, "gl")
except OpenGLError as error:
    assert "\\n" not in str(error), error
else:
    raise AssertionError("no error")
assert (render_people(*view, "auto").person == 0).any()
"""
    done = in_new_process(script, {"PYOPENGL_PLATFORM": "nothing"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("using the software renderer") == 1


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((50, 50), np.uint8), "RGB uint8"),
        (np.zeros((50, 50, 3), np.float32), "RGB uint8"),
        (np.zeros((40, 50, 3), np.uint8), "50 x 40 but its camera is 50 x 50"),
    ],
)
def test_wrong_photo_is_rejected(photo, message):
    with pytest.raises(ValueError, match=message):
        overlay.overlay(photo, spheres((0, 0, 5, 1)), SPHERE_FACES, camera_of(50, 50, 90))


def test_culling_back_faces_does_not_change_the_image(bodies):
    """Open and inside-out meshes are not culled."""
    vertices, faces = bodies
    scene = build_scene(vertices, faces, np.ones((len(vertices), 3)))
    assert scene.closed.all()
    camera = camera_of(320, 240, 300)
    whole = rasterize(dataclasses.replace(scene, closed=np.zeros(len(vertices), bool)), camera)
    quick = rasterize(scene, camera)
    assert (quick.person >= 0).sum() > 1000
    assert (quick.person != whole.person).mean() < 1e-3
    assert (np.abs(quick.rgba.astype(int) - whole.rgba) > 8).any(-1).mean() < 2e-3
    open_faces = build_scene(vertices, faces[1:], np.ones((len(vertices), 3)))
    inside_out = build_scene(vertices, faces[:, ::-1], np.ones((len(vertices), 3)))
    assert not open_faces.closed.any()
    assert not inside_out.closed.any()
