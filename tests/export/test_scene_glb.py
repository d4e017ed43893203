"""GLB scenes: camera and backdrop, read by trimesh and rendered by pyrender."""

import io

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from aios.export.photo_files import prediction_to_glb
from aios.export.placement import AT_CAMERA, Placement, grounded
from aios.export.scene_glb import people_to_glb
from aios.geometry.camera import Camera
from aios.render.colors import person_colors
from aios.render.overlay import render_people
from tests.helpers.gl_scene import render_glb
from tests.helpers.glb_reader import GlbReader
from tests.helpers.predictions import synthetic_prediction

CAMERA = Camera(2000.0, (320.0, 240.0), 640, 480)
CORNERS = np.array([[(0, 0, 5), (1, 0, 5), (1, 1, 5), (0, 1, 5)]], np.float32)
SQUARE = np.array([[0, 1, 2], [0, 2, 3]])
ELSEWHERE = Placement(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0.3, 0.1, -0.2]))


@pytest.fixture(scope="module")
def people():
    return synthetic_prediction(3, CAMERA)


def smooth_photo():
    """A photo without high frequencies, so that JPEG keeps it."""
    rows, columns = np.mgrid[:480, :640]
    return np.stack([rows / 2, columns * 0.38, 255 - rows / 2], -1).astype(np.uint8)


@pytest.mark.parametrize("placement", [AT_CAMERA, ELSEWHERE])
def test_camera_of_the_glb_sees_the_silhouettes_of_the_overlay(people, placement):
    image, depth = render_glb(prediction_to_glb(people, placement=placement))
    expected = render_people(people.vertices, people.faces, CAMERA, "software")
    found, silhouette = depth > 0, expected.person >= 0
    assert silhouette.mean() > 0.1
    assert (found & silhouette).sum() / (found | silhouette).sum() > 0.98
    both = found & silhouette
    assert np.percentile(np.abs(depth[both] / expected.depth[both] - 1), 99) < 5e-3


@pytest.mark.parametrize("placement", [AT_CAMERA, ELSEWHERE])
def test_backdrop_fills_the_view_behind_the_people(people, placement):
    photo = smooth_photo()
    content = prediction_to_glb(people, photo, placement)
    image, depth = render_glb(content)
    expected = render_people(people.vertices, people.faces, CAMERA, "software")
    background = expected.alpha == 0
    # The interior: edges of the view are half covered by multisampling.
    background[[0, -1]] = background[:, [0, -1]] = False
    assert np.abs(image[background].astype(int) - photo[background]).mean() < 3
    assert (depth[1:-1, 1:-1] > 0).all()
    plane = depth[background]
    assert np.ptp(plane) < 0.02 * plane.mean() and plane.min() > people.vertices[..., 2].max()


def test_lowest_vertex_is_on_the_floor_and_trimesh_reads_the_camera(people):
    placement = grounded(people.vertices)
    content = prediction_to_glb(people, placement=placement)
    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb")
    low, high = scene.bounds
    np.testing.assert_allclose(low[1], 0, atol=1e-5)
    np.testing.assert_allclose((low + high)[[0, 2]], 0, atol=1e-5)
    reader = GlbReader(content)
    node = reader.nodes[reader.node("camera")]
    np.testing.assert_allclose(node["translation"], placement.camera_position)
    lens = reader.document["cameras"][node["camera"]]["perspective"]
    assert lens["yfov"] == pytest.approx(2 * np.arctan(240 / 2000))
    assert lens["aspectRatio"] == pytest.approx(640 / 480)


def test_backdrop_without_people():
    image, depth = render_glb(prediction_to_glb(synthetic_prediction(0, CAMERA), smooth_photo()))
    assert np.abs(image[2:-2, 2:-2].astype(int) - smooth_photo()[2:-2, 2:-2]).mean() < 3
    assert (depth[2:-2, 2:-2] > 0).all()


def test_names_and_colours_are_as_given():
    colors = person_colors(2)
    vertices = np.concatenate([CORNERS, CORNERS + 2])
    content = people_to_glb(vertices, SQUARE, ["a", "b"], colors)
    document = GlbReader(content).document
    assert [node["name"] for node in document["nodes"]] == ["a", "b"]
    for material, color in zip(document["materials"], colors, strict=True):
        *linear, alpha = material["pbrMetallicRoughness"]["baseColorFactor"]
        np.testing.assert_allclose(np.array(linear) ** (1 / 2.2) * 255, color, atol=0.01)
        assert alpha == 1


def test_people_share_their_triangles():
    vertices = np.concatenate([CORNERS, CORNERS + 2])
    document = GlbReader(people_to_glb(vertices, SQUARE, ["a", "b"], person_colors(2))).document
    indices = {mesh["primitives"][0]["indices"] for mesh in document["meshes"]}
    assert len(indices) == 1
