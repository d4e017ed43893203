"""Licensed files, lists of the stand-in, and conversion of SMPL-X to SMPL."""

import pickle
from dataclasses import fields

import numpy as np
import pytest
from scipy.sparse import csc_matrix, hstack

from aios.body.file import NUM_JOINTS, NUM_VERTICES, read_body_file
from aios.body.location import find_body_file
from aios.geometry.camera import Camera
from aios.people import People
from aios.prediction import Prediction
from training.evaluation.metrics import (
    AGORA_SMPL,
    LICENSED_FILES,
    BodyParts,
    LicensedFileError,
    PredictedPeople,
    Records,
    SmplConversion,
    TruePeople,
    load_smpl_parts,
    load_smplx_parts,
    measure_image,
    summarise,
)
from training.evaluation.metrics.licensed_files import read_sparse

EVERYTHING = {"body", "hands", "face", "j14"}


@pytest.fixture(scope="module")
def regressor():
    matrix = np.zeros((NUM_JOINTS, NUM_VERTICES))
    matrix[np.arange(NUM_JOINTS), 10 * np.arange(NUM_JOINTS)] = 1
    return matrix


@pytest.fixture
def folder(tmp_path):
    """Folder with made-up vertex lists."""
    hands = {"left_hand": np.arange(778), "right_hand": np.arange(778) + 1000}
    (tmp_path / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps(hands))
    np.save(tmp_path / "SMPL-X__FLAME_vertex_ids.npy", np.arange(5023) + 2000)
    j14 = csc_matrix(np.eye(14, NUM_VERTICES))
    (tmp_path / "SMPLX_to_J14.pkl").write_bytes(pickle.dumps(j14.toarray(), protocol=2))
    np.save(tmp_path / "body_verts_smplx.npy", np.arange(3000) + 7400)
    np.save(tmp_path / "body_verts_smpl.npy", np.arange(4000))
    return tmp_path


def test_published_lists_are_read(folder, regressor):
    parts = load_smplx_parts(folder, regressor, EVERYTHING)
    assert parts.left_hand.tolist() == list(range(778))
    assert parts.right_hand[0] == 1000 and parts.face[-1] == 7022 and parts.body[0] == 7400
    assert all(getattr(parts, name).dtype == np.int64 for name in ("body", "face", "left_hand"))
    np.testing.assert_array_equal(parts.j14_regressor, np.eye(14, NUM_VERTICES))
    assert load_smpl_parts(folder).body.tolist() == list(range(4000))


@pytest.mark.parametrize("about", ["hands", "face", "j14", "body"])
def test_missing_files_are_named(folder, regressor, about):
    """The message names file, purpose and source; other lists load without it."""
    (folder / LICENSED_FILES[about].name).unlink()
    with pytest.raises(LicensedFileError) as caught:
        load_smplx_parts(folder, regressor, EVERYTHING)
    message = str(caught.value)
    assert LICENSED_FILES[about].name in message and LICENSED_FILES[about].purpose in message
    assert "https://" in message and "\n" not in message
    load_smplx_parts(folder, regressor, EVERYTHING - {about})


@pytest.mark.parametrize(
    ("about", "content", "message"),
    [
        ("hands", b"nothing", "cannot be read"),
        ("hands", pickle.dumps({"left_hand": np.arange(5)}), "no list of vertex numbers"),
        ("hands", pickle.dumps(print), "cannot be read as arrays (builtins.print)"),
        ("face", b"nothing", "cannot be read"),
        ("j14", pickle.dumps(np.eye(14)), "no matrix of 14 x 10475"),
        ("j14", pickle.dumps({}), "no matrix of 14 x 10475"),
    ],
)
def test_other_content_is_refused(folder, regressor, about, content, message):
    (folder / LICENSED_FILES[about].name).write_bytes(content)
    with pytest.raises(LicensedFileError) as caught:
        load_smplx_parts(folder, regressor, EVERYTHING)
    assert message in str(caught.value) and "again from" in str(caught.value)


