"""Weight files: reading, refusal of bad files, all-or-nothing loading, source selection."""

import argparse
import errno
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import PurePosixPath

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from aios.network.config import AiOSConfig, BackboneConfig
from aios.network.score_calibration import ScoreCalibration
from aios.weights import load as weights
from aios.weights.checkpoint import (
    CheckpointError,
    canonical_name,
    load_strictly,
    read_released,
    read_safetensors,
    save_safetensors,
    unpickle,
)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def config():
    return AiOSConfig(hidden_dim=64, backbone=BackboneConfig(depths=(1, 1, 1, 1)))


def released_model():
    """A few released names, some of them aliases of one tensor."""
    head, size = torch.randn(4, 3), torch.randn(2, 3)
    return {
        "backbone.0.body.conv1.weight": torch.randn(8, 3, 7, 7),
        "bbox_embed.0.layers.0.weight": head,
        "transformer.decoder.bbox_embed.0.layers.0.weight": head.clone(),
        "transformer.decoder.pose_hand_hw_embed.1.layers.2.bias": size.clone(),
        "pose_hand_hw_embed.0.layers.2.bias": size,
        "pose_hand_hw_embed.1.layers.2.bias": size,
        "transformer.decoder.hw.weight": torch.randn(17, 2),
        "label_enc.weight": torch.randn(101, 256),
        "body_model.v_template": torch.randn(5, 3),
        "body_model.faces_tensor": torch.arange(6).reshape(2, 3),
    }


def released_content(model=None):
    """Content of a complete training checkpoint."""
    arguments = argparse.Namespace(
        lr=1e-4,
        lr_backbone_names=["backbone.0"],
        nested={"sizes": [480, 512], "pair": (1, 2), "nothing": None},
        device="cuda",
        distributed=True,
    )
    return {
        "model": released_model() if model is None else model,
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": torch.zeros(4)}},
            "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}],
        },
        "lr_scheduler": {"milestones": Counter({11: 1}), "last_epoch": 3},
        "epoch": 3,
        "args": arguments,
        "ema_model": {"module.x": torch.zeros(2)},
    }


def write(path, content, **options):
    torch.save(content, path, **options)
    return path


# The released layout.


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("transformer.decoder.bbox_embed.3.layers.0.bias", "bbox_embed.3.layers.0.bias"),
        ("transformer.decoder.class_embed.5.weight", "class_embed.5.weight"),
        ("transformer.decoder.pose_hw_embed.3.layers.1.bias", "pose_hw_embed.0.layers.1.bias"),
        ("pose_face_hw_embed.1.layers.0.bias", "pose_face_hw_embed.0.layers.0.bias"),
        # Not shared between layers, or not an alias.
        ("bbox_hand_hw_embed.1.layers.0.bias", "bbox_hand_hw_embed.1.layers.0.bias"),
        ("transformer.decoder.keypoint_embed.weight", "transformer.decoder.keypoint_embed.weight"),
        ("transformer.enc_out_bbox_embed.layers.0.bias",) * 2,
        ("transformer.decoder.layers.0.norm1.bias",) * 2,
    ],
)
def test_canonical_names(name, canonical):
    assert canonical_name(name) == canonical


@pytest.mark.parametrize("zipped", [True, False])
def test_released_layout_is_read_without_aliases_and_body(tmp_path, zipped):
    content = released_content()
    path = write(tmp_path / "a.pth", content, _use_new_zipfile_serialization=zipped)
    state = read_released(path)
    kept = (
        "backbone.0.body.conv1.weight",
        "bbox_embed.0.layers.0.weight",
        "pose_hand_hw_embed.0.layers.2.bias",
        "transformer.decoder.hw.weight",
    )
    assert set(state) == set(kept)
    for name in kept:
        assert torch.equal(state[name], content["model"][name])


def test_differing_aliases_are_named(tmp_path):
    model = released_model()
    model["transformer.decoder.bbox_embed.0.layers.0.weight"][2, 1] += 1e-6
    path = write(tmp_path / "a.pth", released_content(model))
    with pytest.raises(CheckpointError) as caught:
        read_released(path)
    for part in (
        "a.pth",
        " bbox_embed.0.layers.0.weight",
        "transformer.decoder.bbox_embed.0.layers.0.weight",
    ):
        assert part in str(caught.value)


