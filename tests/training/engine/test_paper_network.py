"""The paper's network, whole: one step of learning on a CPU reaches every tensor it should."""

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


def is_never_taught(name, config):
    """By the list that training keeps of them."""
    layer = re.search(r"\.layers\.(\d+)\.smplx\.", name)
    whole_body = config.model.locate_layers + config.model.refine_body_layers
    if layer and int(layer[1]) >= whole_body:
        return False
    return any(re.match(pattern, name) for pattern in NEVER_TRAINED)


def test_every_learnable_tensor_of_the_full_network_gets_a_finite_gradient():
    config, body = CONFIGS["released_phase1"], BodyModel.load()
    torch.manual_seed(0)
    learner = Learner(config, body)
    learnable = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in learner.model.parameters()) == 73_550_178 - 101 * 256
    assert "backbone.conv1.weight" not in learnable
    with torch.no_grad():
        for parameter in learnable.values():
            # Last layers start at zero and would hide what is behind them.
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    picture = torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()
    batch = build_batch([Sample(picture, random_targets(body, 2))], config.model.focal_length)
    step = StepShare(learner.criterion.count(batch), 1.0)
    total, losses = learner(batch, config.stages[0], step)
    total.backward()
    assert torch.isfinite(total)
    layers = {name.rpartition("_")[2] for name in losses}
    assert {"0", "1", "2", "3", "4", "proposals"} <= layers
    reached = {name: p.grad for name, p in learnable.items() if p.grad is not None}
    for name, gradient in reached.items():
        assert torch.isfinite(gradient).all(), name
    still = {name for name in learnable if name not in reached or not reached[name].any()}
    assert still == {name for name in learnable if is_never_taught(name, config)}
    assert torch.isfinite(learner.denoising.labels.weight.grad).all()