@pytest.mark.parametrize("values", [[0.5, 1.0], [[1, 2]], [-1, 4], [NUM_VERTICES], []])
def test_invalid_lists_are_refused(folder, regressor, values):
    np.save(folder / "body_verts_smplx.npy", np.array(values))
    with pytest.raises(LicensedFileError, match="body_verts_smplx.npy holds"):
        load_smplx_parts(folder, regressor, {"body"})


def test_hand_regressor(regressor):
    """Wrist, then the joints of every finger from root to tip; tips are vertices."""
    parts = BodyParts.from_skinning(np.eye(NUM_JOINTS)[np.zeros(NUM_VERTICES, int)], regressor)
    left = parts.left_hand_regressor.argmax(1).tolist()
    assert left[:5] == [200, 370, 380, 390, 5361] and left[-1] == 5286
    right = parts.right_hand_regressor.argmax(1).tolist()
    assert right[:5] == [210, 520, 530, 540, 8079] and right[5:9] == [400, 410, 420, 7669]
    assert (parts.left_hand_regressor.sum(1) == 1).all()
    with pytest.raises(ValueError, match="24 rows instead of 55"):
        BodyParts.from_skinning(np.eye(NUM_JOINTS), regressor[:24])


def test_parts_from_skinning():
    """Each vertex is in one list; hands are near the wrists, the face is above the neck."""
    arrays, is_standin = read_body_file(find_body_file(None))
    parts = BodyParts.from_skinning(arrays["weights"], arrays["J_regressor"])
    lists = (parts.body, parts.left_hand, parts.right_hand, parts.face)
    assert is_standin
    assert sorted(np.concatenate(lists).tolist()) == list(range(NUM_VERTICES))
    assert len(parts.left_hand) == len(parts.right_hand) > 300
    template = arrays["v_template"]
    joints = parts.joint_regressor @ template
    for hand, wrist in ((parts.left_hand, 20), (parts.right_hand, 21)):
        assert np.linalg.norm(template[hand] - joints[wrist], axis=1).max() < 0.3
    assert template[parts.face, 1].min() > joints[12, 1] - 0.1
    assert {f.name for f in fields(parts)} >= {"j14_regressor"}
    assert parts.j14_regressor.shape == (14, NUM_VERTICES)


