"""Widgets that refuse invalid values of API calls with one sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from ..predictor import AiOSPredictor
from ..resources import EXAMPLES

_MAX_QUOTED_LETTERS = 60


class _PhotoData(ImageData):
    """Value of an image input, restricted to uploaded files."""

    @classmethod
    def model_validate(cls, obj: object, **settings: Any) -> ImageData:  # type: ignore[override]  # noqa: ANN401
        """Refuse arrays, texts and addresses."""
        if isinstance(obj, dict) and obj.get("path"):
            return super().model_validate(obj, **settings)
        raise gr.Error("Send the photo as an uploaded file.", print_exception=False)


def photo_input() -> gr.Image:
    """Return an image input; handlers receive the path of the original file."""
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
        """Skip Gradio's decoder, which has no readable message for a damaged file."""
        return None if payload is None else payload.path

    # Not a subclass: Gradio writes a .pyi file beside a module that subclasses a component.
    photo.data_model = _PhotoData
    photo.preprocess = preprocess  # type: ignore[method-assign, assignment]
    return photo


def add_examples(widget: gr.components.Component, pattern: str, label: str) -> None:
    """Add the files of `assets/examples` that match `pattern`; nothing if there are none."""
    if examples := sorted(EXAMPLES.glob(pattern)):
        gr.Examples(
            [[str(path)] for path in examples],
            widget,
            cache_examples=False,
            label=label,
            api_visibility="private",
        )


def choice_dropdown(choices: list[str], label: str) -> gr.Dropdown:
    """Return a dropdown whose error message names the expected values."""
    dropdown = gr.Dropdown(choices, value=choices[0], label=label)
    original = dropdown.preprocess

    def preprocess(payload: Any) -> Any:  # noqa: ANN401
        if payload not in choices:
            quoted = repr(payload)[:_MAX_QUOTED_LETTERS]
            raise gr.Error(f"{label} must be one of the list, not {quoted}.", print_exception=False)
        return original(payload)

    dropdown.preprocess = preprocess  # type: ignore[method-assign]
    return dropdown


def number_slider(
    lowest: float, highest: float, value: float, step: float, label: str, info: str
) -> gr.Slider:
    """Return a slider whose error message names the expected range."""
    slider = gr.Slider(lowest, highest, value, step=step, label=label, info=info)
    original = slider.preprocess

    def preprocess(payload: Any) -> float:  # noqa: ANN401
        is_number = isinstance(payload, int | float) and not isinstance(payload, bool)
        if not is_number or not lowest <= payload <= highest:
            raise gr.Error(
                f"{label} must be a number from {lowest} to {highest}.", print_exception=False
            )
        return original(payload)

    slider.preprocess = preprocess  # type: ignore[method-assign]
    return slider


def input_size_radio(predictor: AiOSPredictor, elem_id: str) -> gr.Radio:
    """Return the selection of the network's input size."""
    full = "Paper" if predictor.weights.is_official else "Full"
    names = {"fast": "Fast", "balanced": "Balanced", "full": full}
    sizes = predictor.input_sizes
    choices = [(f"{names[name]} ({image.short_side} px)", name) for name, image in sizes.items()]
    return gr.Radio(
        choices,
        value="full",
        label="Inference resolution (shorter side)",
        info="Lower is faster but misses small people.",
        elem_id=elem_id,
    )
