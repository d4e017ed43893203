"""Rewriting a scene leaves its meshes alone."""

import io

import numpy as np
import trimesh

from aios.page.scene_view import FROM_ABOVE_DEGREES, opening_distance, restyle_glb
from aios.render.colors import person_colors


def scene(names):
    whole = trimesh.Scene()
    for index, name in enumerate(names):
        material = trimesh.visual.material.PBRMaterial(name=name, baseColorFactor=[9, 9, 9, 255])
        mesh = trimesh.creation.box((1 + index, 1, 1))
        mesh.visual = trimesh.visual.TextureVisuals(material=material)
        whole.add_geometry(mesh, node_name=name, geom_name=name)
    return bytes(whole.export(file_type="glb"))


def test_meshes_stay_and_colours_change():
    content = scene(["person_1", "person_2"])
    again = trimesh.load(
        io.BytesIO(restyle_glb(content, person_colors(2), [0, 1])), file_type="glb"
    )
    before = trimesh.load(io.BytesIO(content), file_type="glb")
    for name in ("person_1", "person_2"):
        np.testing.assert_array_equal(again.geometry[name].vertices, before.geometry[name].vertices)
    colors = [again.geometry[n].visual.material.baseColorFactor[:3] for n in again.geometry]
    assert len({tuple(color) for color in colors}) == 2 and 9 not in colors[0]


def test_length_is_right_and_aligned():
    content = restyle_glb(scene(["person_1"]), person_colors(1), [])
    assert np.frombuffer(content[8:12], "<u4")[0] == len(content)
    assert np.frombuffer(content[12:16], "<u4")[0] % 4 == 0
    assert not trimesh.load(io.BytesIO(content), file_type="glb").graph.nodes_geometry


def test_the_camera_opens_where_everybody_is_seen_whole_and_large():
    rng = np.random.default_rng(0)
    for reach in ((0.3, 0.9, 0.2), (4, 1, 0.5), (1, 1, 12)):
        people = rng.uniform(-1, 1, (3, 400, 3)) * reach + (0.5, -2, 20)
        distance = opening_distance(people)
        points = people.reshape(-1, 3) - (people.min((0, 1)) + people.max((0, 1))) / 2
        # To glTF, whose y is up, then into a camera above that looks down at the middle.
        points = points * (1, -1, -1)
        down = np.radians(90 - FROM_ABOVE_DEGREES)
        forward = np.array([0, -np.sin(down), -np.cos(down)])
        up = np.array([0, np.cos(down), -np.sin(down)])
        depth = distance + points @ forward
        places = np.stack([points[:, 0], points @ up], 1) / depth[:, None] / np.tan(0.4)
        assert depth.min() > 0
        assert 0.8 < np.abs(places).max() < 0.9
    assert opening_distance(np.zeros((0, 8, 3))) == opening_distance(np.full((1, 8, 3), np.nan))
