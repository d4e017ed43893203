"""Frozen dataclasses from plain values (as JSON gives them) and back, strictly.

Field types say what is allowed: numbers, text, booleans, `Literal`, `X | None`, tuples of one kind
or of a fixed length, and dataclasses of these.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
_HINTS: dict[type, dict[str, Any]] = {}


class ConfigError(ValueError):
    """A configuration that contradicts itself or names something unknown."""


def from_plain(kind: type[T], values: dict[str, Any], place: str = "") -> T:
    """Build a dataclass of type `kind`; fields that are not named keep their default.

    Args:
        kind: a dataclass.
        values: by field name.
        place: where the values stand in a larger configuration, for messages.

    Raises:
        ConfigError: an unknown key, a value of the wrong kind, or a contradiction.
    """
    hints = _hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no field named {', '.join(unknown)}")
    arguments = {
        name: _converted(hints[name], value, f"{place}.{name}" if place else name)
        for name, value in values.items()
    }
    return _built(lambda: kind(**arguments), place or kind.__name__)


def to_plain(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Plain dictionaries and lists, ready for JSON."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def with_changes(config: T, changes: dict[str, Any]) -> T:
    """A copy of a dataclass with other plain values in some places, checked once all are set.

    Args:
        config: a dataclass.
        changes: by place: names of fields and numbers of tuple entries, joined by points.

    Raises:
        ConfigError: as `from_plain`.
    """
    plain = to_plain(config)
    for place, value in changes.items():
        *parts, last = place.split(".")
        inside: Any = plain
        for part in parts:
            inside = _entry(inside, part, place)
            if not isinstance(inside, dict | list):
                raise ConfigError(f"unknown key {place!r}: {part!r} has no parts")
        _entry(inside, last, place)
        inside[int(last) if isinstance(inside, list) else last] = value
    return from_plain(type(config), plain)


def _entry(inside: dict | list, part: str, place: str) -> Any:  # noqa: ANN401
    """Field or entry `part` of a plain value."""
    if isinstance(inside, dict) and part in inside:
        return inside[part]
    if isinstance(inside, list) and part.isdecimal() and int(part) < len(inside):
        return inside[int(part)]
    known = ", ".join(inside) if isinstance(inside, dict) else f"0 to {len(inside) - 1}"
    raise ConfigError(f"unknown key {place!r}: no {part!r} among {known}")


def _built(build: Callable[[], T], place: str) -> T:
    try:
        return build()
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{place}: {error}") from error


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _HINTS:
        known = get_type_hints(kind)
        fields = dataclasses.fields(typing.cast(Any, kind))
        _HINTS[kind] = {field.name: known[field.name] for field in fields}
    return _HINTS[kind]


def _converted(hint: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - plain values
    """`value` as the type `hint` wants it."""
    origin, entries = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(entries, value, place)
    if origin is typing.Literal:
        if value in entries:
            return value
        allowed = ", ".join(repr(entry) for entry in entries)
        raise ConfigError(f"{place} must be one of {allowed}, not {value!r}")
    if origin is tuple and isinstance(value, list | tuple):
        return _tuple(entries, value, place)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_plain(typing.cast(Any, hint), value, place)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint:
        return value
    raise ConfigError(f"{place}: {value!r} is not of the kind wanted here ({_shown(hint)})")


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:  # noqa: ANN401
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return _converted(kind, value, place)
        except ConfigError:
            continue
    return _converted(others[-1], value, place)


def _tuple(entries: tuple[Any, ...], values: list | tuple, place: str) -> tuple:
    if len(entries) == 2 and entries[1] is Ellipsis:
        entries = (entries[0],) * len(values)
    if len(entries) != len(values):
        raise ConfigError(f"{place} wants {len(entries)} values, got {len(values)}")
    return tuple(
        _converted(entry, value, f"{place}[{index}]")
        for index, (entry, value) in enumerate(zip(entries, values, strict=True))
    )


def _shown(hint: Any) -> str:  # noqa: ANN401
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
