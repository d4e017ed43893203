"""Config dataclasses from dictionaries and back: strict types, errors that name the key path."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from aios.network.config_dict import ConfigError, config_from_dict, config_to_dict, with_overrides


@dataclass(frozen=True)
class Part:
    size: int = 1
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.size < 0:
            raise ConfigError("size must not be negative")


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...] = (Part(), Part(2, ("a", "b")))
    pair: tuple[int, float] = (1, 2.0)
    maybe: Part | None = None
    text: str | None = None
    kind: Literal["one", "two"] = "one"
    flag: bool = False

    def __post_init__(self):
        if self.flag and self.kind == "two":
            raise ValueError("two takes no flag")


@pytest.mark.parametrize("config", [Whole(), Whole((), (3, 4.0), Part(5), "x", "two")])
def test_json_round_trip(config):
    again = config_from_dict(Whole, json.loads(json.dumps(config_to_dict(config))))
    assert again == config and hash(again) == hash(config)
    assert config_to_dict(again) == config_to_dict(config)


def test_integers_become_floats_and_lists_become_tuples():
    pair = config_from_dict(Whole, {"pair": [1, 2]}).pair
    assert pair == (1, 2.0) and isinstance(pair, tuple) and isinstance(pair[1], float)


def test_overrides_reach_any_depth_and_are_checked_together():
    config = with_overrides(
        Whole(flag=True),
        {"parts.1.size": 7, "pair.1": 3, "maybe": {"size": 2}, "kind": "two", "flag": False},
    )
    assert config.parts == (Part(), Part(7, ("a", "b")))
    assert config.pair == (1, 3.0)
    assert config.maybe == Part(2)
    assert with_overrides(config, {"maybe": None}).maybe is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"b": 1, "a": 2}, "^unknown key b, a$"),
        ({"parts": [{"sizes": 1}]}, r"^unknown key parts\[0\]\.sizes$"),
        ({"parts": [{}, {"size": "big"}]}, r"parts\[1\]\.size must be a valid integer, not 'big'"),
        ({"parts": {"size": 1}}, "parts must be a valid array, not {'size': 1}"),
        ({"pair": [1]}, r"pair\[1\] field required, not \[1\]"),
        ({"pair": [1, 2, 3]}, "pair tuple should have at most 2 items"),
        ({"pair": [1, True]}, r"pair\[1\] must be a valid number, not True"),
        ({"pair": [1.0, 2.0]}, r"pair\[0\] must be a valid integer, not 1.0"),
        ({"maybe": 3}, "maybe must be an object, not 3"),
        ({"text": 3}, "text must be a valid string, not 3"),
        ({"flag": 1}, "flag must be a valid boolean, not 1"),
        ({"kind": "three"}, "kind must be 'one' or 'two', not 'three'"),
        ({"flag": True, "kind": "two"}, "^two takes no flag$"),
        ({"maybe": {"size": -1}}, "^maybe: size must not be negative$"),
        ({"text": b"bytes"}, "Whole takes JSON values only"),
    ],
)
def test_error_names_the_path(values, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict(Whole, values)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sizes", "unknown key 'sizes': no 'sizes' among parts, pair"),
        ("parts.2.size", "no '2' among 0 to 1"),
        ("parts.0.length", "no 'length' among size, names"),
        ("kind.x", "'kind' has no parts"),
        ("maybe.size", "'maybe' has no parts"),
    ],
)
def test_unknown_override_paths_are_named(path, message):
    with pytest.raises(ConfigError, match=message):
        with_overrides(Whole(), {path: 1})
