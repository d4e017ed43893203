"""Parameter groups and learning-rate schedules."""

import pytest
import torch
from torch import nn

from aios.network.model import AiOS
from training.config import CONFIGS, TINY_MODEL
from training.engine.optim import (
    OptimConfig,
    Position,
    build_optimizer,
    clip_gradients,
    learning_rate_factor,
    parameter_groups,
)


def test_cosine_schedule_warms_up_and_ends_at_the_final_factor():
    config = OptimConfig(warmup_steps=10, final_factor=0.01)
    rates = [learning_rate_factor(Position(n, n / 100, 0), config) for n in range(101)]
    assert rates[0] < rates[5] < rates[10]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[100] == pytest.approx(0.01)


def test_step_schedule_drops_after_the_given_epochs():
    released = CONFIGS["released_phase1"].optim
    rates = [learning_rate_factor(Position(0, 0, epoch), released) for epoch in (0, 29, 30, 59, 60)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    paper = CONFIGS["paper_phase2"].optim
    rates = [learning_rate_factor(Position(0, 0, epoch), paper) for epoch in (0, 24, 25, 49)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1])


def grouped(model, config):
    """Parameter names by factor on the learning rate."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, config)
    parameters = [id(p) for group in groups for p in group["params"]]
    assert len(parameters) == len(set(parameters))
    return {group["factor"]: [names[id(p)] for p in group["params"]] for group in groups}


def test_every_parameter_is_in_one_group_and_sampling_offsets_learn_slower():
    model = AiOS(TINY_MODEL)
    groups = grouped(model, OptimConfig(learning_rate=1.0))
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    assert all("sampling_offsets" in name for name in groups[0.1])


def test_released_runs_have_two_groups_backbone_and_the_rest():
    model = AiOS(TINY_MODEL)
    model.backbone.conv1.requires_grad_(False)
    groups = grouped(model, CONFIGS["released_phase1"].optim)
    assert set(groups) == {0.1, 1.0}
    assert all(name.startswith("backbone.") for name in groups[0.1])
    assert not any(name.startswith("backbone.") for name in groups[1.0])
    assert "backbone.conv1.weight" not in groups[0.1]


class Uneven(nn.Module):
    """A backbone whose tensors have sizes of 2, 0.001 and 0, and another layer."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ParameterList(torch.full((4,), size) for size in (2.0, 1e-3, 0.0))
        self.head = nn.Parameter(torch.ones(4))


def test_relative_steps_suit_tensors_of_every_size():
    model = Uneven()
    config = OptimConfig(
        learning_rate=0.01, backbone_factor=0.5, relative_backbone=True, weight_decay=0.0
    )
    parameters = [*model.backbone, model.head]
    before = [p.detach().clone() for p in parameters]
    optimizer = build_optimizer(model, config)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    steps = [float((a.detach() - b).abs().max()) for a, b in zip(parameters, before, strict=True)]
    assert steps == pytest.approx([0.01, 5e-6, 5e-6, 0.01], rel=1e-4)


def test_gradients_are_clipped_in_units_of_the_tensors():
    """A tensor of size 0.001 with a gradient of 1000 counts as one of size 1 with gradient 1."""
    model = Uneven()
    optimizer = build_optimizer(model, OptimConfig(relative_backbone=True))
    parameters = [*model.backbone, model.head]
    for parameter, gradient in zip(parameters, (0.0, 1000.0, 0.0, 1.0), strict=True):
        parameter.grad = torch.full_like(parameter, gradient)
    norm = clip_gradients(optimizer, 0.5)
    assert float(norm) == pytest.approx(8**0.5)
    assert float(model.head.grad[0]) == pytest.approx(0.5 / 8**0.5)
    assert float(model.backbone[1].grad[0]) == pytest.approx(1000 * 0.5 / 8**0.5)


def test_clipping_without_relative_steps_is_that_of_torch():
    model = AiOS(TINY_MODEL)
    optimizer = build_optimizer(model, OptimConfig())
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    gradients = [p.grad.clone() for p in model.parameters()]
    expected = torch.nn.utils.get_total_norm(gradients)
    torch.testing.assert_close(clip_gradients(optimizer, 1.0), expected)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient / expected, atol=1e-6, rtol=1e-4)
