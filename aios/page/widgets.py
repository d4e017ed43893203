"""Widgets that refuse invalid values of API calls with one sentence."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import gradio as gr
import numpy as np
from gradio.data_classes import Base64ImageData, ImageData

from ..media.decoder import read_photo_apart
from ..media.photo import PhotoError
from ..predictor import AiOSPredictor
from ..resources import EXAMPLES

_MAX_QUOTED_LETTERS = 60
_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}


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


def camera_input() -> gr.Image:
    """Return a camera; handlers receive each frame as (h, w, 3) uint8 RGB, or None at the end.

    Frames are read like photos, from memory: Gradio would open any format that Pillow knows.
    """
    camera = gr.Image(
        label="Camera",
        sources=["webcam"],
        type="numpy",
        streaming=True,
        webcam_options=gr.WebcamOptions(mirror=False, constraints=_CAMERA),
        height=300,
        buttons=[],
        elem_id="camera",
    )

    def preprocess(payload: ImageData | None) -> np.ndarray | None:
        if payload is None or payload.url is None:
            return None
        try:
            content = base64.b64decode(payload.url.partition(",")[2], validate=True)
            return read_photo_apart(content).pixels
        except (PhotoError, binascii.Error, ValueError) as error:
            raise gr.Error("The camera sent no usable picture.", print_exception=False) from error

    camera.takes_frames = True  # type: ignore[attr-defined]  # see `arguments.checked`
    camera.preprocess = preprocess  # type: ignore[method-assign]
    return camera


def live_picture() -> gr.Image:
    """Return the output of a stream; its pictures, (h, w, 3) uint8 RGB, are sent without files."""
    picture = gr.Image(
        label="Meshes",
        streaming=True,
        interactive=False,
        format="jpeg",
        buttons=["fullscreen"],
        elem_id="live",
        elem_classes="aios-picture",
    )

    def postprocess(value: np.ndarray | None) -> Base64ImageData | None:
        if value is None:
            return None
        content = cv2.imencode(".jpg", cv2.cvtColor(value, cv2.COLOR_RGB2BGR))[1].tobytes()
        text = base64.b64encode(content).decode("ascii")
        return Base64ImageData(url=f"data:image/jpeg;base64,{text}")

    picture.postprocess = postprocess  # type: ignore[method-assign, assignment]
    return picture


def file_address(path: str) -> str:
    """Address of an upload or a result, relative to that of the page."""
    return f"gradio_api/file={quote(Path(path).as_posix())}"


def add_examples(photo: gr.Image, pattern: str, label: str) -> None:
    """Add the photos of `assets/examples` that match `pattern`; nothing if there are none."""
    if examples := sorted(EXAMPLES.glob(pattern)):
        gr.Examples(
            [[str(path)] for path in examples],
            photo,
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
    _refuse_outside(slider, lowest, highest)
    return slider


def number_field(lowest: float, highest: float, value: float, label: str, info: str) -> gr.Number:
    """Return a number field whose error message names the expected range."""
    field = gr.Number(value, label=label, info=info, minimum=lowest, maximum=highest, step=0.1)
    _refuse_outside(field, lowest, highest)
    return field


def _refuse_outside(widget: gr.Slider | gr.Number, lowest: float, highest: float) -> None:
    original = widget.preprocess

    def preprocess(payload: Any) -> Any:  # noqa: ANN401
        is_number = isinstance(payload, int | float) and not isinstance(payload, bool)
        if not is_number or not lowest <= payload <= highest:
            raise gr.Error(
                f"{widget.label} must be a number from {lowest} to {highest}.",
                print_exception=False,
            )
        return original(payload)

    widget.preprocess = preprocess  # type: ignore[method-assign]


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
