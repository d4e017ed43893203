"""AMASS-like archives: accepted by SMPL-X tools, and posed by `smplx` to the same bodies."""

import io

import numpy as np
import pytest
import smplx
import torch
from scipy.spatial.transform import Rotation

from aios.body.kinematics import (
    CAMERA_TO_WORLD,
    build_rest_pose,
    local_rotations,
    pelvis_positions,
)
from aios.body.parameters import SMPLX_NAMES
from aios.export.placement import AT_CAMERA, Placement
from aios.export.resample import MotionSamples
from aios.export.smplx_npz import sample_to_smplx, write_track_smplx
from aios.resources import STANDIN_BODY
from tests.helpers.motions import make_store, records
from tests.helpers.served import tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = {"weights": "builtin", "body": "stand-in"}
ELSEWHERE = Placement(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0.3, 0.1, -0.2]))


@pytest.fixture(scope="module")
def body():
    return tiny_predictor().body


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The `smplx` package with absolute hand poses, one body per call."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "smplx").mkdir()
    (folder / "smplx" / "SMPLX_NEUTRAL.npz").symlink_to(STANDIN_BODY)
    options = {"gender": "neutral", "use_pca": False, "flat_hand_mean": True}
    return smplx.create(folder, "smplx", num_betas=10, num_expression_coeffs=10, **options)


def z_up(points):
    """y up -> z up: (x, y, z) -> (x, -z, y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)


def loaded_as_add_on(content):
    """Load an archive with the documented requirements of SMPL-X add-ons for AMASS files.

    Required keys `trans`, `gender`, `mocap_frame_rate`, `betas`, `poses`; a text as gender; a
    positive frame rate; 55 joints of three values per frame; at least ten betas.
    """
    with np.load(content, allow_pickle=False) as archive:
        values = dict(archive)
    assert {"trans", "gender", "mocap_frame_rate", "betas", "poses"} <= set(values)
    assert str(values["gender"]) in ("female", "neutral", "male")
    assert str(values["surface_model_type"]) == "smplx"
    assert int(values["mocap_frame_rate"]) > 0
    frames = len(values["trans"])
    assert values["trans"].shape == (frames, 3)
    assert values["poses"].reshape(frames, 55, 3).shape == (frames, 55, 3)
    assert values["betas"].shape == (10,)
    for name in ("poses", "trans", "betas", "mocap_frame_rate"):
        assert np.isfinite(values[name]).all()
    return values


def person_archive(rest, person):
    """Archive of one person of a photo."""
    pelvis, rotations = pelvis_positions(rest, person), local_rotations(rest, person)
    samples = MotionSamples(pelvis, rotations, person["expression"], np.zeros(1, bool))
    return sample_to_smplx(rest, person["betas"][0], samples, NAMES)


def posed(model, values, frame):
    """Vertices of a frame from the `smplx` package."""
    pose = torch.from_numpy(values["poses"][frame : frame + 1])
    parts = torch.split(pose, [3, 63, 3, 3, 3, 45, 45], 1)
    names = "global_orient body_pose jaw_pose leye_pose reye_pose left_hand_pose right_hand_pose"
    output = model(
        **dict(zip(names.split(), parts, strict=True)),
        betas=torch.from_numpy(values["betas"][None]),
        expression=torch.from_numpy(values["expression"][frame : frame + 1]),
        transl=torch.from_numpy(values["trans"][frame : frame + 1]),
    )
    return output.vertices[0].detach().numpy()


def truth(body, store, number, placement=AT_CAMERA):
    """Vertices of a track in the z-up world."""
    rows = records(store, number)
    parameters = {name: torch.from_numpy(rows[name].copy()) for name in SMPLX_NAMES}
    return z_up(placement.points(body(parameters).vertices.numpy() * CAMERA_TO_WORLD))


@pytest.mark.parametrize("placement", [AT_CAMERA, ELSEWHERE], ids=["camera", "elsewhere"])
def test_track_posed_by_smplx_gives_the_bodies_of_the_video(body, model, tmp_path, placement):
    store = make_store(tmp_path / "motion")
    rest = build_rest_pose(body, store.tracks[2].betas, False)
    path = tmp_path / "a.npz"
    write_track_smplx(path, rest, store, 2, 10.0, placement, NAMES)
    values = loaded_as_add_on(path)
    assert values["poses"].shape == (12, 165) and values["mocap_frame_rate"] == 10
    for frame, vertices in enumerate(truth(body, store, 2, placement)):
        np.testing.assert_allclose(posed(model, values, frame), vertices, atol=1e-4)


def test_gap_is_filled_and_marked(body, model, tmp_path):
    store = make_store(tmp_path / "motion", seen=lambda who, frame: who == 1 or not 4 <= frame < 8)
    rest = build_rest_pose(body, store.tracks[2].betas, False)
    write_track_smplx(tmp_path / "a.npz", rest, store, 2, 10.0, AT_CAMERA, NAMES)
    values = loaded_as_add_on(tmp_path / "a.npz")
    assert values["interpolated"].tolist() == [4 <= frame < 8 for frame in range(12)]
    vertices = truth(body, store, 2)
    np.testing.assert_allclose(posed(model, values, 8), vertices[4], atol=1e-4)
    np.testing.assert_allclose(np.diff(values["trans"][3:9], 2, axis=0), 0, atol=1e-5)
    assert values["start_time"] == 0 and values["mocap_time_length"] == pytest.approx(1.2)


def test_person_of_a_photo_is_an_archive_of_one_frame(body, model, tmp_path):
    store = make_store(tmp_path / "motion", 1)
    rows = records(store, 2)
    rest = build_rest_pose(body, rows["betas"][0], False)
    person = {name: rows[name] for name in SMPLX_NAMES}
    values = loaded_as_add_on(io.BytesIO(person_archive(rest, person)))
    assert values["poses"].shape == (1, 165) and not values["interpolated"].any()
    np.testing.assert_allclose(posed(model, values, 0), truth(body, store, 2)[0], atol=1e-4)
    assert str(values["weights"]) == "builtin" and str(values["body"]) == "stand-in"


def test_hands_are_absolute(body, tmp_path):
    """A zero hand pose of the network is the mean hand of the body model."""
    person = {
        name: np.zeros((1, size), np.float32)
        for name, size in (("global_orient", 3), ("body_pose", 63), ("jaw_pose", 3))
    }
    person |= {f"{side}_hand_pose": np.zeros((1, 45), np.float32) for side in ("left", "right")}
    person |= {"betas": np.zeros((1, 10)), "expression": np.zeros((1, 10))}
    person["transl"] = np.zeros((1, 3), np.float32)
    rest = build_rest_pose(body, np.zeros(10), False)
    values = loaded_as_add_on(io.BytesIO(person_archive(rest, person)))
    hands = Rotation.from_rotvec(values["poses"][0, 75:].reshape(30, 3))
    means = np.concatenate([body.left_hand_mean, body.right_hand_mean]).reshape(30, 3)
    assert (hands * Rotation.from_rotvec(means).inv()).magnitude().max() < 1e-6
    assert np.abs(means).max() > 0.1