@pytest.fixture(scope="module")
def conversion_files(tmp_path_factory):
    """Each SMPL vertex is the mean of two SMPL-X vertices, each joint a vertex."""
    folder = tmp_path_factory.mktemp("smpl")
    rows = np.arange(6890)
    places = (np.r_[rows, rows], np.r_[rows, rows + 3000])
    matrix = csc_matrix((np.full(2 * 6890, 0.5), places), (6890, NUM_VERTICES))
    regressor = csc_matrix((np.ones(24), (np.arange(24), 7 * np.arange(24))), (24, 6890))
    (folder / "smplx2smpl.pkl").write_bytes(pickle.dumps({"matrix": matrix}, 2))
    (folder / "SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps({"J_regressor": regressor}, 2))
    return folder


def test_smplx_meshes_are_converted_to_smpl(conversion_files):
    conversion = SmplConversion.load(
        conversion_files / "smplx2smpl.pkl", conversion_files / "SMPL_NEUTRAL.pkl"
    )
    points = np.random.default_rng(0).normal(size=(2, NUM_VERTICES, 3)).astype(np.float32)
    vertices, joints = conversion(points)
    halves = (points[:, :6890].astype(float) + points[:, 3000:9890]) / 2
    np.testing.assert_allclose(vertices, halves, atol=1e-12)
    np.testing.assert_allclose(joints, halves[:, 7 * np.arange(24)], atol=1e-12)
    vertices, joints = conversion(points[:0])
    assert vertices.shape == (0, 6890, 3) and joints.shape == (0, 24, 3)


def test_matrix_of_the_transfer_model(conversion_files, tmp_path):
    """The matrix has twice the columns; only the first half applies to vertices."""
    matrix = read_sparse(conversion_files / "smplx2smpl.pkl", "smplx2smpl")["matrix"]
    path = tmp_path / "smplx2smpl_deftrafo_setup.pkl"
    path.write_bytes(pickle.dumps({"mtx": csc_matrix(hstack([matrix, 3 * matrix]))}, 2))
    smpl = conversion_files / "SMPL_NEUTRAL.pkl"
    ours = SmplConversion.load(path, smpl)
    assert (
        ours.matrix != SmplConversion.load(conversion_files / "smplx2smpl.pkl", smpl).matrix
    ).nnz == 0


def test_dense_matrix(conversion_files, tmp_path):
    matrix = np.zeros((6890, NUM_VERTICES), np.int8)
    matrix[np.arange(6890), np.arange(6890)[::-1]] = 1
    path = tmp_path / "smplx2smpl.npz"
    np.savez(path, matrix=matrix)
    conversion = SmplConversion.load(path, conversion_files / "SMPL_NEUTRAL.pkl")
    points = np.random.default_rng(2).normal(size=(1, NUM_VERTICES, 3))
    np.testing.assert_array_equal(conversion(points)[0], points[:, :6890][:, ::-1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": np.eye(3)}, "named matrix or mtx"),
        ({"matrix": np.zeros((6890, 100))}, "has 100 columns, fewer than 10475"),
        ({"matrix": np.zeros((100, NUM_VERTICES))}, "named matrix or mtx"),
    ],
)
def test_other_matrices_are_refused(conversion_files, tmp_path, content, message):
    path = tmp_path / "smplx2smpl.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(LicensedFileError, match=message):
        SmplConversion.load(path, conversion_files / "SMPL_NEUTRAL.pkl")


def test_missing_bodies_and_matrices_are_named(conversion_files, tmp_path):
    matrix = conversion_files / "smplx2smpl.pkl"
    np.savez(tmp_path / "body.npz", J_regressor=np.zeros((55, 10)))
    with pytest.raises(LicensedFileError, match="is no SMPL body"):
        SmplConversion.load(matrix, tmp_path / "body.npz")
    with pytest.raises(LicensedFileError, match="SMPL_NEUTRAL.pkl is not in .*smpl.is.tue"):
        SmplConversion.load(matrix, tmp_path / "SMPL_NEUTRAL.pkl")
    with pytest.raises(LicensedFileError, match="mine.pkl does not exist"):
        (tmp_path / "smplx2smpl.pkl").touch()
        SmplConversion.load(tmp_path / "mine.pkl", tmp_path / "body.npz")


def test_smpl_track_of_a_prediction(conversion_files):
    """A converted prediction equals the converted ground truth, with joints in the image."""
    conversion = SmplConversion.load(
        conversion_files / "smplx2smpl.pkl", conversion_files / "SMPL_NEUTRAL.pkl"
    )
    random = np.random.default_rng(1)
    vertices = (random.normal(size=(1, NUM_VERTICES, 3)) + [0, 0, 9]).astype(np.float32)
    someone = {name: np.zeros((1, *getattr(People.empty(), name).shape[1:])) for name in PEOPLE}
    camera = Camera(500.0, (320.0, 180.0), 640, 360)
    joints = np.zeros((1, 144, 3), np.float32)
    prediction = Prediction(People(**someone), camera, vertices, joints, np.zeros((0, 3)), "", "")
    own = PredictedPeople.from_prediction(prediction, (3840, 2160), conversion)
    true_vertices, true_joints = conversion(vertices)
    np.testing.assert_allclose(own.joints_2d, 6 * camera.project(true_joints))
    true = TruePeople.from_arrays(own.joints_2d, true_joints, true_vertices + 1)
    parts = BodyParts.only_body(np.arange(500))
    record = measure_image("a", own, true, AGORA_SMPL, parts)
    metrics = summarise(Records(AGORA_SMPL, [record]), 0)["plain"]
    assert metrics["f1"] == 1 and metrics["body_mpjpe_mm"] == 0
    assert metrics["body_mve_mm"] == pytest.approx(1000 * np.sqrt(3))


PEOPLE = tuple(field.name for field in fields(People))