def test_aliases_with_equal_nan_are_accepted(tmp_path):
    model = released_model()
    for name in (
        "bbox_embed.0.layers.0.weight",
        "transformer.decoder.bbox_embed.0.layers.0.weight",
    ):
        model[name][0, 0] = torch.nan
    state = read_released(write(tmp_path / "a.pth", released_content(model)))
    assert state["bbox_embed.0.layers.0.weight"].isnan().sum() == 1


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["model", "args", "epoch"])
def test_file_with_code_is_refused(tmp_path, place, zipped):
    marker = tmp_path / "was_run"
    content = {**released_content(), place: Attack(marker)}
    path = write(tmp_path / "evil.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil\.pth was refused.*posix\.mkdir") as caught:
        read_released(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    # The attack is real: the unrestricted reader runs it.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_file_with_another_class_is_refused(tmp_path):
    content = {**released_content(), "args": argparse.Namespace(folder=PurePosixPath("a"))}
    with pytest.raises(CheckpointError, match=r"refused.*pathlib\.PurePosixPath"):
        read_released(write(tmp_path / "a.pth", content))


def test_reading_restores_the_safe_globals(tmp_path):
    read_released(write(tmp_path / "a.pth", released_content()))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_named(tmp_path, share, zipped):
    path = write(tmp_path / "cut.pth", released_content(), _use_new_zipfile_serialization=zipped)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with pytest.raises(CheckpointError, match=r"cut\.pth.*download it again") as caught:
        read_released(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>sign in</html>", "web page"),
        (b"hello", "download it again"),
    ],
)
@pytest.mark.parametrize("reader", [read_released, read_safetensors])
def test_common_download_mistakes_are_named(tmp_path, content, words, reader):
    path = tmp_path / "aios.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"aios\.bin.*{words}"):
        reader(path)


@pytest.mark.parametrize("reader", [read_released, read_safetensors])
def test_missing_file_is_named(tmp_path, reader):
    with pytest.raises(CheckpointError, match=r"weight file .*gone\.pth does not exist"):
        reader(tmp_path / "gone.pth")


@pytest.mark.parametrize(
    "content", [{"weights": {}}, [1, 2], {"model": [1]}, {"model": {"a": "text"}}]
)
def test_other_layout_is_refused(tmp_path, content):
    with pytest.raises(CheckpointError, match="'model'"):
        read_released(write(tmp_path / "a.pth", content))


# Strict loading.


def broken_states():
    """Functions that damage a state dict, with the expected message."""

    def missing(state):
        del state["linear.weight"]

    def unexpected(state):
        state["extra.bias"] = torch.zeros(1)

    def wrong_shape(state):
        state["linear.weight"] = torch.zeros(2, 4)

    def wrong_type(state):
        state["linear.bias"] = torch.zeros(2, dtype=torch.int64)

    def nan(state):
        state["norm.running_var"] = torch.tensor([1.0, torch.nan])

    def infinite(state):
        state["norm.weight"] = torch.tensor([torch.inf, 0.0])

    def too_large(state):
        state["norm.weight"] = torch.tensor([1e300, 0.0], dtype=torch.float64)

    return [
        (missing, "missing: linear.weight"),
        (unexpected, "unexpected: extra.bias"),
        (wrong_shape, r"shape: linear.weight \(2x4 instead of 2x3\)"),
        (wrong_type, r"type: linear.bias \(int64 instead of float32\)"),
        (nan, "not finite.*norm.running_var"),
        (infinite, "not finite.*norm.weight"),
        (too_large, "not finite.*norm.weight"),
    ]


@pytest.mark.parametrize(("damage", "words"), broken_states())
def test_model_is_unchanged_if_one_tensor_is_wrong(model, damage, words):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items()}
    damage(state)
    with pytest.raises(CheckpointError, match=rf"somewhere\.pth.*{words}"):
        load_strictly(model, state, "somewhere.pth")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_all_problems_are_reported_and_long_lists_are_counted(model):
    state = dict.fromkeys(("a", "b", "c", "d", "e"), torch.zeros(1))
    with pytest.raises(CheckpointError) as caught:
        load_strictly(model, state, "x")
    message = str(caught.value)
    assert "missing: linear.weight, linear.bias, norm.weight, ... (7 in total)" in message
    assert "unexpected: a, b, c, ... (5 in total)" in message
    assert "\n" not in message


def test_half_precision_is_converted_to_the_precision_of_the_model(model):
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    state["norm.num_batches_tracked"] = torch.tensor(5)
    load_strictly(model, state, "x")
    assert model.linear.weight.dtype == torch.float32
    assert torch.equal(model.linear.weight, state["linear.weight"].float())
    assert model.norm.num_batches_tracked.item() == 5
    assert model.linear.weight.requires_grad


