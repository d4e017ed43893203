"""Strict conversion between config dataclasses and JSON-like dictionaries."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from typing import Any, TypeVar

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

T = TypeVar("T")


class ConfigError(ValueError):
    """Config with an unknown key, a value of the wrong type, or contradicting values."""


def config_from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Build a dataclass; missing keys keep their defaults, lists become tuples.

    Args:
        kind: dataclass; fields may be numbers, strings, booleans, `Literal`, tuples, dataclasses of
            these, or None where the type allows it.
        values: JSON-like values by field name.

    Raises:
        ConfigError: unknown key, value of the wrong type, or a check of the dataclass failed; the
            message names the path of the key.
    """
    from pydantic import ValidationError

    try:
        adapter = _adapter(typing.cast(Any, kind))
        return adapter.validate_json(json.dumps(values))
    except TypeError as error:
        raise ConfigError(f"{kind.__name__} takes JSON values only: {error}") from error
    except ValidationError as error:
        raise ConfigError(_message(error.errors())) from error


def config_to_dict(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Convert a dataclass to dictionaries and lists, ready for JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def with_overrides(config: T, overrides: dict[str, Any]) -> T:
    """Copy a dataclass with some values replaced; checks run once all are replaced.

    Args:
        config: dataclass.
        overrides: JSON-like values by path: field names and tuple indices joined by dots.

    Raises:
        ConfigError: as `config_from_dict`, or unknown path.
    """
    values = config_to_dict(config)
    for path, value in overrides.items():
        *parents, last = path.split(".")
        container: Any = values
        for part in parents:
            container = _item(container, part, path)
            if not isinstance(container, dict | list):
                raise ConfigError(f"unknown key {path!r}: {part!r} has no parts")
        _item(container, last, path)
        container[int(last) if isinstance(container, list) else last] = value
    return config_from_dict(type(config), values)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any dataclass
    # Imported here: most programs that import a config never parse one.
    from pydantic import ConfigDict, TypeAdapter

    # TypeAdapter takes no config for a dataclass, but passes that of a union on to its members.
    return TypeAdapter(kind | None, config=ConfigDict(extra="forbid", strict=True))


def _message(errors: list[ErrorDetails]) -> str:
    unknown = [_path(e["loc"]) for e in errors if e["type"] == "unexpected_keyword_argument"]
    if unknown:
        return f"unknown key {', '.join(unknown)}"
    error, path = errors[0], _path(errors[0]["loc"])
    if error["type"] == "value_error":  # raised by __post_init__
        reason = str(error["ctx"]["error"])
        return f"{path}: {reason}" if path else reason
    reason = error["msg"].replace("Input should be", "must be")
    return f"{path} {reason[0].lower()}{reason[1:]}, not {error['input']!r}"


def _path(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _item(container: dict | list, key: str, path: str) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(container, dict) and key in container:
        return container[key]
    if isinstance(container, list) and key.isdecimal() and int(key) < len(container):
        return container[int(key)]
    known = ", ".join(container) if isinstance(container, dict) else f"0 to {len(container) - 1}"
    raise ConfigError(f"unknown key {path!r}: no {key!r} among {known}")
