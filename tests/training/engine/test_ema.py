"""Moving average of weights and buffers, and its exact continuation."""

import copy

import torch

from aios.network.model import AiOS
from tests.helpers.networks import SMALL, random_images, random_model
from training.engine.ema import build_average

DECAY = 0.5


def build_network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def train_step(network):
    """Change all weights and all buffers."""
    network.train()
    network(torch.randn(8, 3)).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_average_is_a_warmed_up_moving_average_of_weights_and_buffers():
    network = build_network()
    average = build_average(network, DECAY)
    expected = copy.deepcopy(network.state_dict())
    for update in range(1, 20):
        train_step(network)
        average.update_parameters(network)
        decay = min(DECAY, (1 + update) / (10 + update))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected[name].lerp_(value, 1 - decay)
            else:
                expected[name].copy_(value)
    averaged = average.module.state_dict()
    assert "1.running_mean" in averaged and int(averaged["1.num_batches_tracked"]) == 19
    for name, value in expected.items():
        assert torch.equal(averaged[name], value), name


def test_average_starts_at_the_loaded_weights_and_in_evaluation_mode():
    network = build_network()
    average = build_average(network, DECAY)
    for name, value in network.state_dict().items():
        assert torch.equal(average.module.state_dict()[name], value), name
    assert not average.module.training
    train_step(network)
    assert not torch.equal(average.module[0].weight, network[0].weight)
    assert network.training


def test_averaged_network_predicts_like_the_network_it_starts_from():
    network = random_model(SMALL, 1).eval()
    images = random_images([(64, 80)], 1)
    average = build_average(network, DECAY)
    with torch.no_grad():
        expected, found = network(images).final, average(images).final
    assert isinstance(average.module, AiOS)
    assert torch.equal(found.boxes, expected.boxes)
    assert torch.equal(found.smplx.body_rotmat, expected.smplx.body_rotmat)
