"""Extra files of a person: rigged GLB, OBJ and PLY, read by trimesh; bone names."""

import io

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from aios.body.kinematics import JOINT_NAMES, PARENTS
from aios.body.model import BodyModel
from aios.export.bone_names import BONE_STYLES, bone_names
from aios.export.person_files import person_files
from aios.export.placement import Placement
from aios.export.settings import ExportSettings
from aios.resources import STANDIN_BODY
from tests.helpers.glb_reader import GlbReader
from tests.helpers.predictions import synthetic_prediction

PLACEMENT = Placement(np.array([0.5, 1.0, -2.0]), Rotation.from_rotvec([0.3, 0.1, -0.2]))


@pytest.fixture(scope="module")
def prediction():
    return synthetic_prediction(2)


@pytest.fixture(scope="module")
def files(prediction):
    extras = frozenset({"rigged", "obj", "ply"})
    body = BodyModel.load(STANDIN_BODY)
    settings = ExportSettings(body, False, bones="mixamo", extras=extras)
    return person_files(prediction, 1, PLACEMENT, settings)


def world(points):
    return PLACEMENT.points(points * (1, -1, -1))


def test_suffixes(files):
    assert list(files) == ["_smplx.npz", "_rigged.glb", ".obj", ".ply"]


def test_rigged_glb_has_the_joints_and_the_surface_of_the_prediction(files, prediction):
    glb = GlbReader(files["_rigged.glb"])
    names = bone_names("mixamo")
    assert [node["name"] for node in glb.nodes[:55]] == list(names)
    joints = glb.world()[[glb.node(name) for name in names], :3, 3]
    np.testing.assert_allclose(joints, world(prediction.joints_3d[1, :55]), atol=1e-4)
    distance = np.linalg.norm(glb.skinned(55) - world(prediction.vertices[1]), axis=1)
    # glTF keeps four skinning weights per vertex.
    assert distance.mean() < 2e-3 and np.quantile(distance, 0.99) < 0.02
    assert "animations" not in glb.document


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_mesh_files_are_read_back(files, prediction, kind):
    mesh = trimesh.load(io.BytesIO(files[f".{kind}"]), file_type=kind, process=False)
    np.testing.assert_allclose(mesh.vertices, world(prediction.vertices[1]), atol=1e-5)
    assert len(mesh.faces) == len(prediction.faces)
    assert mesh.volume > 0.02  # outward orientation


@pytest.mark.parametrize("style", BONE_STYLES)
def test_bone_names_are_distinct(style):
    names = bone_names(style)
    assert len(set(names)) == len(names) == len(PARENTS)


def test_bone_names_of_other_rigs():
    mixamo = dict(zip(JOINT_NAMES, bone_names("mixamo"), strict=True))
    unreal = dict(zip(JOINT_NAMES, bone_names("unreal"), strict=True))
    for name, expected_mixamo, expected_unreal in (
        ("pelvis", "mixamorig:Hips", "pelvis"),
        ("spine3", "mixamorig:Spine2", "spine_03"),
        ("left_hip", "mixamorig:LeftUpLeg", "thigh_l"),
        ("right_foot", "mixamorig:RightToeBase", "ball_r"),
        ("left_collar", "mixamorig:LeftShoulder", "clavicle_l"),
        ("right_elbow", "mixamorig:RightForeArm", "lowerarm_r"),
        ("left_index1", "mixamorig:LeftHandIndex1", "index_01_l"),
        ("right_thumb3", "mixamorig:RightHandThumb3", "thumb_03_r"),
    ):
        assert (mixamo[name], unreal[name]) == (expected_mixamo, expected_unreal)
