"""Dataclasses from plain values and back: strict, and clear about what is wrong where."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from aios.network.plain import ConfigError, from_plain, to_plain, with_changes


@dataclass(frozen=True)
class Part:
    size: int = 1
    names: tuple[str, ...] = ()


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
def test_json_and_back(config):
    assert from_plain(Whole, json.loads(json.dumps(to_plain(config)))) == config


def test_changes_reach_any_depth_and_are_checked_together():
    config = with_changes(
        Whole(flag=True),
        {"parts.1.size": 7, "pair.1": 3, "maybe": {"size": 2}, "kind": "two", "flag": False},
    )
    assert config.parts == (Part(), Part(7, ("a", "b")))
    assert config.pair == (1, 3.0)
    assert config.maybe == Part(2)
    assert with_changes(config, {"maybe": None}).maybe is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"b": 1, "a": 2}, "Whole has no field named a, b"),
        ({"parts": [{"sizes": 1}]}, "Part has no field named sizes"),
        ({"parts": [{}, {"size": "big"}]}, r"parts\[1\]\.size: 'big' is not of the kind .*int"),
        ({"parts": {"size": 1}}, "parts: .* is not of the kind"),
        ({"pair": [1]}, "pair wants 2 values, got 1"),
        ({"pair": [1, True]}, r"pair\[1\]: True is not of the kind wanted here \(float\)"),
        ({"maybe": 3}, "maybe: 3 is not of the kind"),
        ({"kind": "three"}, "kind must be one of 'one', 'two', not 'three'"),
        ({"flag": True, "kind": "two"}, "two takes no flag"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(values, message):
    with pytest.raises(ConfigError, match=message):
        from_plain(Whole, values)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("sizes", "unknown key 'sizes': no 'sizes' among parts, pair"),
        ("parts.2.size", "no '2' among 0 to 1"),
        ("parts.0.length", "no 'length' among size, names"),
        ("kind.x", "'kind' has no parts"),
        ("maybe.size", "'maybe' has no parts"),
    ],
)
def test_unknown_places_are_named(place, message):
    with pytest.raises(ConfigError, match=message):
        with_changes(Whole(), {place: 1})
