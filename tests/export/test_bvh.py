"""BVH files read by another library give the joints of the body model."""

import numpy as np
import pybvh
import pytest
from scipy.spatial.transform import Rotation

from aios.body.kinematics import JOINT_NAMES, PARENTS, build_rest_pose
from aios.export.bvh import euler_yxz, write_bvh
from aios.export.placement import AT_CAMERA, Placement
from tests.helpers.motions import make_store, true_joints
from tests.helpers.served import tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def write_and_read(path, predictor, store, number=2, rate=10.0, placement=AT_CAMERA):
    rest = build_rest_pose(predictor.body, store.tracks[number].betas, False)
    steps = write_bvh(path, rest, store, number, rate, placement)
    return steps, rest, pybvh.read_bvh_file(str(path))


def test_joints_within_a_tenth_of_a_millimetre(tmp_path, predictor):
    store = make_store(tmp_path / "motion")
    steps, rest, read = write_and_read(tmp_path / "a.bvh", predictor, store)
    assert steps == read.frame_count == 12
    assert read.fps == pytest.approx(10.0)
    assert sorted(read.joint_names) == sorted(JOINT_NAMES)
    order = [read.joint_names.index(name) for name in JOINT_NAMES]
    found = np.asarray(read.joint_positions())[:, order]
    np.testing.assert_allclose(found, true_joints(predictor, store, 2), atol=1e-4)


def test_people_move_and_turn_with_the_camera(tmp_path, predictor):
    store = make_store(tmp_path / "motion")
    placement = Placement(np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0.3, 0.1, -0.2]))
    _, _, read = write_and_read(tmp_path / "a.bvh", predictor, store, placement=placement)
    order = [read.joint_names.index(name) for name in JOINT_NAMES]
    found = np.asarray(read.joint_positions())[:, order]
    truth = placement.points(true_joints(predictor, store, 2))
    np.testing.assert_allclose(found, truth, atol=1e-4)


def test_rest_pose_is_the_t_pose_of_the_person(tmp_path, predictor):
    store = make_store(tmp_path / "motion")
    _, rest, read = write_and_read(tmp_path / "a.bvh", predictor, store)
    nodes = {node.name: node for node in read.nodes}
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)):
        offset = np.zeros(3) if parent < 0 else rest.joints[joint] - rest.joints[parent]
        np.testing.assert_allclose(nodes[name].offset, offset, atol=1e-6)
    joints = dict(zip(JOINT_NAMES, rest.joints, strict=True))
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_ankle"][1]
    assert joints["left_wrist"][0] > 0.5 > -0.5 > joints["right_wrist"][0]
    assert joints["left_foot"][2] > joints["left_ankle"][2]


def test_gaps_are_interpolated(tmp_path, predictor):
    store = make_store(tmp_path / "motion", seen=lambda who, frame: who == 1 or not 4 <= frame < 8)
    steps, _, read = write_and_read(tmp_path / "a.bvh", predictor, store)
    assert steps == 12
    positions = np.asarray(read.joint_positions())
    truth = true_joints(predictor, store, 2)
    order = [read.joint_names.index(name) for name in JOINT_NAMES]
    for step, row in ((0, 0), (3, 3), (8, 4), (11, 7)):
        np.testing.assert_allclose(positions[step, order], truth[row], atol=1e-4)
    root = positions[3:9, read.joint_names.index("pelvis")]
    np.testing.assert_allclose(np.diff(root, 2, axis=0), 0, atol=1e-5)


def test_other_frame_rate_keeps_the_speed(tmp_path, predictor):
    store = make_store(tmp_path / "motion")
    steps, _, read = write_and_read(tmp_path / "a.bvh", predictor, store, rate=20.0)
    assert steps == 23
    truth = true_joints(predictor, store, 2)
    order = [read.joint_names.index(name) for name in JOINT_NAMES]
    np.testing.assert_allclose(np.asarray(read.joint_positions())[::2, order], truth, atol=1e-4)


def test_single_frame(tmp_path, predictor):
    store = make_store(tmp_path / "motion", 1)
    assert write_and_read(tmp_path / "a.bvh", predictor, store)[0] == 1


def test_euler_angles_give_the_rotation_back():
    vectors = np.random.default_rng(0).normal(size=(200, 3)) * 2
    gimbal_lock = [(np.pi / 2, 0, 0), (-np.pi / 2, 0, 0), (np.pi, 0, 0), (0, np.pi, 0)]
    rotations = Rotation.from_rotvec(np.concatenate([vectors, gimbal_lock]))

    def about(axis, degrees):
        return Rotation.from_euler(axis, degrees[:, None], degrees=True).as_matrix()

    y, x, z = euler_yxz(rotations).T
    back = about("y", y) @ about("x", x) @ about("z", z)
    np.testing.assert_allclose(back, rotations.as_matrix(), atol=1e-7)
