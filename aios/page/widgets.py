"""Widgets that refuse bad input in words."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from ..resources import EXAMPLES

_SHOWN_LETTERS = 60


class _PhotoData(ImageData):
    """An uploaded file and nothing else."""

    @classmethod
    def model_validate(cls, obj: object, **settings: Any) -> ImageData:  # type: ignore[override]  # noqa: ANN401
        """Refuse arrays, texts and addresses in a sentence."""
        if isinstance(obj, dict) and obj.get("path"):
            return super().model_validate(obj, **settings)
        raise gr.Error("Send the photo as an uploaded file.", print_exception=False)


def photo_input() -> gr.Image:
    """Upload, paste, drag or snap a photo; handlers get the path of the file as it was sent."""
    photo = gr.Image(
        type="filepath",
        label="Photo",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),
        buttons=[],
        height=320,
        placeholder="Drop a photo here\n- or -\nClick to choose one",
        elem_id="photo",
    )

    def preprocess(payload: _PhotoData | None) -> str | None:
        """Hand over the file as it is; Gradio's own decoder knows no sentence for a bad one."""
        return None if payload is None else payload.path

    # Not by a component class of our own: Gradio writes a .pyi beside a file that has one.
    photo.data_model = _PhotoData
    photo.preprocess = preprocess  # type: ignore[method-assign, assignment]
    return photo


def add_examples(widget: gr.components.Component, pattern: str, label: str) -> None:
    """Offer the files of `assets/examples` that match `pattern`, if there are any."""
    if examples := sorted(EXAMPLES.glob(pattern)):
        gr.Examples(
            [[str(path)] for path in examples],
            widget,
            cache_examples=False,
            label=label,
            api_visibility="private",
        )


def choice_dropdown(choices: list[str], label: str) -> gr.Dropdown:
    """A dropdown that says in words what is wanted when a program sends something else."""
    dropdown = gr.Dropdown(choices, value=choices[0], label=label)
    usual = dropdown.preprocess

    def preprocess(payload: Any) -> Any:  # noqa: ANN401
        if payload not in choices:
            shown = repr(payload)[:_SHOWN_LETTERS]
            raise gr.Error(f"{label} must be one of the list, not {shown}.", print_exception=False)
        return usual(payload)

    dropdown.preprocess = preprocess  # type: ignore[method-assign]
    return dropdown


def number_slider(
    lowest: float, highest: float, value: float, step: float, label: str, info: str
) -> gr.Slider:
    """A slider that says in words what is wanted when a program sends something else."""
    slider = gr.Slider(lowest, highest, value, step=step, label=label, info=info)
    usual = slider.preprocess

    def preprocess(payload: Any) -> float:  # noqa: ANN401
        is_number = isinstance(payload, int | float) and not isinstance(payload, bool)
        if not is_number or not lowest <= payload <= highest:
            raise gr.Error(
                f"{label} must be a number from {lowest} to {highest}.", print_exception=False
            )
        return usual(payload)

    slider.preprocess = preprocess  # type: ignore[method-assign]
    return slider
