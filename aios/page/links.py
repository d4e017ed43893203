"""Links that carry tab, view, example and settings: `?tab=attention&example=photo_skier`.

`assets/page.js` reads and writes the address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gradio as gr

_READ = """async (...values) => {
  while (!window.aiosReadLink) await new Promise((resolve) => setTimeout(resolve, 20));
  return window.aiosReadLink(%s, values);
}"""
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def connect_settings(page: gr.Blocks, settings: dict[str, Any]) -> None:
    """Set widgets from the address when the page loads, and keep the address up to date.

    Values that a widget does not allow are ignored.

    Args:
        page: under construction.
        settings: sliders, checkboxes, dropdowns and radio buttons by their names in the address.
    """
    widgets = list(settings.values())
    described = [_describe(name, widget) for name, widget in settings.items()]
    page.load(None, widgets, widgets, js=_READ % json.dumps(described), **_QUIET)
    for setting, widget in zip(described, widgets, strict=True):
        write = f"(value) => window.aiosWriteLink({json.dumps(setting)}, value)"
        widget.change(None, widget, None, js=write, **_QUIET)


def connect_example(photo: gr.Image, examples: Iterable[Path]) -> None:
    """Name the chosen example in the address; `assets/page.js` chooses it when the page loads."""
    names = json.dumps([path.name for path in examples])
    photo.change(
        None, photo, None, js=f"(photo) => window.aiosWriteExample({names}, photo)", **_QUIET
    )


def _describe(name: str, widget: Any) -> dict[str, Any]:  # noqa: ANN401
    """Name, usual value, and allowed values: a range, or pairs of text in the address and value."""
    described = {"name": name, "usual": widget.value}
    if isinstance(widget, gr.Slider):
        return described | {"min": widget.minimum, "max": widget.maximum}
    if isinstance(widget, gr.Checkbox):
        return described | {"choices": [("true", True), ("false", False)]}
    pairs = [(_text(label, value), value) for label, value in widget.choices]
    return described | {"choices": pairs}


def _text(label: str, value: str | int) -> str:
    """Text of a choice in the address: "fast", "2" of "2: refine body", "all"."""
    return value if isinstance(value, str) else label.split()[0].strip(":").lower()