def test_assign_uses_the_tensors_themselves(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["norm.bias"] = state["norm.bias"].half()
    other = type(model)()
    load_strictly(other, state, "x", assign=True)
    assert other.linear.weight.data_ptr() == state["linear.weight"].data_ptr()
    assert other.linear.weight.requires_grad
    assert other.norm.bias.dtype == torch.float32
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype)), name
    before = other.linear.weight.data_ptr()
    with pytest.raises(CheckpointError, match="missing"):
        load_strictly(other, {}, "x", assign=True)
    assert other.linear.weight.data_ptr() == before


def test_loading_does_not_import_the_compiler():
    code = "import sys; from aios.weights.load import load_model; load_model('builtin');"
    code += "print('torch._dynamo' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


# Safetensors files.


def test_safetensors_round_trip(tmp_path, model, config):
    path = tmp_path / "small.safetensors"
    save_safetensors(path, model.state_dict(), config, {"made_by": "a test"})
    found, state, metadata = read_safetensors(path)
    assert found == config
    assert metadata == {"made_by": "a test"}
    assert state["linear.weight"].dtype == torch.float16
    # Vectors keep their precision: running variances are divisors.
    assert state["norm.running_var"].dtype == torch.float32
    assert torch.equal(state["linear.bias"], model.linear.bias)
    assert torch.equal(state["linear.weight"], model.linear.weight.half())
    other = Small()
    load_strictly(other, state, path)
    torch.testing.assert_close(other.linear.weight, model.linear.weight, atol=1e-3, rtol=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


@pytest.mark.parametrize("scale", [1e6, 1e-9])
def test_tensors_outside_half_precision_keep_their_precision(tmp_path, config, scale):
    path = tmp_path / "small.safetensors"
    tensor = torch.randn(4, 4) * scale
    save_safetensors(path, {"wide": tensor, "fine": torch.randn(4, 4)}, config)
    state = read_safetensors(path)[1]
    assert torch.equal(state["wide"], tensor)
    assert state["fine"].dtype == torch.float16


def test_shared_and_strided_tensors_are_written(tmp_path, config):
    tensor = torch.arange(6.0).reshape(2, 3)
    path = tmp_path / "small.safetensors"
    save_safetensors(path, {"a": tensor, "b": tensor, "turned": tensor.T}, config)
    state = read_safetensors(path)[1]
    assert torch.equal(state["a"], state["b"])
    assert torch.equal(state["turned"].float(), tensor.T)


def test_non_finite_tensors_are_not_written(tmp_path, config):
    path = tmp_path / "small.safetensors"
    with pytest.raises(CheckpointError, match="not finite .*: a"):
        save_safetensors(path, {"a": torch.tensor([torch.nan]), "b": torch.zeros(1)}, config)
    assert not list(tmp_path.iterdir())


def test_failed_write_keeps_the_old_file(tmp_path, model, config, monkeypatch):
    path = tmp_path / "small.safetensors"
    save_safetensors(path, model.state_dict(), config)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aios.weights.checkpoint.save_file", full_disk)
    with pytest.raises(CheckpointError, match=r"small\.safetensors cannot be written.*No space"):
        save_safetensors(path, model.state_dict(), config)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_missing_folder_is_named(tmp_path, config):
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_safetensors(tmp_path / "none" / "small.safetensors", {}, config)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_safetensors_is_named(tmp_path, model, config, share):
    path = tmp_path / "cut.safetensors"
    save_safetensors(path, model.state_dict(), config)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with pytest.raises(CheckpointError, match=r"cut\.safetensors.*download it again"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "no 'config'"),
        ({"format": "pt"}, "no 'config'"),
        ({"config": "{not json"}, "another version"),
        ({"config": "[1]"}, "another version"),
        ({"config": json.dumps({"num_dragons": 3})}, "num_dragons"),
        ({"config": json.dumps({"backbone": {"colour": "red"}})}, "colour"),
        ({"config": json.dumps({"hidden_dim": 100})}, "hidden_dim"),
        ({"config": json.dumps({"hidden_dim": "wide"})}, "another version"),
        ({"config": "[" * 100_000}, "another version"),
        ({"config": json.dumps({"encoder_layers": 10**9})}, "encoder_layers=1000000000, above 200"),
        ({"config": json.dumps({"hidden_dim": 2**30})}, "hidden_dim=1073741824, above 16384"),
        ({"config": json.dumps({"image": {"long_side": 10**9}})}, "long_side=1000000000"),
        ({"config": json.dumps({"backbone": {"depths": [10**8] * 4}})}, "depths.0=100000000"),
    ],
)
def test_safetensors_with_unreadable_config_is_refused(tmp_path, metadata, words):
    path = tmp_path / "small.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=rf"small\.safetensors.*{words}"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_is_not_called_damage(tmp_path, model, config, monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    path = tmp_path / "good.safetensors"
    save_safetensors(path, model.state_dict(), config)
    monkeypatch.setattr("aios.weights.checkpoint.safe_open", fail)
    monkeypatch.setattr("torch.load", fail)
    for read in (read_safetensors, unpickle):
        with pytest.raises(CheckpointError, match="There is not enough memory to read .*good"):
            read(path)


