"""What a run starts from: every kind of weights file loads whole or is refused in one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.config import AiOSConfig, BackboneConfig
from aios.network.model import AiOS
from aios.weights.checkpoint import CheckpointError, canonical_name, save_safetensors
from aios.weights.official_names import rename_tensor
from tests.helpers.training_samples import random_batch
from training.config import TINY_MODEL
from training.engine.batch_norm import use_batch_norm, without_counters
from training.engine.initialise import initialise
from training.engine.start import (
    BODY_MODEL,
    FRESH_AFTER_ED_POSE,
    IMAGE_FEATURES,
    LABELS,
    load_start,
)
from training.losses.denoising import NUM_LABELS

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW = AiOSConfig(
    backbone=BackboneConfig(widths=(4, 4, 4, 4), stem_width=4),
    hidden_dim=32,
    num_heads=2,
    feedforward_dim=16,
)
"""As many layers as the paper's network, so that every released name has its place."""
MANIFEST = (
    Path(__file__).resolve().parents[3] / "tests" / "data" / "model" / "state_dict_manifest.json"
)
_NOT_IN_ED_POSE = ("smpl_", "bbox_hand", "bbox_face", "pose_hand", "pose_face")
_NOT_IN_ED_POSE_DECODER = ("lhand_", "rhand_", "face_", "hw_")


def released_names():
    return [
        n for n in json.loads(MANIFEST.read_text())["state_dict"] if not n.startswith(BODY_MODEL)
    ]


def in_ed_pose(name):
    """By the list of the training specification, section 1."""
    short = name.removeprefix("transformer.decoder.")
    if short.startswith(_NOT_IN_ED_POSE):
        return False
    return short == name or not short.startswith(_NOT_IN_ED_POSE_DECODER)


def released_file(path, model, names, prefix=""):
    """`names` with the numbers of `model`, in the layout of the released programs."""
    state, tensors = model.state_dict(), {}
    for name in names:
        ours = rename_tensor(canonical_name(name), model.config)
        tensors[prefix + name] = labels(7.0) if name == LABELS else state[ours]
    torch.save({"model": tensors, "epoch": 3}, path)
    return path


def labels(value):
    return torch.full((NUM_LABELS, NARROW.hidden_dim), value)


@pytest.fixture(scope="module")
def taught():
    """A network whose every number is known to be its own."""
    torch.manual_seed(5)
    model = AiOS(NARROW)
    with torch.no_grad():
        for number, tensor in enumerate(model.state_dict().values()):
            tensor.add_(0.01 * number + 0.5)
    return model


def fresh(config=NARROW):
    torch.manual_seed(0)
    return AiOS(config), torch.nn.Embedding(NUM_LABELS, config.hidden_dim)


def test_ed_pose_loads_all_it_has_and_the_rest_starts_fresh(taught, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    path = released_file(tmp_path / "edpose.pth", taught, names, prefix="module.")
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_start(str(path), model, rows)
    wanted, loaded = taught.state_dict(), 0
    for name, value in model.state_dict().items():
        if FRESH_AFTER_ED_POSE.fullmatch(name):
            assert torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, wanted[name]), name
            loaded += 1
    assert loaded == len({rename_tensor(canonical_name(n), NARROW) for n in names} - {LABELS})
    assert {name.split(".")[0] for name in wanted if not FRESH_AFTER_ED_POSE.fullmatch(name)} == {
        *("backbone", "level_projections", "encoder", "proposals", "decoder")
    }
    assert torch.equal(rows.weight, labels(7.0))


def test_naive_network_leaves_the_joints_of_ed_pose(taught, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    path = released_file(tmp_path / "edpose.pth", taught, names)
    model, rows = fresh(replace(NARROW, point_tokens=False))
    load_start(str(path), model, rows)
    box = "decoder.heads.layers.5.body_box.layers.0.weight"
    assert torch.equal(model.state_dict()[box], taught.state_dict()[box])


def test_whole_released_file_loads_wholly(taught, tmp_path):
    path = released_file(tmp_path / "aios.pth", taught, released_names())
    model, rows = fresh()
    load_start(str(path), model, rows)
    for name, value in taught.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(rows.weight, labels(7.0))


def test_what_is_to_stay_stays_whatever_the_released_file_has(taught, tmp_path):
    path = released_file(tmp_path / "aios.pth", taught, released_names())
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_start(str(path), model, rows, IMAGE_FEATURES)
    for name, value in taught.state_dict().items():
        wanted = before[name] if name.startswith(IMAGE_FEATURES) else value
        assert torch.equal(model.state_dict()[name], wanted), name


def test_files_that_do_not_fit_are_refused(taught, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lacking = [name for name in names if "class_embed.5" not in name]
    path = released_file(tmp_path / "lacking.pth", taught, lacking)
    with pytest.raises(CheckpointError, match="missing: decoder.heads.layers.5.class_logits"):
        load_start(str(path), model, rows)
    extra = [*names, *(name for name in released_names() if name.startswith("bbox_hand_embed.0"))]
    path = released_file(tmp_path / "extra.pth", taught, extra)
    with pytest.raises(CheckpointError, match="neither ED-Pose nor AiOS"):
        load_start(str(path), model, rows)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_start(str(tmp_path / "nothing.pth"), model, rows)
    with pytest.raises(CheckpointError, match="holds no checkpoint of a run"):
        load_start(str(tmp_path), model, rows)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_own_file_loads_strictly(tmp_path):
    torch.manual_seed(9)
    model = AiOS(TINY_MODEL)
    path = tmp_path / "own.safetensors"
    save_safetensors(path, model.state_dict(), TINY_MODEL, dtype=torch.float32)
    other, rows = fresh(TINY_MODEL)
    load_start(str(path), other, rows)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_start(str(path), *fresh(replace(TINY_MODEL, num_levels=3)))


def test_start_is_an_upright_person_before_the_camera():
    model = initialise(AiOS(TINY_MODEL)).eval()
    with torch.no_grad():
        output = model(random_batch(BodyModel.load(), (1,)).images(TINY_MODEL.image))
    root = output.final.smplx.body_rotmat[0, :, 0]
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand_as(root)
    torch.testing.assert_close(root, upright, atol=1e-5, rtol=0)
    shoulder = output.final.smplx.body_rotmat[0, 0, 16]
    arm = shoulder @ torch.tensor([1.0, 0, 0])  # the left arm at rest points to +x
    assert float(arm[1]) < -0.5  # down, in the body's own frame


@pytest.mark.parametrize(
    "change", [{"point_tokens": False}, {"smplx_stages": ("refine_whole_body",)}]
)
def test_variants_start_there_too(change):
    config = replace(TINY_MODEL, **change)
    model = initialise(AiOS(config)).eval()
    with torch.no_grad():
        output = model(random_batch(BodyModel.load(), (1,)).images(config.image))
    root = output.final.smplx.body_rotmat[0, 0, 0]
    torch.testing.assert_close(root, torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_real_batch_norm_keeps_names_and_answers():
    torch.manual_seed(0)
    frozen = AiOS(TINY_MODEL).eval()
    for name, buffer in frozen.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    learning = AiOS(TINY_MODEL)
    learning.load_state_dict(frozen.state_dict())
    use_batch_norm(learning).eval()
    assert set(without_counters(learning.state_dict())) == set(frozen.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    for one, other in zip(frozen.backbone(pixels), learning.backbone(pixels), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
