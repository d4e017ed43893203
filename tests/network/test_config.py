"""Network configs: JSON round trip, unknown keys, inconsistent values."""

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
def test_json_round_trip(config):
    again = AiOSConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


def test_missing_keys_keep_their_defaults():
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
        ({"b": 1, "a": 2}, "b, a"),
    ],
)
def test_unknown_keys_are_refused(values, named):
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
        ({"smplx_stages": ("third",)}, r"smplx_stages\[0\] must be 'locate', 'refine_body'"),
        ({"self_attention": "none"}, "self_attention must be 'full', 'inter_human' or 'aios'"),
        ({"num_people": "30"}, "num_people must be a valid integer, not '30'"),
        ({"num_people": True}, "num_people must be a valid integer, not True"),
        ({"image": {"mean": (1.0, 2.0)}}, r"image.mean\[2\] field required"),
        ({"image": {"mean": (1.0, 2.0, "x")}}, r"image.mean\[2\] must be a valid number, not 'x'"),
    ],
)
def test_inconsistent_values_are_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        AiOSConfig.from_dict(values)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AiOSConfig().num_people = 3


def test_decoder_layers_is_the_sum_of_the_stages():
    assert AiOSConfig().decoder_layers == 6
    assert BUILTIN_CONFIG.decoder_layers == 3
