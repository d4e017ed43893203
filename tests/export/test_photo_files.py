"""Result files of a photo, read back."""

import dataclasses
import io
import json

import cv2
import numpy as np
import pytest
import smplx
import torch
import trimesh

from aios.body.joint_names import JOINTS_3D_NAMES
from aios.body.model import BodyModel
from aios.body.parameters import SMPLX_NAMES
from aios.export.checks import ExportError
from aios.export.photo_files import (
    prediction_to_glb,
    prediction_to_npz,
    write_results,
)
from aios.export.photo_json import CONVENTIONS, prediction_to_json
from aios.export.settings import ExportSettings
from aios.people import FIELD_SHAPES
from aios.render.overlay import person_colors
from aios.render.scene import linear_to_srgb
from aios.resources import STANDIN_BODY
from tests.helpers.glb_reader import GlbReader
from tests.helpers.predictions import synthetic_prediction

PEOPLE_KEYS = [
    "id",
    "score",
    "box_xyxy_px",
    "left_hand_box_xyxy_px",
    "right_hand_box_xyxy_px",
    "face_box_xyxy_px",
    "keypoints_2d_px",
    "left_hand_keypoints_2d_px",
    "right_hand_keypoints_2d_px",
    "face_keypoints_2d_px",
    "keypoint_scores",
    "depth_order",
    *SMPLX_NAMES,
    "weak_camera",
    "joints_3d",
]


SETTINGS = ExportSettings(BodyModel.load(STANDIN_BODY), from_official=False)


@pytest.fixture(scope="module")
def three():
    return synthetic_prediction(3)


@pytest.fixture(scope="module")
def empty():
    return synthetic_prediction(0)


def with_people(prediction, **changes):
    return dataclasses.replace(prediction, people=dataclasses.replace(prediction.people, **changes))


def test_json_holds_all_fields(three):
    document = json.loads(json.dumps(prediction_to_json(three, "a.jpg"), allow_nan=False))
    people = document.pop("people")
    assert document == {
        **CONVENTIONS,
        "photo": "a.jpg",
        "width": 320,
        "height": 240,
        "weights": "test weights",
        "refined": False,
        "focal_length_from": "model",
        "body": "stand-in",
        "camera": {"focal_length_px": 1234.5, "principal_point_px": [160.25, 120.0]},
    }
    assert [list(person) for person in people] == [PEOPLE_KEYS] * 3
    assert [person["id"] for person in people] == [1, 2, 3]
    assert [person["depth_order"] for person in people] == (three.depth_order + 1).tolist()
    for name in (*SMPLX_NAMES, "weak_camera"):  # lossless
        written = np.array([person[name] for person in people], np.float32)
        np.testing.assert_array_equal(written, getattr(three.people, name))
    scores = np.array([person["score"] for person in people], np.float32)
    np.testing.assert_array_equal(scores, three.people.scores)
    for singular, plural in (("box_xyxy_px", "boxes_xyxy_px"), ("keypoints_2d_px",) * 2):
        written = np.array([person[singular] for person in people])
        np.testing.assert_allclose(written, getattr(three.people, plural), atol=6e-4)
    written = np.array([person["keypoint_scores"] for person in people])
    np.testing.assert_allclose(written, three.people.keypoint_scores, atol=6e-5)


def test_prediction_without_people_gives_empty_files(empty):
    assert prediction_to_json(empty, "a.jpg")["people"] == []
    with np.load(io.BytesIO(prediction_to_npz(empty)), allow_pickle=False) as archive:
        assert archive["body_pose"].shape == (0, 63)
    scene = trimesh.load_scene(io.BytesIO(prediction_to_glb(empty)), file_type="glb")
    assert len(scene.geometry) == 0


@pytest.mark.parametrize("write", [prediction_to_npz, prediction_to_glb])
def test_non_finite_values_are_rejected(three, write):
    betas = three.people.betas.copy()
    betas[1, 3] = np.nan
    broken = with_people(three, betas=betas)
    with pytest.raises(ExportError, match="betas has a value that is not finite"):
        write(broken)
    with pytest.raises(ExportError, match="betas"):
        prediction_to_json(broken, "a.jpg")
    vertices = three.vertices.copy()
    vertices[0, 0, 0] = np.inf
    with pytest.raises(ExportError, match="vertices"):
        write(dataclasses.replace(three, vertices=vertices))


def test_npz_posed_by_smplx_gives_the_vertices(three, tmp_path):
    (tmp_path / "smplx").mkdir()
    (tmp_path / "smplx" / "SMPLX_NEUTRAL.npz").symlink_to(STANDIN_BODY)
    with np.load(io.BytesIO(prediction_to_npz(three)), allow_pickle=False) as archive:
        values = dict(archive)
    model = smplx.create(
        tmp_path,
        "smplx",
        gender=str(values["gender"]),
        num_betas=int(values["num_betas"]),
        num_expression_coeffs=int(values["num_expression_coeffs"]),
        use_pca=bool(values["use_pca"]),
        flat_hand_mean=bool(values["flat_hand_mean"]),
        batch_size=3,
    )
    names = (*SMPLX_NAMES, "leye_pose", "reye_pose")
    posed = model(**{name: torch.from_numpy(values[name]) for name in names})
    np.testing.assert_allclose(posed.vertices.detach(), three.vertices, atol=2e-5)


