"""bf16 network: geometry stays float32, vertices stay within 1 mm. Runs on a CPU."""

import numpy as np
import pytest
import torch

from aios.accelerate.bf16 import convert_to_bf16
from aios.accelerate.fold_batch_norm import fold_batch_norm
from aios.accelerate.install import accelerate
from aios.body.model import BodyModel
from aios.geometry.rotations import rotation_6d_to_rotmat
from aios.media.photo import read_photo
from aios.network.model import AiOS
from aios.network.preprocessing import batch_images, prepare_photo
from aios.people import People, people_from_output
from aios.prediction import Candidates
from aios.predictor import AiOSPredictor
from aios.resources import EXAMPLES, STANDIN_BODY
from aios.weights.load import load_model
from tests.helpers.networks import SMALL, TINY, random_images, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

HALF = torch.bfloat16
MAX_MEDIAN_MM, MAX_MM = 1.0, 15.0
"""Limits of the vertex distance from the float32 network, pelvis on pelvis: of the median person
and of everyone."""
MAX_MEDIAN_DEPTH_CHANGE, MAX_DEPTH_CHANGE = 0.001, 0.1
"""The same for the relative change of the distance from the camera. In a portrait, where the border
cuts the person, one keypoint that moves to another peak of its map changes it by some percent."""


def in_bf16(model: AiOS) -> AiOS:
    model.eval().requires_grad_(False)
    fold_batch_norm(model.backbone)
    convert_to_bf16(model)
    return model


def tensors_of(output) -> dict[str, torch.Tensor]:
    parts = vars(output.final) | vars(output.final.smplx) | {"proposals": output.proposals.boxes}
    return {name: x for name, x in parts.items() if isinstance(x, torch.Tensor)}


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_outputs_and_sampling_points_are_float32(config):
    images = random_images([(64, 96)], 0)
    exact = random_model(config, 0)(images, keep_attention=True)
    half = in_bf16(random_model(config, 0))(images, keep_attention=True)
    for name, found in tensors_of(half).items():
        assert found.dtype == torch.float32, name
        assert not torch.equal(found, found.to(HALF).float()), name
    assert half.encoded.memory.dtype == torch.float32
    for layer in half.attention:
        assert layer.sampling_locations.dtype == layer.attention_weights.dtype == torch.float32
    # bf16 is in use, but rotations are exact.
    assert not torch.equal(half.encoded.memory, exact.encoded.memory)
    rotmat = half.final.smplx.body_rotmat.detach()
    identity = torch.eye(3).expand_as(rotmat)
    torch.testing.assert_close(rotmat @ rotmat.transpose(-1, -2), identity, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_backbone_maps_differ_by_rounding_only(config):
    pixels = random_images([(64, 96)], 3).pixels
    exact = random_model(config, 3).backbone(pixels)
    half = in_bf16(random_model(config, 3)).backbone(pixels)
    assert len(exact) == len(half)
    for wanted, found in zip(exact, half, strict=True):
        assert found.dtype == HALF
        assert found.shape == wanted.shape
        assert (found - wanted).norm() < 0.02 * wanted.norm()


def test_only_weights_of_large_products_are_bf16():
    model = in_bf16(random_model(SMALL, 0))
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    for name, kind in kinds.items():
        large = ("backbone", "value_proj", "output_proj", "linear1", "linear2", "self_attn.in_proj")
        attends = name.startswith("decoder") and "self_attn" in name
        projects = name.startswith("level_projections") and name.split(".")[2] == "0"
        half = any(part in name for part in large) or attends or projects
        assert kind == (HALF if half else torch.float32), name


def test_outputs_are_float32_under_autocast():
    """The plain network under autocast, as in training."""
    model, images = random_model(SMALL, 1), random_images([(64, 96)], 1)
    with torch.autocast("cpu", HALF):
        output = model(images, aux_outputs=True, keep_attention=True)
    for layer in (output.final, *output.aux_outputs):
        for name in ("boxes", "keypoints_2d", "left_hand_boxes"):
            found = getattr(layer, name)
            assert found is None or found.dtype == torch.float32, name
        if layer.smplx is not None:
            assert all(x.dtype == torch.float32 for x in vars(layer.smplx).values())
    for layer in output.attention:
        assert layer.sampling_locations.dtype == layer.attention_weights.dtype == torch.float32


def test_rotations_from_bf16_tokens_are_computed_in_float32():
    """Six numbers in bf16 would give a rotation that is off by a degree."""
    heads = random_model(SMALL, 2).decoder.heads.layer(-1).smplx
    tokens = torch.randn(1, 2, 39, SMALL.hidden_dim).to(HALF)
    with torch.autocast("cpu", HALF):
        found = heads(tokens).body_rotmat
    picked = tokens.float()[:, :, list(heads.body_tokens)].flatten(2)
    wanted = rotation_6d_to_rotmat(heads.body_pose(picked).unflatten(-1, (-1, 6)))
    torch.testing.assert_close(found, wanted)


THRESHOLD = 0.25
"""No score on the example photos is so close to it that rounding changes the people found."""


def people_of(predictor: AiOSPredictor, model: AiOS, photo: np.ndarray) -> People:
    output = model(batch_images([prepare_photo(photo, model.config.image)]))
    return people_from_output(output.final, 0, photo.shape[1], photo.shape[0])


def test_vertices_on_photos_stay_within_a_millimetre():
    loaded = load_model("builtin")
    half = in_bf16(load_model("builtin").model)
    predictor = AiOSPredictor(loaded.model, loaded.weights, BodyModel.load(STANDIN_BODY), "cpu")
    millimetres, shares = [], []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        photo = read_photo(path)
        camera = predictor.find_candidates(photo).camera
        people = [people_of(predictor, model, photo) for model in (predictor.model, half)]
        found = [Candidates(one, camera) for one in people]
        exact, fast = (predictor.assemble(one, THRESHOLD) for one in found)
        assert len(exact) == len(fast)
        for person, box in enumerate(exact.people.boxes_xyxy_px):
            other = np.abs(fast.people.boxes_xyxy_px - box).sum(1).argmin()
            pairs = ((exact, person), (fast, other))
            one, two = (p.vertices[i] - p.joints_3d[i, 0] for p, i in pairs)
            millimetres.append(np.linalg.norm(one - two, axis=-1).mean() * 1000)
            near, far = (p.joints_3d[i, 0, 2] for p, i in pairs)
            shares.append(abs(far / near - 1))
    assert len(millimetres) >= 8
    assert 0 < np.median(millimetres) < MAX_MEDIAN_MM and max(millimetres) < MAX_MM
    assert np.median(shares) < MAX_MEDIAN_DEPTH_CHANGE and max(shares) < MAX_DEPTH_CHANGE


@pytest.mark.parametrize(
    ("speed", "dtypes"), [("exact", {torch.float32}), ("fast", {torch.float32, HALF})]
)
def test_speed_on_cuda_selects_the_dtypes_of_weights(monkeypatch, speed, dtypes):
    monkeypatch.setattr(AiOS, "to", lambda network, device: network)  # there may be no GPU
    network = accelerate(random_model(TINY, 0), torch.device("cuda"), speed, list)
    assert network.speed == speed
    assert {parameter.dtype for parameter in network.parameters()} == dtypes
