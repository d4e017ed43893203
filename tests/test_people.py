"""People from network outputs: order, pixels, angles, edge cases; predictions."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from aios.body.parameters import SMPLX_NAMES
from aios.geometry.boxes import cxcywh_to_xyxy
from aios.geometry.camera import Camera
from aios.geometry.rotations import axis_angle_to_rotmat
from aios.network.outputs import LayerOutput, SmplxOutput
from aios.people import FIELD_SHAPES, People, people_from_output
from aios.prediction import Prediction

SLOTS = 6


def random_output(seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(batch, SLOTS, *shape, generator=generator)

    def turns(joints):
        return axis_angle_to_rotmat(rand(joints, 3) - 0.5)

    return LayerOutput(
        stage="refine_whole_body",
        class_logits=rand(2) * 6 - 3,
        boxes=rand(4),
        left_hand_boxes=rand(4),
        right_hand_boxes=rand(4),
        face_boxes=rand(4),
        keypoints_2d=rand(17, 2),
        left_hand_keypoints_2d=rand(6, 2),
        right_hand_keypoints_2d=rand(6, 2),
        face_keypoints_2d=rand(6, 2),
        smplx=SmplxOutput(
            turns(22), turns(15), turns(15), turns(1), rand(10), rand(10), rand(3) + 0.1
        ),
    )


def with_smplx(output, **values):
    return dataclasses.replace(output, smplx=dataclasses.replace(output.smplx, **values))


def test_people_are_sorted_by_the_score_of_the_person_class():
    output = random_output()
    output.class_logits[1, :, 0] = torch.arange(SLOTS) * 10.0  # unused
    people = people_from_output(output, 1, 640, 480)
    scores = output.class_logits[1, :, 1].sigmoid()
    assert len(people) == SLOTS
    assert (np.diff(people.scores) <= 0).all()
    np.testing.assert_allclose(people.scores, scores[people.query_indices].numpy())
    assert sorted(people.query_indices) == list(range(SLOTS))


def test_equal_scores_keep_their_order():
    output = random_output()
    output.class_logits.zero_()
    assert people_from_output(output, 0, 9, 9).query_indices.tolist() == list(range(SLOTS))


def test_all_fields_have_the_same_order():
    output = random_output(seed=1)
    people = people_from_output(output, 0, 1, 1)
    for rank, slot in enumerate(people.query_indices):
        np.testing.assert_array_equal(people.betas[rank], output.smplx.betas[0, slot])
        np.testing.assert_array_equal(people.expression[rank], output.smplx.expression[0, slot])
        np.testing.assert_array_equal(people.weak_camera[rank], output.smplx.weak_camera[0, slot])
        np.testing.assert_array_equal(people.keypoints_2d_px[rank], output.keypoints_2d[0, slot])
        for part in ("left_hand", "right_hand", "face"):
            boxes = cxcywh_to_xyxy(getattr(output, f"{part}_boxes")[0, slot])
            np.testing.assert_allclose(getattr(people, f"{part}_boxes_xyxy_px")[rank], boxes)
            points = getattr(output, f"{part}_keypoints_2d")[0, slot]
            np.testing.assert_array_equal(getattr(people, f"{part}_keypoints_2d_px")[rank], points)
        for name, rotmat in {
            "global_orient": output.smplx.body_rotmat[0, slot, :1],
            "body_pose": output.smplx.body_rotmat[0, slot, 1:],
            "left_hand_pose": output.smplx.left_hand_rotmat[0, slot],
            "right_hand_pose": output.smplx.right_hand_rotmat[0, slot],
            "jaw_pose": output.smplx.jaw_rotmat[0, slot],
        }.items():
            vectors = torch.from_numpy(getattr(people, name)[rank]).view(-1, 3)
            torch.testing.assert_close(axis_angle_to_rotmat(vectors), rotmat, atol=1e-5, rtol=0)


def test_pixels_of_a_non_square_photo():
    output = random_output()
    output.boxes[0] = torch.tensor([0.5, 0.25, 0.5, 0.1])
    output.keypoints_2d[0] = torch.tensor([0.1, 1.0])
    people = people_from_output(output, 0, 1000, 400)
    np.testing.assert_allclose(people.boxes_xyxy_px[0], [250, 80, 750, 120], rtol=1e-6)
    np.testing.assert_allclose(people.keypoints_2d_px[0, 3], [100, 400])


def test_hand_and_jaw_angles_above_pi_are_not_reduced():
    """A hand pose and its 2 pi complement are different finger poses."""
    axis = torch.tensor([-0.9, 0.1, -0.2])
    axis /= axis.norm()
    long = -axis * 3.9  # as the released network gives it, instead of axis * 2.38
    output = random_output()
    hands = axis_angle_to_rotmat(long.expand(2, SLOTS, 15, 3))
    jaw = axis_angle_to_rotmat(long.expand(2, SLOTS, 1, 3))
    output = with_smplx(output, left_hand_rotmat=hands, right_hand_rotmat=hands, jaw_rotmat=jaw)
    people = people_from_output(output, 0, 10, 10)
    for name in ("left_hand_pose", "right_hand_pose", "jaw_pose"):
        vectors = getattr(people, name).reshape(-1, 3)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 3.9, rtol=1e-5)
        np.testing.assert_allclose(vectors, np.tile(long.numpy(), (len(vectors), 1)), rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e-7, -1e-7, -0.2])
def test_translation_is_finite_for_any_camera_scale(scale):
    output = random_output()
    output.smplx.weak_camera[..., 0] = scale
    people = people_from_output(output, 0, 10, 10)
    assert np.isfinite(people.transl).all()
    assert ((people.transl[:, 2] < 0) == (scale < 0)).all()


def test_translation_is_the_inverse_scale():
    output = random_output()
    output.smplx.weak_camera[...] = torch.tensor([0.1, 0.02, -0.03])
    people = people_from_output(output, 0, 10, 10)
    np.testing.assert_allclose(people.transl[0], [0.2, -0.3, 10.0], rtol=1e-6)


def test_zero_rotations_stay_finite():
    """Six zeros, as before training, give a zero matrix."""
    output = with_smplx(random_output(), body_rotmat=torch.zeros(2, SLOTS, 22, 3, 3))
    people = people_from_output(output, 0, 10, 10)
    assert np.isfinite(people.body_pose).all()


def test_select():
    people = people_from_output(random_output(), 0, 10, 10)
    kept = people.select(people.scores >= people.scores[2])
    assert len(kept) == 3
    np.testing.assert_array_equal(kept.betas, people.betas[:3])
    assert len(people.select(slice(0, 0))) == 0
    turned = people.select(np.array([4, 1]))
    np.testing.assert_array_equal(turned.query_indices, people.query_indices[[4, 1]])


def test_empty():
    empty = People.empty()
    assert len(empty) == 0
    assert set(empty.smplx_parameters()) == set(SMPLX_NAMES)
    assert empty.body_pose.shape == (0, 63)
    assert empty.query_indices.dtype == np.int64
    assert len(empty.select(empty.scores > 0.5)) == 0


@pytest.mark.parametrize("name", sorted(FIELD_SHAPES))
def test_wrong_shape_error_names_the_field(name):
    people = people_from_output(random_output(), 0, 10, 10)
    values = {field.name: getattr(people, field.name) for field in dataclasses.fields(people)}
    values[name] = values[name][..., None]
    with pytest.raises(ValueError, match=rf"People\.{name} has shape"):
        People(**values)


def test_dtypes():
    people = people_from_output(random_output(), 0, 10, 10)
    for name in FIELD_SHAPES:
        wanted = np.int64 if name == "query_indices" else np.float32
        assert getattr(people, name).dtype == wanted, name


def test_depth_order():
    joints = np.zeros((4, 144, 3), np.float32)
    joints[:, 0, 2] = [5.0, 2.0, 9.0, 2.0]
    prediction = Prediction(
        people=people_from_output(random_output(), 0, 10, 10).select(slice(4)),
        camera=Camera(1.0, (5.0, 5.0), 10, 10),
        vertices=np.zeros((4, 1, 3), np.float32),
        joints_3d=joints,
        faces=np.zeros((0, 3), np.int64),
        weights="random",
        body="none",
    )
    assert prediction.depth_order.tolist() == [2, 0, 3, 1]
    assert len(prediction) == 4
    assert list(prediction) == [0, 1, 2, 3]


def test_pelvis_rotation_by_pi():
    """Upright people have a rotation by about pi in the camera frame."""
    output = random_output()
    output.smplx.body_rotmat[:, :, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    people = people_from_output(output, 0, 10, 10)
    np.testing.assert_allclose(people.global_orient[0], [math.pi, 0, 0], atol=1e-6)


def people_with_boxes(*boxes):
    people = people_from_output(random_output(batch=1), 0, 100, 100)
    return dataclasses.replace(
        people.select(slice(len(boxes))), boxes_xyxy_px=np.array(boxes, np.float32)
    )


def test_duplicate_with_the_better_score_is_kept():
    # Overlaps (intersection over union): 1st and 2nd 0.8, 1st and 3rd 1/3, 2nd and 4th 0.9.
    people = people_with_boxes((0, 0, 10, 10), (0, 0, 10, 8), (5, 0, 15, 10), (0, 0, 10, 7.2))
    kept = people.suppress_duplicates(0.75)
    assert (kept.query_indices == people.query_indices[[0, 2, 3]]).all()
    assert (people.suppress_duplicates(0.7).query_indices == people.query_indices[[0, 2]]).all()
    assert (people.suppress_duplicates(0.3).query_indices == people.query_indices[[0]]).all()
    assert people.suppress_duplicates(1.0) is people


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("max_overlap", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_best_equals_its_single_steps(threshold, max_overlap, count):
    people = people_with_boxes((0, 0, 10, 10), (0, 0, 10, 8), (20, 0, 30, 10), (21, 0, 31, 10))
    people = dataclasses.replace(people, scores=np.array([0.9, 0.7, 0.5, 0.2], np.float32))
    wanted = people.select(people.scores >= threshold).suppress_duplicates(max_overlap)
    found = people.best(threshold, max_overlap, count)
    assert (found.query_indices == wanted.query_indices[:count]).all()


def test_duplicates_of_no_people_and_of_empty_boxes():
    assert len(People.empty().suppress_duplicates(0.5)) == 0
    assert len(people_with_boxes((3, 3, 3, 3), (3, 3, 3, 3)).suppress_duplicates(0.5)) == 2


def test_field_of_view_moves_all_metric_fields_together():
    prediction = some_prediction(3)
    moved = prediction.with_field_of_view(60.0)
    shift = moved.people.transl - prediction.people.transl
    assert (np.abs(shift[:, 2]) > 1).all()
    np.testing.assert_allclose(
        moved.vertices - prediction.vertices, shift[:, None].repeat(4, 1), atol=1e-5
    )
    np.testing.assert_allclose(moved.joints_3d[:, 7] - prediction.joints_3d[:, 7], shift, atol=1e-5)
    assert moved.camera.field_of_view == pytest.approx(60)
    assert (prediction.focal_length_from, moved.focal_length_from) == ("model", "chosen")
    for name in FIELD_SHAPES:
        if name != "transl":
            np.testing.assert_array_equal(
                getattr(moved.people, name), getattr(prediction.people, name)
            )
    back = moved.with_field_of_view(prediction.camera.field_of_view)
    np.testing.assert_allclose(back.people.transl, prediction.people.transl, rtol=0.02, atol=0.05)
    np.testing.assert_array_equal(moved.depth_order, prediction.depth_order)


def test_selected_people_keep_their_indices():
    prediction = some_prediction(4)
    some = prediction.select([1, 2, 3]).select([0, 2])
    assert prediction.person_indices.tolist() == [0, 1, 2, 3]
    assert some.person_indices.tolist() == [1, 3]
    np.testing.assert_array_equal(some.joints_3d, prediction.joints_3d[[1, 3]])
    np.testing.assert_array_equal(some.people.scores, prediction.people.scores[[1, 3]])
    assert sorted(some.depth_order) == [0, 1]
    assert len(prediction.select([])) == 0


def some_prediction(count):
    people = people_with_boxes(*[(0, 0, 10 + k, 20) for k in range(count)])
    rng = np.random.default_rng(0)
    places = np.stack([[k - 1, 0.2, 12 + 4 * k] for k in range(count)])[:, None]
    joints = (rng.normal(size=(count, 144, 3)) * (0.2, 0.5, 0.1) + places).astype(np.float32)
    camera = Camera(5000.0, (640.0, 360.0), 1280, 720)
    faces = np.array([[0, 1, 2]])
    return Prediction(people, camera, joints[:, :4].copy(), joints, faces, "file", "stand-in")
