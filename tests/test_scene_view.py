"""Rewriting a scene leaves its meshes alone."""

import io

import numpy as np
import trimesh

from aios.render_colors import person_colors
from aios.scene_view import restyle_glb


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
