"""Animated glTF, evaluated with SciPy and read by trimesh, gives joints and surface of the body."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from aios.body.file import read_body_file
from aios.body.kinematics import JOINT_NAMES, PARENTS, build_rest_pose
from aios.export.animated_glb import write_animated_glb
from aios.export.placement import Placement
from aios.export.skin import bone_figure, build_skin
from aios.export.skinned_person import Character
from aios.render.overlay import person_colors
from aios.resources import STANDIN_BODY
from tests.helpers.glb_reader import GlbReader
from tests.helpers.motions import make_store, records, true_joints
from tests.helpers.served import tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("motion") / "motion"
    return make_store(path, seen=lambda who, frame: who == 1 or frame not in (0, 5, 6))


def person_2(predictor, store):
    betas = store.tracks[2].betas
    rest = build_rest_pose(predictor.body, betas, False)
    return Character(
        "person_2", rest, build_skin(predictor.body, betas, False), person_colors(2)[1]
    )


@pytest.fixture(scope="module")
def path(predictor, store, tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "a.glb"
    character = person_2(predictor, store)
    write_animated_glb(path, character, store, 2)
    return path


def joint_nodes(glb):
    return [glb.node(name) for name in JOINT_NAMES]


def test_joints_within_a_tenth_of_a_millimetre(path, predictor, store):
    glb = GlbReader(path.read_bytes())
    truth = true_joints(predictor, store, 2)
    for key, joints in enumerate(truth):
        found = glb.world(key)[joint_nodes(glb), :3, 3]
        np.testing.assert_allclose(found, joints, atol=1e-4)


def test_people_move_and_turn_with_the_camera(predictor, store, tmp_path):
    placement = Placement(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0.3, 0.1, -0.2]))
    write_animated_glb(tmp_path / "a.glb", person_2(predictor, store), store, 2, placement)
    glb = GlbReader((tmp_path / "a.glb").read_bytes())
    truth = placement.points(true_joints(predictor, store, 2))
    for key, joints in enumerate(truth):
        found = glb.world(key)[joint_nodes(glb), :3, 3]
        np.testing.assert_allclose(found, joints, atol=1e-4)


def test_surface_is_the_body_up_to_the_fifth_skinning_weight(path, predictor, store):
    import torch

    from aios.body.parameters import SMPLX_NAMES

    rows = records(store, 2)
    parameters = {name: torch.from_numpy(rows[name].copy()) for name in SMPLX_NAMES}
    truth = predictor.body(parameters).vertices.numpy() * (1, -1, -1)
    glb = GlbReader(path.read_bytes())
    for key in (0, 8):
        distance = np.linalg.norm(glb.skinned(55, key) - truth[key], axis=1)
        assert distance.mean() < 2e-3
        assert np.quantile(distance, 0.99) < 0.02


def test_key_times_are_those_of_the_video(path, store):
    glb = GlbReader(path.read_bytes())
    for node, kind in ((joint_nodes(glb)[0], "translation"), (joint_nodes(glb)[20], "rotation")):
        times, values = glb.keys(node, kind)
        np.testing.assert_allclose(times, [0.1, 0.2, 0.3, 0.4, 0.7, 0.8, 0.9, 1.0, 1.1], rtol=1e-6)
        assert len(values) == len(times)
    for node in joint_nodes(glb):
        keys = glb.keys(node, "rotation")
        if keys is not None:
            np.testing.assert_allclose(np.linalg.norm(keys[1], axis=1), 1, atol=1e-6)
            assert ((keys[1][1:] * keys[1][:-1]).sum(1) > 0).all()


def test_trimesh_reads_rest_pose_names_and_colour(path, predictor, store):
    scene = trimesh.load_scene(path)
    rest = build_rest_pose(predictor.body, store.tracks[2].betas, False)
    for name, joint in zip(JOINT_NAMES, rest.joints, strict=True):
        np.testing.assert_allclose(scene.graph[name][0][:3, 3], joint, atol=1e-6)
    [mesh] = scene.geometry.values()
    assert len(mesh.vertices) == 10475
    assert mesh.volume > 0.02
    color = mesh.visual.material.baseColorFactor[:3].astype(float)
    assert np.abs(255 * (color / 255) ** (1 / 2.2) - person_colors(2)[1]).max() < 4
    # Standing person, y up, face towards +z, left arm towards +x.
    height, nose = np.ptp(mesh.vertices[:, 1]), mesh.vertices[9120]
    assert 1.4 < height < 2.1
    assert nose[2] > 0.05


def test_document_structure(path):
    document = GlbReader(path.read_bytes()).document
    assert [node["name"] for node in document["nodes"][:55]] == list(JOINT_NAMES)
    assert document["skins"][0]["joints"] == list(range(55))
    children = [c for node in document["nodes"] for c in node.get("children", [])]
    assert sorted(children) == list(range(55))  # a tree: each joint has one parent
    assert document["scenes"][0]["nodes"] == [56, 55]  # the skinned surface is a root
    primitive = document["meshes"][0]["primitives"][0]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "JOINTS_0", "WEIGHTS_0"}
    assert len(primitive["targets"]) == len(document["meshes"][0]["weights"]) == 10
    assert [] not in [*document.values(), *(n.get("children") for n in document["nodes"])]


def test_chunk_size_does_not_change_the_file(predictor, store, path, tmp_path, monkeypatch):
    monkeypatch.setattr("aios.export.motion._ROWS_AT_ONCE", 2)
    character = person_2(predictor, store)
    other = tmp_path / "b.glb"
    write_animated_glb(other, character, store, 2)
    assert other.read_bytes() == path.read_bytes()


def test_joint_tree_is_that_of_the_body_files():
    table = read_body_file(STANDIN_BODY).arrays["kintree_table"]
    assert list(PARENTS[1:]) == table[0, 1:].tolist()
    from smplx.joint_names import JOINT_NAMES as theirs

    assert list(JOINT_NAMES) == theirs[:55]


def test_licensed_body_gives_a_figure_of_bones(predictor, monkeypatch):
    """Exports contain no template, skinning weight or shape direction of an SMPL-X file."""
    monkeypatch.setattr(predictor.body, "is_standin", False)
    skin = build_skin(predictor.body, np.zeros(10), False)
    assert len(skin.vertices) == 54 * 24
    assert skin.expressions.shape[0] == 0
    assert set(np.unique(skin.weights)) == {0.0, 1.0}


def test_bones_reach_from_joint_to_joint(predictor):
    rest = build_rest_pose(predictor.body, np.zeros(10), False)
    skin = bone_figure(rest)
    for joint, parent in enumerate(PARENTS[1:], 1):
        bone = skin.vertices[24 * (joint - 1) : 24 * joint]
        for end in (rest.joints[parent], rest.joints[joint]):
            assert np.linalg.norm(bone - end, axis=1).min() < 1e-5
        assert (skin.joints[24 * (joint - 1) : 24 * joint, 0] == parent).all()
        mesh = trimesh.Trimesh(bone, np.arange(24).reshape(-1, 3))
        assert mesh.is_watertight and mesh.volume > 0
