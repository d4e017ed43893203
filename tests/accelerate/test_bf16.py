"""bf16 for large products: what has a place in space stays float32, bodies stay within 1 mm.

On a CPU with gradients wanted, where the network runs as it does on a GPU.
"""

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
MEAN_MM = 1.0
"""Mean distance of vertices from those of the float32 network, pelvis on pelvis."""
DEPTH_SHARE = 0.002
"""Mean change of the distance from the camera, as a share of it."""


def halved(model: AiOS) -> AiOS:
    model.eval().requires_grad_(False)
    fold_batch_norm(model.backbone)
    convert_to_bf16(model)
    return model


def floats_of(output) -> dict[str, torch.Tensor]:
    parts = vars(output.final) | vars(output.final.smplx) | {"proposals": output.proposals.boxes}
    return {name: x for name, x in parts.items() if isinstance(x, torch.Tensor)}


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_what_has_a_place_in_space_is_float32(config):
    images = random_images([(64, 96)], 0)
    exact = random_model(config, 0)(images, keep_attention=True)
    half = halved(random_model(config, 0))(images, keep_attention=True)
    for name, found in floats_of(half).items():
        assert found.dtype == torch.float32, name
        assert not torch.equal(found, found.to(HALF).float()), name
    assert half.encoded.memory.dtype == torch.float32
    for layer in half.attention:
        assert layer.sampling_locations.dtype == layer.attention_weights.dtype == torch.float32
    # Half precision was at work, but not in what makes a rotation a rotation.
    assert not torch.equal(half.encoded.memory, exact.encoded.memory)
    turned = half.final.smplx.body_rotmat.detach()
    identity = torch.eye(3).expand_as(turned)
    torch.testing.assert_close(turned @ turned.transpose(-1, -2), identity, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_maps_of_the_backbone_are_the_same_but_for_rounding(config):
    pixels = random_images([(64, 96)], 3).pixels
    exact = random_model(config, 3).backbone(pixels)
    half = halved(random_model(config, 3)).backbone(pixels)
    assert len(exact) == len(half)
    for wanted, found in zip(exact, half, strict=True):
        assert found.dtype == HALF
        assert found.shape == wanted.shape
        assert (found - wanted).norm() < 0.02 * wanted.norm()


def test_weights_of_large_products_alone_are_half():
    model = halved(random_model(SMALL, 0))
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    for name, kind in kinds.items():
        large = ("backbone", "value_proj", "output_proj", "linear1", "linear2", "self_attn.in_proj")
        attends = name.startswith("decoder") and "self_attn" in name
        projects = name.startswith("level_projections") and name.split(".")[2] == "0"
        half = any(part in name for part in large) or attends or projects
        assert kind == (HALF if half else torch.float32), name


def test_autocast_does_not_reach_places_and_rotations():
    """As in training: the same network below autocast."""
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


def test_half_tokens_are_turned_in_full():
    """Six numbers in bf16 would make a matrix that is off by a degree."""
    heads = random_model(SMALL, 2).decoder.heads.layer(-1).smplx
    tokens = torch.randn(1, 2, 39, SMALL.hidden_dim).to(HALF)
    with torch.autocast("cpu", HALF):
        found = heads(tokens).body_rotmat
    picked = tokens.float()[:, :, list(heads.body_tokens)].flatten(2)
    wanted = rotation_6d_to_rotmat(heads.body_pose(picked).unflatten(-1, (-1, 6)))
    torch.testing.assert_close(found, wanted)


SURE = 0.25
"""Nobody on the example photos has a score so near to it that rounding decides who is shown."""


def everybody(predictor: AiOSPredictor, model: AiOS, photo: np.ndarray) -> People:
    output = model(batch_images([prepare_photo(photo, model.config.image)]))
    return people_from_output(output.final, 0, photo.shape[1], photo.shape[0])


def test_bodies_on_photos_stay_within_a_millimetre():
    loaded = load_model("builtin")
    half = halved(load_model("builtin").model)
    predictor = AiOSPredictor(loaded.model, loaded.weights, BodyModel.load(STANDIN_BODY), "cpu")
    millimetres, shares = [], []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        photo = read_photo(path)
        camera = predictor.find_candidates(photo).camera
        people = [everybody(predictor, model, photo) for model in (predictor.model, half)]
        found = [Candidates(one, camera) for one in people]
        exact, fast = (predictor.assemble(one, SURE) for one in found)
        assert len(exact) == len(fast)
        for person, box in enumerate(exact.people.boxes_xyxy_px):
            other = np.abs(fast.people.boxes_xyxy_px - box).sum(1).argmin()
            pairs = ((exact, person), (fast, other))
            one, two = (p.vertices[i] - p.joints_3d[i, 0] for p, i in pairs)
            millimetres.append(np.linalg.norm(one - two, axis=-1).mean() * 1000)
            near, far = (p.joints_3d[i, 0, 2] for p, i in pairs)
            shares.append(abs(far / near - 1))
    assert len(millimetres) >= 8
    assert 0 < np.mean(millimetres) < MEAN_MM
    assert np.mean(shares) < DEPTH_SHARE


@pytest.mark.parametrize(
    ("speed", "dtypes"), [("exact", {torch.float32}), ("fast", {torch.float32, HALF})]
)
def test_speed_on_cuda_selects_the_dtypes_of_weights(monkeypatch, speed, dtypes):
    monkeypatch.setattr(AiOS, "to", lambda network, device: network)  # there may be no GPU
    network = accelerate(random_model(TINY, 0), torch.device("cuda"), speed, list)
    assert network.speed == speed
    assert {parameter.dtype for parameter in network.parameters()} == dtypes