def test_npz_holds_all_fields_and_no_body_model(three):
    with np.load(io.BytesIO(prediction_to_npz(three)), allow_pickle=False) as archive:
        values = dict(archive)
    for name in FIELD_SHAPES:
        np.testing.assert_array_equal(values[name], getattr(three.people, name))
    assert values["focal_length"] == 1234.5
    np.testing.assert_array_equal(values["principal_point"], (160.25, 120.0))
    np.testing.assert_array_equal(values["image_size"], (320, 240))
    np.testing.assert_array_equal(values["depth_order"], three.depth_order + 1)
    assert str(values["weights"]) == "test weights"
    assert str(values["body"]) == "stand-in"
    np.testing.assert_array_equal(values["joints_3d"], three.joints_3d)
    assert values["joint_names"].tolist() == list(JOINTS_3D_NAMES)
    assert max(value.size for value in values.values()) <= 3 * 144 * 3
    with np.load(io.BytesIO(prediction_to_npz(three, with_vertices=True))) as archive:
        np.testing.assert_array_equal(archive["vertices"], three.vertices)
        np.testing.assert_array_equal(archive["faces"], three.faces)


def test_glb_holds_one_named_coloured_node_a_person(three):
    content = prediction_to_glb(three)
    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb")
    names = ["person_1", "person_2", "person_3"]
    assert sorted(scene.graph.nodes_geometry) == names
    for index, name in enumerate(names):
        transform, geometry = scene.graph[name]
        np.testing.assert_array_equal(transform, np.eye(4))
        mesh = scene.geometry[geometry]
        expected = three.vertices[index] * (1, -1, -1)
        np.testing.assert_allclose(mesh.bounds, [expected.min(0), expected.max(0)], atol=1e-6)
        np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
        shown = linear_to_srgb(mesh.visual.material.baseColorFactor[:3] / 255) * 255
        np.testing.assert_allclose(shown, person_colors(3)[index], atol=3)
        assert mesh.volume > 0.02  # outward orientation
        outwards = np.einsum("vk,vk->v", mesh.vertex_normals, recomputed_normals(mesh))
        assert (outwards > 0.5).mean() > 0.99
    # y up: heads have a greater y than pelvises; the camera looks along -z.
    assert all(scene.geometry[name].bounds[1, 2] < 0 for name in names)
    assert (three.joints_3d[:, 15, 1] < three.joints_3d[:, 0, 1]).all()


def recomputed_normals(mesh):
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals


def test_glb_document_structure(three, empty):
    document = GlbReader(prediction_to_glb(three)).document
    assert document["asset"]["version"] == "2.0"
    for mesh in document["meshes"]:
        assert set(mesh["primitives"][0]["attributes"]) == {"POSITION", "NORMAL"}
    for material in document["materials"]:
        assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    document = GlbReader(prediction_to_glb(empty)).document
    assert document["asset"]["version"] == "2.0"
    assert [] not in [*document.values(), *document["scenes"][0].values()]


def test_results_are_written(three, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    folder = tmp_path / "not" / "there"
    paths = write_results(three, photo, "snow, 1", folder, SETTINGS, "snow, 1.jpg")
    assert [path.name for path in paths] == [
        "snow, 1.json",
        "snow, 1.npz",
        "snow, 1.glb",
        "snow, 1_overlay.png",
        *(f"snow, 1_person_{number}_smplx.npz" for number in (1, 2, 3)),
    ]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert json.loads(paths[0].read_text("utf-8"))["photo"] == "snow, 1.jpg"
    picture = cv2.imread(str(paths[3]))[..., ::-1]
    assert picture.shape == photo.shape
    same = (picture == photo).all(-1)
    assert 0.05 < same.mean() < 0.98


def test_failed_write_keeps_the_old_files(three, tmp_path, monkeypatch):
    photo = np.zeros((240, 320, 3), np.uint8)
    paths = write_results(three, photo, "a", tmp_path, SETTINGS)
    before = [path.read_bytes() for path in paths]

    def fail(path, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_results(synthetic_prediction(1), photo, "a", tmp_path, SETTINGS)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.read_bytes() for path in paths] == before


def test_nothing_is_written_of_a_non_finite_prediction(three, tmp_path):
    broken = with_people(three, transl=three.people.transl * np.inf)
    with pytest.raises(ExportError, match="transl"):
        write_results(broken, np.zeros((240, 320, 3), np.uint8), "a", tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir())
