"""Configurations: strict, self-checking, the same after a trip through JSON."""

import dataclasses
import json

import pytest

from aios.network.config import (
    BUILTIN_CONFIG,
    AiOSConfig,
    BackboneConfig,
    ConfigError,
    ImageConfig,
)
from tests.helpers.networks import SMALL, TINY


@pytest.mark.parametrize("config", [AiOSConfig(), BUILTIN_CONFIG, SMALL, TINY])
def test_json_and_back(config):
    again = AiOSConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


def test_only_what_differs_must_be_said():
    config = AiOSConfig.from_dict({"num_people": 30, "image": {"short_side": 512}})
    assert config.num_people == 30
    assert config.image == ImageConfig(short_side=512)
    assert config.backbone == BackboneConfig()
    assert AiOSConfig.from_dict({}) == AiOSConfig()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"num_peple": 3}, "num_peple"),
        ({"image": {"size": 3}}, "size"),
        ({"backbone": {"depth": (1,)}}, "depth"),
        ({"b": 1, "a": 2}, "a, b"),
    ],
)
def test_unknown_names_are_errors(values, named):
    with pytest.raises(ConfigError, match=named):
        AiOSConfig.from_dict(values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"hidden_dim": 256, "num_heads": 7}, "num_heads"),
        ({"hidden_dim": 40, "num_heads": 8}, "32"),
        ({"num_levels": 2}, "num_levels"),
        ({"num_people": 901}, "num_people"),
        ({"refine_body_layers": 0}, "layer"),
        ({"image": {"short_side": 900, "long_side": 800}}, "short_side"),
        ({"image": {"short_side": 0}}, "short_side"),
        ({"image": {"std": (1.0, 0.0, 1.0)}}, "std"),
        ({"backbone": {"block": "dense"}}, "dense"),
        ({"backbone": {"depths": (1, 1)}}, "length"),
        ({"backbone": {"feature_stages": (3, 4)}}, "stage"),
        ({"backbone": {"feature_stages": ()}}, "stage"),
        ({"smplx_stages": ("refine_body",)}, "refine_whole_body"),
        ({"smplx_stages": ("third",)}, "one of 'locate', 'refine_body'"),
        ({"self_attention": "none"}, "one of 'full', 'inter_human', 'aios'"),
        ({"num_people": "30"}, "num_people: '30' is not of the kind wanted here .int"),
        ({"num_people": True}, "not of the kind"),
        ({"image": {"mean": (1.0, 2.0)}}, "image.mean wants 3 values, got 2"),
        ({"image": {"mean": (1.0, 2.0, "x")}}, r"image.mean\[2\]: 'x'"),
    ],
)
def test_contradictions_are_errors(values, reason):
    with pytest.raises(ConfigError, match=reason):
        AiOSConfig.from_dict(values)


def test_nobody_changes_a_config():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AiOSConfig().num_people = 3


def test_layers():
    assert AiOSConfig().decoder_layers == 6
    assert BUILTIN_CONFIG.decoder_layers == 3
