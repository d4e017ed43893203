"""Parameter groups and learning-rate schedules."""

import pytest

from aios.network.model import AiOS
from training.config import CONFIGS, TINY_MODEL
from training.engine.optim import OptimConfig, Position, learning_rate_factor, parameter_groups


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
