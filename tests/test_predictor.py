"""Predictor: batches, empty results, coordinates in photo pixels, placement of people."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aios.accelerate.cuda_graphs import CapturedRun, CudaGraph
from aios.body.model import BodyModel
from aios.media.photo import PhotoError
from aios.network.config import BODY_KEYPOINT_JOINTS, ImageConfig
from aios.network.preprocessing import batch_images, prepare_photo
from aios.prediction import Candidates
from aios.predictor import AiOSPredictor
from aios.resources import STANDIN_BODY
from aios.weights.load import WeightsInfo
from tests.helpers.networks import SMALL, random_model
from tests.helpers.people_on_floor import CAMERA as FLOOR_CAMERA
from tests.helpers.people_on_floor import joints_of, people_on_floor
from tests.helpers.projection import project_points

pytestmark = pytest.mark.usefixtures("one_thread")

RANDOM = WeightsInfo("file", "random weights", Path("random"), False, "standin", 0.4)


@pytest.fixture(scope="module")
def predictor(one_thread):
    return AiOSPredictor(random_model(SMALL, 0), RANDOM, BodyModel.load(STANDIN_BODY), "cpu")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def assert_same_people(ours, wanted):
    assert len(ours) == len(wanted)
    for name, values in vars(wanted.people).items():
        np.testing.assert_allclose(
            getattr(ours.people, name), values, atol=2e-3, rtol=1e-3, err_msg=name
        )
    np.testing.assert_allclose(ours.vertices, wanted.vertices, atol=1e-3, rtol=1e-3)
    assert ours.camera == wanted.camera


def test_batch_equals_single_photos(predictor):
    photos = [noise(64, 90, 1), noise(75, 70, 2), noise(64, 90, 3), noise(30, 200, 4)]
    together = predictor.predict_batch(photos, threshold=0.0)
    assert len(together) == 4
    for photo, found in zip(photos, together, strict=True):
        assert_same_people(found, predictor.predict(photo, threshold=0.0))


def test_empty_batch(predictor):
    assert predictor.predict_batch([]) == []


def test_shapes(predictor):
    found = predictor.predict(noise(100, 140), threshold=0.0)
    assert len(found) == SMALL.num_people
    assert found.vertices.shape == (7, 10475, 3)
    assert found.joints_3d.shape == (7, 144, 3)
    assert found.faces.shape[1] == 3
    assert found.vertices.dtype == found.joints_3d.dtype == np.float32
    assert np.isfinite(found.vertices).all()
    assert (found.weights, found.body) == ("file", "stand-in")
    assert sorted(found.depth_order) == list(range(7))


def test_prediction_without_people_is_empty(predictor):
    found = predictor.predict(noise(64, 64), threshold=1.0)
    assert len(found) == 0
    assert found.vertices.shape == (0, 10475, 3)
    assert found.joints_3d.shape == (0, 144, 3)
    assert found.depth_order.shape == (0,)
    assert (found.camera.width, found.camera.height) == (64, 64)


def test_threshold_and_number(predictor):
    candidates = predictor.find_candidates(noise(80, 80))
    scores = candidates.people.scores
    assert len(scores) == SMALL.num_people
    for threshold in (0.0, float(scores[3]), 1.0):
        found = predictor.assemble(candidates, threshold)
        assert len(found) == (scores >= threshold).sum()
    usual = predictor.assemble(candidates)
    assert len(usual) == (scores >= RANDOM.threshold).sum()
    few = predictor.assemble(candidates, 0.0, max_people=2)
    np.testing.assert_array_equal(few.people.scores, scores[:2])
    assert len(predictor.assemble(candidates, 0.0, max_people=0)) == 0
    assert len(predictor.assemble(candidates, 0.0, max_people=-3)) == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_outside_its_range(predictor, threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        predictor.predict(noise(64, 64), threshold)


@pytest.mark.parametrize("size", [(128, 192), (32, 48), (100, 333), (333, 100), (61, 97)])
def test_camera_of_the_photo_matches_that_of_the_input(predictor, size):
    """Both cameras project to the same relative position."""
    height, width = size
    photo = noise(height, width)
    found = predictor.predict(photo, threshold=0.0)
    input_height, input_width = prepare_photo(photo, SMALL.image).shape[1:]
    points = torch.from_numpy(found.joints_3d)
    input_px = project_points(points, SMALL.focal_length, torch.tensor([input_width, input_height]))
    norm = (input_px / torch.tensor([input_width, input_height])).numpy()
    photo_px = found.camera.project(found.joints_3d)
    np.testing.assert_allclose(photo_px[..., 0], norm[..., 0] * width, rtol=1e-4, atol=0.05)
    # Both sides are rounded to whole pixels, but the focal length is scaled as the width.
    rounding = abs(input_height / input_width / (height / width) - 1) + 1e-4
    away = np.abs(norm[..., 1] - 0.5) * height
    np.testing.assert_array_less(
        np.abs(photo_px[..., 1] - norm[..., 1] * height), away * rounding * 1.1 + 0.05
    )
    assert (found.camera.width, found.camera.height) == (width, height)


@pytest.mark.parametrize("size", [(200, 290), (290, 200), (100, 333), (333, 100), (97, 61)])
def test_meshes_and_keypoints_have_one_frame(size):
    """For inputs with sides of multiples of 32, at aspect ratios that do not fit them.

    The map from network output to photo pixels, as seen in the keypoints, takes projections by
    the network's camera to projections by the camera of the photo.
    """
    height, width = size
    config = replace(SMALL, image=ImageConfig(short_side=64, long_side=96, multiple=32))
    predictor = AiOSPredictor(random_model(config, 0), RANDOM, BodyModel.load(STANDIN_BODY), "cpu")
    photo = noise(height, width)
    images = batch_images([prepare_photo(photo, config.image)])
    with torch.inference_mode():
        output = predictor.model(images).final
    order = output.class_logits[0, :, 1].argsort(descending=True, stable=True)
    norm = output.keypoints_2d[0, order].reshape(-1, 2).numpy()
    found = predictor.predict(photo, threshold=0.0)
    input_wh = images.sizes_hw[0].flip(0)
    points = torch.from_numpy(found.joints_3d)
    projected = (project_points(points, config.focal_length, input_wh) / input_wh).numpy()
    keypoints = found.people.keypoints_2d_px.reshape(-1, 2)
    for axis in (0, 1):
        scale, shift = np.polyfit(norm[:, axis], keypoints[:, axis], 1)
        expected = projected[..., axis] * scale + shift
        pixels = found.camera.project(found.joints_3d)[..., axis]
        np.testing.assert_allclose(pixels, expected, rtol=1e-3, atol=0.1)


def test_keypoints_are_in_photo_pixels(predictor):
    """Twice the photo size gives twice the coordinates."""
    photo = np.repeat(np.repeat(noise(64, 96), 2, 0), 2, 1)
    small = predictor.find_candidates(photo[::2, ::2]).people
    # Corner-aligned resizing by 2 takes every second pixel, so the input is the same.
    large = predictor.find_candidates(photo).people
    np.testing.assert_allclose(large.keypoints_2d_px, 2 * small.keypoints_2d_px, rtol=1e-4)
    np.testing.assert_allclose(large.boxes_xyxy_px, 2 * small.boxes_xyxy_px, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(large.betas, small.betas, atol=1e-5)
    assert large.keypoints_2d_px[..., 0].max() <= 192
    assert large.keypoints_2d_px[..., 1].max() <= 128


def test_all_photo_types_give_the_same_people(predictor, tmp_path):
    photo = noise(70, 64)
    image = Image.fromarray(photo)
    image.save(tmp_path / "photo.png")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    wanted = predictor.predict(photo, 0.0)
    for kind in (image, tmp_path / "photo.png", str(tmp_path / "photo.png"), buffer.getvalue()):
        assert_same_people(predictor.predict(kind, 0.0), wanted)


def test_array_is_not_modified(predictor):
    photo = noise(64, 96)  # equal to the network input
    kept = photo.copy()
    wanted = predictor.predict(photo, 0.0)
    assert np.array_equal(photo, kept)
    photo.setflags(write=False)
    for found in (predictor.predict(photo, 0.0), *predictor.predict_batch([photo, photo], 0.0)):
        assert_same_people(found, wanted)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (40, 2000)])
def test_extreme_sizes_give_finite_boxes(predictor, size):
    found = predictor.predict(noise(*size), threshold=0.0)
    assert np.isfinite(found.people.boxes_xyxy_px).all()
    assert (found.camera.height, found.camera.width) == size


def test_unreadable_photo_is_refused(predictor, tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no picture")
    with pytest.raises(PhotoError):
        predictor.predict(path)


def test_attention_is_optional(predictor):
    photo = noise(64, 64)
    assert predictor.find_candidates(photo).attention is None
    attention = predictor.find_candidates(photo, with_attention=True).attention
    assert len(attention.layers) == SMALL.decoder_layers
    assert attention.layers[-1].weights.shape[:2] == (7, 39)


def test_input_size_does_not_change_the_photo_frame(predictor):
    photo = noise(90, 120)
    smaller = ImageConfig(short_side=48, long_side=64)
    usual = predictor.find_candidates(photo)
    coarse = predictor.find_candidates(photo, image=smaller)
    assert (coarse.camera.width, coarse.camera.height) == (120, 90)
    # The focal length is constant in input pixels, so it grows in photo pixels.
    assert coarse.camera.focal_length == pytest.approx(300 * 120 / 64)
    assert usual.camera.focal_length == pytest.approx(300 * 120 / 85)
    assert (coarse.people.scores != usual.people.scores).any()


def test_predictor_of_another_input_size(predictor):
    photo = noise(90, 120)
    fast = predictor.with_input_size("fast")
    expected = predictor.find_candidates(photo, image=predictor.input_sizes["fast"])
    (batched,) = fast.predict_batch([photo], 0.0)
    assert fast.input_sizes == predictor.input_sizes
    for found in (fast.predict(photo, 0.0), batched):
        assert found.camera == expected.camera
        assert (found.people.scores == expected.people.scores[: len(found)]).all()


@pytest.mark.parametrize(
    ("multiple", "wanted"), [(1, (512, 640, 800)), (32, (512, 640, 800)), (50, (500, 650, 800))]
)
def test_input_sizes_are_scaled_from_that_of_the_weights(multiple, wanted):
    image = ImageConfig(short_side=800, long_side=1333, multiple=multiple)
    model = random_model(replace(SMALL, image=image), 0)
    sizes = AiOSPredictor(model, RANDOM, BodyModel.load(STANDIN_BODY), "cpu").input_sizes
    assert tuple(size.short_side for size in sizes.values()) == wanted
    assert all(size.long_side % multiple == 0 for size in list(sizes.values())[:-1])
    assert sizes["full"] == image


def test_batch_norm_is_folded_and_parameters_are_frozen(predictor):
    assert not any("running_mean" in name for name in predictor.model.state_dict())
    assert not any(p.requires_grad for p in predictor.model.parameters())
    assert not predictor.model.training


def test_official_shapes_are_adapted_to_the_standin_for_drawing_only(predictor):
    """Parameters stay those of the network; only the mesh differs."""
    info = WeightsInfo("official", "", Path("x"), True, "smplx", 0.3)
    official = AiOSPredictor(random_model(SMALL, 0), info, BodyModel.load(STANDIN_BODY), "cpu")
    photo = noise(64, 64)
    ours, theirs = predictor.predict(photo, 0.0), official.predict(photo, 0.0)
    np.testing.assert_array_equal(ours.people.betas, theirs.people.betas)
    assert np.abs(ours.vertices - theirs.vertices).max() > 1e-3


def test_network_input_is_the_prepared_photo(predictor):
    photo = noise(64, 96)
    with torch.inference_mode():
        direct = predictor.model(batch_images([prepare_photo(photo, SMALL.image)]))
    people = predictor.find_candidates(photo).people
    scores = direct.final.class_logits[0, :, 1].sigmoid().sort(descending=True).values
    np.testing.assert_allclose(people.scores, scores.numpy(), rtol=1e-5)


def test_people_are_placed_by_their_keypoints(predictor):
    """Translation fits the keypoints near the predicted depth; other fields do not change."""
    info = replace(RANDOM, placed_by="keypoints")
    by_keypoints = AiOSPredictor(
        random_model(SMALL, 0), info, BodyModel.load(STANDIN_BODY), "cpu", refine=False
    )
    candidates = predictor.find_candidates(noise(64, 90))
    # Keypoints of the same people at other positions.
    usual = predictor.assemble(candidates, 0.0)
    joints = list(BODY_KEYPOINT_JOINTS)
    away = np.array([0.4, -0.3, 0.0], np.float32)

    def moved(shift: np.ndarray) -> Candidates:
        seen = usual.camera.project(usual.joints_3d[:, joints] + shift)
        people = replace(usual.people, keypoints_2d_px=seen.astype(np.float32))
        return Candidates(people, candidates.camera)

    people = moved(away).people
    found = by_keypoints.assemble(moved(away), 0.0)
    np.testing.assert_allclose(found.people.transl, usual.people.transl + away, atol=0.02)
    np.testing.assert_allclose(found.vertices, usual.vertices + away, atol=0.02)
    np.testing.assert_array_equal(found.people.weak_camera, usual.people.weak_camera)
    placed = by_keypoints.placed(people, candidates.camera)
    np.testing.assert_allclose(placed.transl, found.people.transl, atol=1e-5)
    again = by_keypoints.assemble(Candidates(placed, candidates.camera, placed=True), 0.0)
    np.testing.assert_allclose(again.vertices, found.vertices, atol=1e-4)
    np.testing.assert_array_equal(predictor.placed(people, candidates.camera).transl, people.transl)
    further = by_keypoints.assemble(moved(away + np.array([0, 0, 2.0], np.float32)), 0.0)
    deeper = further.people.transl[:, 2] - usual.people.transl[:, 2]
    assert ((deeper > 0) & (deeper < 2)).all()


def test_refinement_is_on_for_weights_placed_by_keypoints(predictor):
    info = replace(RANDOM, placed_by="keypoints")
    body = BodyModel.load(STANDIN_BODY)
    refining = AiOSPredictor(random_model(SMALL, 0), info, body, "cpu")
    assert refining.refine and not predictor.refine
    plain = refining.with_refinement(False)
    photo = noise(64, 90)
    refined, unrefined = refining.predict(photo, 0.0), plain.predict(photo, 0.0)
    assert refined.refined and not unrefined.refined
    joints = list(BODY_KEYPOINT_JOINTS)

    def off(prediction):
        seen = prediction.camera.project(prediction.joints_3d[:, joints])
        return np.linalg.norm(seen - prediction.people.keypoints_2d_px, axis=-1).mean()

    assert off(refined) < off(unrefined)
    candidates = refining.find_candidates(photo)
    placed = refining.placed(candidates.people, candidates.camera)
    again = refining.assemble(replace(candidates, people=placed, placed=True), 0.0)
    np.testing.assert_allclose(again.vertices, refined.vertices, atol=1e-4)


def test_refined_people_of_unknown_height_stand_on_one_floor():
    """A child in front of a tall person: sizes alone give the wrong order."""
    places = ((-0.6, 6.0), (0.6, 6.8))
    people, _ = people_on_floor(places, heights=[-2.5, 2.0])
    people = replace(people, betas=np.zeros_like(people.betas))
    info = replace(RANDOM, placed_by="keypoints")
    predictor = AiOSPredictor(random_model(SMALL, 0), info, BodyModel.load(STANDIN_BODY), "cpu")
    by_size = joints_of(predictor.placed(people, FLOOR_CAMERA, common_floor=False))
    together = joints_of(predictor.placed(people, FLOOR_CAMERA))
    assert by_size[0, 0, 2] > by_size[1, 0, 2]
    assert together[0, 0, 2] < together[1, 0, 2]

    def off(joints):
        seen = FLOOR_CAMERA.project(joints[:, list(BODY_KEYPOINT_JOINTS)])
        return np.linalg.norm(seen - people.keypoints_2d_px, axis=-1).mean()

    # The size changes with the distance, so that the bodies stay on their keypoints.
    assert off(together) < 1.5 * off(by_size) + 1


def test_photos_are_split_into_batches(predictor, monkeypatch):
    sizes, run = [], predictor._run

    def counted(images, *rest, **named):
        sizes.append(len(images.pixels))
        return run(images, *rest, **named)

    monkeypatch.setattr(predictor, "_run", counted)
    photos = [noise(40, 60, seed) for seed in range(5)]
    together = predictor.predict_batch(photos, threshold=0.0, batch_size=2)
    assert sizes == [2, 2, 1]
    for photo, found in zip(photos, together, strict=True):
        assert_same_people(found, predictor.predict(photo, threshold=0.0))


def test_captured_network_gives_the_same_people(predictor, monkeypatch):
    """With a capturer that runs the network again, as on a GPU."""
    photo = noise(40, 60, 1)
    wanted = predictor.find_candidates(photo).people

    def capturer(function, inputs):
        outputs = function(*inputs)
        return CapturedRun(inputs, outputs, lambda: outputs[0].copy_(function(*inputs)[0]))

    monkeypatch.setattr(predictor, "_graph", CudaGraph(predictor._run_table, capturer))
    for _ in range(3):
        found = predictor.find_candidates(photo).people
        for name, values in vars(wanted).items():
            assert np.array_equal(getattr(found, name), values), name
    assert predictor.find_candidates(photo, with_attention=True).attention is not None
