"""One training step of the paper's full network gives every trainable tensor a gradient."""

import re

import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.training_samples import random_targets
from training.config import CONFIGS
from training.data.batch import Sample, build_batch
from training.engine.learner import NEVER_TRAINED, Learner, StepShare

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 320


def is_never_trained(name, config):
    """Whether `NEVER_TRAINED` lists the tensor."""
    layer = re.search(r"\.layers\.(\d+)\.smplx\.", name)
    whole_body = config.model.locate_layers + config.model.refine_body_layers
    if layer and int(layer[1]) >= whole_body:
        return False
    return any(re.match(pattern, name) for pattern in NEVER_TRAINED)


def test_every_trainable_tensor_gets_a_finite_gradient():
    config, body = CONFIGS["released_phase1"], BodyModel.load()
    torch.manual_seed(0)
    learner = Learner(config, body)
    trainable = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in learner.model.parameters()) == 73_550_178 - 101 * 256
    assert "backbone.conv1.weight" not in trainable
    with torch.no_grad():
        for parameter in trainable.values():
            # Last layers start at zero, which would stop all gradients behind them.
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    image = torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()
    batch = build_batch([Sample(image, random_targets(body, 2))], config.model.focal_length)
    step = StepShare(learner.criterion.count(batch), 1.0)
    total, losses = learner(batch, config.stages[0], step)
    total.backward()
    assert torch.isfinite(total)
    layers = {name.rpartition("_")[2] for name in losses}
    assert {"0", "1", "2", "3", "4", "proposals"} <= layers
    reached = {name: p.grad for name, p in trainable.items() if p.grad is not None}
    for name, gradient in reached.items():
        assert torch.isfinite(gradient).all(), name
    without = {name for name in trainable if name not in reached or not reached[name].any()}
    assert without == {name for name in trainable if is_never_trained(name, config)}
    assert torch.isfinite(learner.denoising.labels.weight.grad).all()
