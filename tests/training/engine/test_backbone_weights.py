"""Backbone weights from ImageNet classifiers, in every known layout of tensor names."""

from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.backbone import build_backbone
from aios.network.frozen_batch_norm import FrozenBatchNorm2d
from aios.network.mobilenet import MobileNetV2
from aios.network.resnet import ResNet
from aios.weights.checkpoint import CheckpointError, save_safetensors
from tests.helpers.networks import MOBILE, SMALL, random_model
from tests.helpers.training_sources import TINY
from training.engine.backbone_weights import load_backbone
from training.engine.learner import Learner

pytestmark = pytest.mark.usefixtures("one_thread")

_GROUPS = {"0.0": 0, "0.1": 1, "1.0": 3, "1.1": 4, "2": 6, "3": 7}
_FIRST_GROUPS = {"0.0": 0, "0.1": 1, "1": 3, "2": 4}


def without_groups(name):
    """The name in early MobileNetV2 files, which number all layers of a residual."""
    if ".conv." not in name:
        return name
    unit, _, rest = name.partition(".conv.")
    place, _, last = rest.rpartition(".")
    places = _FIRST_GROUPS if unit == "features.1" else _GROUPS
    return f"{unit}.conv.{places[place]}.{last}"


def classifier(config, seed, rename=lambda name: name):
    """Tensors of a random backbone, and the file of a whole classifier with them."""
    state = random_model(config, seed).backbone.state_dict()
    counters = {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(5)
        for name in state
        if name.endswith("running_var")
    }
    rest = {"fc.weight": torch.ones(10, 4), "fc.bias": torch.ones(10)}
    if config is MOBILE:
        rest = {"features.18.0.weight": torch.ones(9, 4, 1, 1), "classifier.1.bias": torch.ones(3)}
    return state, {rename(name): value for name, value in (state | counters).items()} | rest


@pytest.mark.parametrize(
    ("config", "rename"),
    [
        (MOBILE, lambda name: name),
        (MOBILE, without_groups),
        (MOBILE, lambda name: "module." + without_groups(name)),
        (SMALL, lambda name: name),
    ],
)
def test_every_layout_sets_every_tensor(config, rename, tmp_path):
    expected, listed = classifier(config, 3, rename)
    torch.save(listed, tmp_path / "classifier.pth")
    backbone = random_model(config, 4).backbone
    load_backbone(str(tmp_path / "classifier.pth"), backbone)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_files_that_do_not_fit_are_refused_and_change_nothing(tmp_path):
    backbone = random_model(MOBILE, 4).backbone
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    path = tmp_path / "classifier.pth"
    _, listed = classifier(MOBILE, 3)
    torch.save({name: t for name, t in listed.items() if name != "features.3.conv.2.weight"}, path)
    with pytest.raises(CheckpointError, match=r"missing: features\.3\.conv\.2\.weight"):
        load_backbone(str(path), backbone)
    torch.save(classifier(SMALL, 3)[1], path)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_backbone(str(path), backbone)
    torch.save({"model": listed}, path)
    with pytest.raises(CheckpointError, match="not a classifier"):
        load_backbone(str(path), backbone)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_backbone(str(tmp_path / "nothing.pth"), backbone)
    for name, tensor in before.items():
        assert torch.equal(backbone.state_dict()[name], tensor), name


def test_backbone_comes_from_the_classifier_and_the_rest_from_the_weights_file(tmp_path):
    config = replace(TINY.model, backbone=replace(MOBILE.backbone, feature_stages=(4, 6)))
    old = random_model(TINY.model, 1)
    save_safetensors(
        tmp_path / "old.safetensors", old.state_dict(), TINY.model, dtype=torch.float32
    )
    expected, listed = classifier(MOBILE, 2)
    torch.save(listed, tmp_path / "classifier.pth")
    run = replace(
        TINY,
        model=config,
        start=str(tmp_path / "old.safetensors"),
        backbone=str(tmp_path / "classifier.pth"),
    )
    torch.manual_seed(0)
    model = Learner(run, BodyModel.load()).model
    state = model.state_dict()
    assert all(torch.equal(state[f"backbone.{name}"], tensor) for name, tensor in expected.items())
    fresh = ("backbone.", "level_projections.")
    rest = {n: t for n, t in old.state_dict().items() if not n.startswith(fresh)}
    assert rest and all(torch.equal(state[name], tensor) for name, tensor in rest.items())


@pytest.mark.parametrize("backbone", [MOBILE.backbone, SMALL.backbone])
@pytest.mark.parametrize("stages", [0, 2])
def test_frozen_stages_have_no_trainable_parameters(backbone, stages):
    model = replace(TINY.model, backbone=replace(backbone, feature_stages=(2, 3)))
    run = replace(TINY, model=model, frozen_stages=stages, initial_prediction="neutral")
    learner = Learner(run, BodyModel.load())
    whole = build_backbone(model.backbone)
    chosen = whole.first_layers(stages)
    names = [name for name, module in whole.named_modules() if module in chosen]
    first = [learner.model.backbone.get_submodule(name) for name in names]
    assert not any(p.requires_grad for layer in first for p in layer.parameters())
    frozen = [m for m in learner.model.modules() if isinstance(m, FrozenBatchNorm2d)]
    assert set(frozen) == {
        m for layer in first for m in layer.modules() if isinstance(m, FrozenBatchNorm2d)
    }
    others = [n for n, p in learner.model.backbone.named_parameters() if p.requires_grad]
    assert others


def test_first_layers_are_the_stem_and_the_given_number_of_stages():
    mobile, resnet = MobileNetV2(MOBILE.backbone), ResNet(SMALL.backbone)
    assert mobile.first_layers(0) == [mobile.features[0]]
    assert mobile.first_layers(2) == [mobile.features[n] for n in range(4)]
    assert resnet.first_layers(0) == [resnet.conv1, resnet.bn1]
    assert resnet.first_layers(2) == [resnet.conv1, resnet.bn1, resnet.layer1, resnet.layer2]
