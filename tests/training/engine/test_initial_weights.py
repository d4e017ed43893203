"""Initial weights: every kind of file loads completely or is refused in one sentence."""

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
from training.engine.initial_weights import (
    BODY_MODEL,
    FRESH_AFTER_ED_POSE,
    IMAGE_FEATURES,
    LABELS,
    load_initial_weights,
)
from training.engine.mean_person import initialise_mean_person
from training.losses.denoising import NUM_LABELS

pytestmark = pytest.mark.usefixtures("one_thread")

NARROW_MODEL = AiOSConfig(
    backbone=BackboneConfig(widths=(4, 4, 4, 4), stem_width=4),
    hidden_dim=32,
    num_heads=2,
    feedforward_dim=16,
)
"""The paper's number of layers with small widths: every released tensor name has a counterpart."""
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
    """Whether ED-Pose has this tensor: not those of hands, face and SMPL-X."""
    short = name.removeprefix("transformer.decoder.")
    if short.startswith(_NOT_IN_ED_POSE):
        return False
    return short == name or not short.startswith(_NOT_IN_ED_POSE_DECODER)


def released_file(path, model, names, prefix=""):
    """Write the tensors `names` of `model` in the layout of the released programs."""
    state, tensors = model.state_dict(), {}
    for name in names:
        ours = rename_tensor(canonical_name(name), model.config)
        tensors[prefix + name] = labels(7.0) if name == LABELS else state[ours]
    torch.save({"model": tensors, "epoch": 3}, path)
    return path


def labels(value):
    return torch.full((NUM_LABELS, NARROW_MODEL.hidden_dim), value)


@pytest.fixture(scope="module")
def source():
    """A network in which all tensors differ."""
    torch.manual_seed(5)
    model = AiOS(NARROW_MODEL)
    with torch.no_grad():
        for number, tensor in enumerate(model.state_dict().values()):
            tensor.add_(0.01 * number + 0.5)
    return model


def fresh(config=NARROW_MODEL):
    torch.manual_seed(0)
    return AiOS(config), torch.nn.Embedding(NUM_LABELS, config.hidden_dim)


def test_ed_pose_sets_all_its_tensors_and_no_others(source, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    path = released_file(tmp_path / "edpose.pth", source, names, prefix="module.")
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_initial_weights(str(path), model, rows)
    expected, loaded = source.state_dict(), 0
    for name, value in model.state_dict().items():
        if FRESH_AFTER_ED_POSE.fullmatch(name):
            assert torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, expected[name]), name
            loaded += 1
    assert loaded == len({rename_tensor(canonical_name(n), NARROW_MODEL) for n in names} - {LABELS})
    assert {name.split(".")[0] for name in expected if not FRESH_AFTER_ED_POSE.fullmatch(name)} == {
        *("backbone", "level_projections", "encoder", "proposals", "decoder")
    }
    assert torch.equal(rows.weight, labels(7.0))


def test_naive_network_ignores_the_joints_of_ed_pose(source, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    path = released_file(tmp_path / "edpose.pth", source, names)
    model, rows = fresh(replace(NARROW_MODEL, point_tokens=False))
    load_initial_weights(str(path), model, rows)
    box = "decoder.heads.layers.5.body_box.layers.0.weight"
    assert torch.equal(model.state_dict()[box], source.state_dict()[box])


def test_released_aios_sets_every_tensor(source, tmp_path):
    path = released_file(tmp_path / "aios.pth", source, released_names())
    model, rows = fresh()
    load_initial_weights(str(path), model, rows)
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(rows.weight, labels(7.0))


def test_fresh_tensors_are_unchanged_by_a_released_file(source, tmp_path):
    path = released_file(tmp_path / "aios.pth", source, released_names())
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_initial_weights(str(path), model, rows, IMAGE_FEATURES)
    for name, value in source.state_dict().items():
        expected = before[name] if name.startswith(IMAGE_FEATURES) else value
        assert torch.equal(model.state_dict()[name], expected), name


def test_files_that_do_not_fit_are_refused_and_change_nothing(source, tmp_path):
    names = [name for name in released_names() if in_ed_pose(name)]
    model, rows = fresh()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lacking = [name for name in names if "class_embed.5" not in name]
    path = released_file(tmp_path / "lacking.pth", source, lacking)
    with pytest.raises(CheckpointError, match="missing: decoder.heads.layers.5.class_logits"):
        load_initial_weights(str(path), model, rows)
    extra = [*names, *(name for name in released_names() if name.startswith("bbox_hand_embed.0"))]
    path = released_file(tmp_path / "extra.pth", source, extra)
    with pytest.raises(CheckpointError, match="neither ED-Pose nor AiOS"):
        load_initial_weights(str(path), model, rows)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_initial_weights(str(tmp_path / "nothing.pth"), model, rows)
    with pytest.raises(CheckpointError, match="does not hold a checkpoint"):
        load_initial_weights(str(tmp_path), model, rows)
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value), name


def test_weights_file_loads_strictly(tmp_path):
    torch.manual_seed(9)
    model = AiOS(TINY_MODEL)
    path = tmp_path / "own.safetensors"
    save_safetensors(path, model.state_dict(), TINY_MODEL, dtype=torch.float32)
    other, rows = fresh(TINY_MODEL)
    load_initial_weights(str(path), other, rows)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_initial_weights(str(path), *fresh(replace(TINY_MODEL, num_levels=3)))


def test_untrained_network_predicts_an_upright_person_with_lowered_arms():
    model = initialise_mean_person(AiOS(TINY_MODEL)).eval()
    with torch.no_grad():
        output = model(random_batch(BodyModel.load(), (1,)).images(TINY_MODEL.image))
    root = output.final.smplx.body_rotmat[0, :, 0]
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand_as(root)
    torch.testing.assert_close(root, upright, atol=1e-5, rtol=0)
    shoulder = output.final.smplx.body_rotmat[0, 0, 16]
    arm = shoulder @ torch.tensor([1.0, 0, 0])  # the left arm points to +x in the rest pose
    assert float(arm[1]) < -0.5  # down, in the body's own frame


@pytest.mark.parametrize(
    "change", [{"point_tokens": False}, {"smplx_stages": ("refine_whole_body",)}]
)
def test_untrained_variants_predict_an_upright_person(change):
    config = replace(TINY_MODEL, **change)
    model = initialise_mean_person(AiOS(config)).eval()
    with torch.no_grad():
        output = model(random_batch(BodyModel.load(), (1,)).images(config.image))
    root = output.final.smplx.body_rotmat[0, 0, 0]
    torch.testing.assert_close(root, torch.diag(torch.tensor([1.0, -1.0, -1.0])))


def test_trainable_batch_norm_keeps_names_and_outputs():
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
