"""Refinement of poses to keypoints: less distance in the image, within the limits of joints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.fitting.refinement import Refinement, _PoseFit, refine_poses
from aios.geometry.camera import Camera
from aios.network.config import BODY_KEYPOINT_JOINTS
from aios.people import FIELD_SHAPES, People
from aios.resources import STANDIN_BODY

CAMERA = Camera(1500.0, (320.0, 240.0), 640, 480)
KEYPOINTS = list(BODY_KEYPOINT_JOINTS)
PARAMETERS = ("global_orient", "body_pose", "betas", "transl")


@pytest.fixture(scope="module")
def body():
    return BodyModel.load(STANDIN_BODY)


def joints_of(body, people):
    with torch.no_grad():
        values = {name: torch.from_numpy(getattr(people, name)) for name in PARAMETERS}
        return body.joints(values).numpy()


def people_with(count, **values):
    fields = {n: np.zeros((count, *shape), np.float32) for n, shape in FIELD_SHAPES.items()}
    fields["keypoint_scores"] += 1
    return People(**fields | {n: v.astype(np.float32) for n, v in values.items()})


@pytest.fixture(scope="module")
def seen(body):
    """Two people whose keypoints are those of other poses than their own, and their joints."""
    random = np.random.default_rng(0)
    pose = random.normal(0, 0.15, (2, 63))
    pose[:, 3 * 17 + 1], pose[:, 3 * 18 + 1] = -0.8, 0.8  # elbows bent
    pose[:, 9], pose[:, 12] = 0.5, 0.6  # knees bent
    truth = people_with(
        2,
        global_orient=np.array([[np.pi, 0, 0], [np.pi, 0.3, 0]]),
        body_pose=pose,
        transl=np.array([[0.2, 0.1, 6.0], [-0.7, 0.1, 7.0]]),
    )
    pixels = CAMERA.project(joints_of(body, truth))
    boxes = np.concatenate([pixels[:, :22].min(1), pixels[:, :22].max(1)], 1)
    people = replace(
        truth,
        body_pose=(pose + random.normal(0, 0.12, pose.shape)).astype(np.float32),
        transl=(truth.transl + np.float32([0.03, 0.04, 0.2])),
        keypoints_2d_px=pixels[:, KEYPOINTS].astype(np.float32),
        boxes_xyxy_px=boxes.astype(np.float32),
    )
    return people, joints_of(body, people)


def distance(body, people):
    pixels = CAMERA.project(joints_of(body, people)[:, KEYPOINTS])
    return np.linalg.norm(pixels - people.keypoints_2d_px, axis=-1).mean(1)


def test_bodies_move_onto_their_keypoints(body, seen):
    people, joints = seen
    refined = refine_poses(people, joints, CAMERA)
    assert (distance(body, refined) < 0.5 * distance(body, people)).all()


def test_other_fields_do_not_change(seen):
    people, joints = seen
    refined = refine_poses(people, joints, CAMERA)
    for name in set(FIELD_SHAPES) - {"global_orient", "body_pose", "transl"}:
        np.testing.assert_array_equal(getattr(refined, name), getattr(people, name))


def test_people_already_on_their_keypoints_stay(body, seen):
    people, joints = seen
    pixels = CAMERA.project(joints[:, KEYPOINTS]).astype(np.float32)
    refined = refine_poses(replace(people, keypoints_2d_px=pixels), joints, CAMERA)
    assert np.abs(joints_of(body, refined) - joints).max() < 1e-3


def test_predicted_joints_follow_the_forward_kinematics_of_the_body(body, seen):
    """The fit's own positions are those of the body model, before and after its steps."""
    people, joints = seen
    fit = _PoseFit(people, joints.astype(np.float64), CAMERA, Refinement())
    for _ in range(3):
        fit.step()
    own, points = fit._positions(fit._global_rotations())
    posed = joints_of(body, replace(people, **fit.parameters(people)))
    assert np.abs(own - posed[:, :22]).max() < 1e-4
    # Points of the face are surface points, which pose correctives move a little.
    assert np.abs(points - posed[:, KEYPOINTS]).max() < 5e-3


def test_one_person_is_refined_as_among_others(seen):
    people, joints = seen
    together = refine_poses(people, joints, CAMERA)
    for index in range(2):
        one = slice(index, index + 1)
        alone = refine_poses(people.select(one), joints[one], CAMERA)
        np.testing.assert_allclose(alone.body_pose, together.body_pose[one], atol=1e-5)


def test_nobody_is_refined_to_nobody():
    assert len(refine_poses(People.empty(), np.zeros((0, 144, 3)), CAMERA)) == 0


def test_people_without_keypoints_or_behind_the_camera_do_not_change(seen):
    people, joints = seen
    pixels = people.keypoints_2d_px.copy()
    pixels[0, 3] = np.nan
    without = replace(people, keypoints_2d_px=pixels)
    refined = refine_poses(without, joints, CAMERA)
    np.testing.assert_array_equal(refined.body_pose[0], people.body_pose[0])
    assert np.abs(refined.body_pose[1] - people.body_pose[1]).max() > 0.01
    behind = joints - (0, 0, 20)
    np.testing.assert_array_equal(refine_poses(people, behind, CAMERA).body_pose, people.body_pose)


def test_knees_do_not_bend_backwards(body):
    """An ankle seen where only a reversed knee could put it, from the side."""
    people = people_with(
        1, global_orient=np.array([[np.pi, np.pi / 2, 0]]), transl=np.array([[0, 0.2, 6.0]])
    )
    people = replace(people, global_orient=np.array([[0.0, np.pi / 2, 0.0]], np.float32))
    joints = joints_of(body, people)
    pixels = CAMERA.project(joints)
    wanted = pixels[:, KEYPOINTS].astype(np.float32)
    front = np.sign(pixels[0, 10, 0] - pixels[0, 7, 0])  # toes lie in front of the ankle
    wanted[0, 15, 0] += front * 60
    boxes = np.concatenate([pixels[:, :22].min(1), pixels[:, :22].max(1)], 1)
    people = replace(people, keypoints_2d_px=wanted, boxes_xyxy_px=boxes.astype(np.float32))
    refined = refine_poses(people, joints, CAMERA, Refinement(steps=15))
    assert refined.body_pose[0, 3 * 3] > -0.1  # left knee, about x


def test_outliers_are_ignored(body, seen):
    people, joints = seen
    pixels = people.keypoints_2d_px.copy()
    pixels[0, 9] += 400
    refined = refine_poses(replace(people, keypoints_2d_px=pixels), joints, CAMERA)
    others = [index for index in range(17) if index != 9]

    def off(posed):
        seen = CAMERA.project(posed[:1, KEYPOINTS])[0]
        return np.linalg.norm(seen - people.keypoints_2d_px[0], axis=-1)[others].mean()

    assert off(joints_of(body, refined)) < 0.6 * off(joints)