# Source selection; for the Hub see test_hub.


@pytest.fixture
def small_network(monkeypatch):
    """Replaces the network by a small one."""

    class SmallNetwork(Small):
        def __init__(self, config):
            super().__init__()
            self.config = config

    monkeypatch.setattr("aios.network.model.AiOS", SmallNetwork)
    monkeypatch.setattr("aios.weights.official_names.rename_official", lambda state, config: state)


def test_metadata_of_safetensors_is_read(tmp_path, model, config, small_network):
    path = tmp_path / "small.safetensors"
    extra = {"body_convention": "smplx", "threshold": "0.45", "max_overlap": "0.5"}
    extra |= {"placed_by": "keypoints", "score_calibration": "2.5 2 0.75"}
    save_safetensors(path, model.state_dict(), config, extra)
    for source in (path, str(path)):
        loaded = weights.load_model(source)
        assert loaded.config == config == loaded.model.config
        assert not loaded.model.training
        info = loaded.weights
        assert (info.name, info.is_official) == ("file", False)
        assert (info.body_convention, info.threshold) == ("smplx", 0.45)
        assert (info.max_overlap, info.placed_by) == (0.5, "keypoints")
        assert info.calibration == ScoreCalibration(2.5, 2.0, 0.75)
        assert "small.safetensors" in info.description


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"body_convention": "robot"}, "robot"),
        ({"threshold": "high"}, "threshold.*high"),
        ({"threshold": "7"}, "threshold.*7"),
        ({"max_overlap": "nan"}, "max_overlap.*nan"),
        ({"placed_by": "a coin"}, "a coin"),
        ({"score_calibration": "1 2"}, "score_calibration.*1 2"),
        ({"score_calibration": "1 2 nan"}, "score_calibration.*nan"),
        ({"score_calibration": "1 -2 0"}, "score_calibration.*-2"),
    ],
)
def test_invalid_metadata_is_refused(tmp_path, model, config, small_network, extra, words):
    path = tmp_path / "small.safetensors"
    save_safetensors(path, model.state_dict(), config, extra)
    with pytest.raises(CheckpointError, match=words):
        weights.load_model(path)


def test_released_file_is_the_network_of_the_paper(tmp_path, model, small_network):
    path = write(tmp_path / "a.pth", released_content(dict(model.state_dict())))
    loaded = weights.load_model(path)
    assert loaded.config == AiOSConfig()
    assert loaded.weights.is_official
    assert loaded.weights.body_convention == "smplx"


def test_built_in_weights(tmp_path, model, config, small_network, monkeypatch):
    path = tmp_path / "builtin.safetensors"
    monkeypatch.setattr(weights, "BUILTIN_WEIGHTS", path)
    with pytest.raises(CheckpointError, match=r"builtin\.safetensors are missing.*clone"):
        weights.load_model("builtin")
    save_safetensors(path, model.state_dict(), config)
    info = weights.load_model("builtin").weights
    assert (info.name, info.body_convention) == ("builtin", "standin")


def test_weights_are_found_in_a_folder(tmp_path, model, config, small_network, monkeypatch):
    # An existing path wins over a Hub repository of the same name.
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "user" / "name"
    folder.mkdir(parents=True)
    with pytest.raises(CheckpointError, match="contains neither"):
        weights.load_model("user/name")
    save_safetensors(folder / "model.safetensors", model.state_dict(), config)
    assert weights.load_model("user/name").weights.name == "file"


@pytest.mark.parametrize("source", ["offical", "missing.pth", "a/b.safetensors", "a/b/c", ""])
def test_unusable_source_is_named(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"No weights found|neither|does not exist"):
        weights.load_model(source)


def test_file_with_another_suffix_is_refused(tmp_path):
    path = tmp_path / "weights.onnx"
    path.touch()
    with pytest.raises(CheckpointError, match=r"weights\.onnx.*\.safetensors"):
        weights.load_model(path)
