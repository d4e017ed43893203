"""Widgets of the options of 3D files, which the tabs share."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..export.bone_names import BONE_STYLES, BoneStyle
from ..export.settings import Extra
from ..pipelines.export_settings import ExportChoice
from ..predictor import AiOSPredictor

_BONE_NAMES = {"smplx": "SMPL-X", "mixamo": "Mixamo", "unreal": "Unreal Engine"}
_EXTRA_NAMES: dict[str, Extra] = {
    "Rigged GLB of each person": "rigged",
    "OBJ of each person": "obj",
    "PLY of each person": "ply",
    "Vertices in the NPZ": "vertices",
}


def refine_checkbox(predictor: AiOSPredictor) -> gr.Checkbox:
    """Return the switch for the refinement of poses."""
    return gr.Checkbox(
        predictor.refine,
        label="Refine to keypoints",
        info="Move meshes onto the predicted 2D keypoints; in photos also people to one floor.",
    )


def still_camera_radio() -> gr.Radio:
    """Return the choice whether people of a video are put on one floor."""
    return gr.Radio(
        [("Detect", "auto"), ("Yes", "on"), ("No", "off")],
        value="auto",
        label="Still camera",
        info="Then everyone is put on one floor, and standing feet slide less.",
    )


def motion_options() -> list[Any]:
    """Add the options of motion files: ground and bone names."""
    with gr.Accordion("3D file options", open=False):
        return [_ground(), _bones()]


def photo_options() -> list[Any]:
    """Add the options of a photo's files: ground, bone names, backdrop and extra files."""
    with gr.Accordion("3D file options", open=False):
        options = [_ground(), _bones()]
        backdrop = gr.Checkbox(
            False, label="Photo as backdrop", info="A plane behind the people of the GLB."
        )
        extras = gr.CheckboxGroup(
            list(_EXTRA_NAMES.items()), label="Extra files", info="In the ZIP of all files."
        )
        return [*options, backdrop, extras]


def export_choice(
    ground: bool, bones: BoneStyle, backdrop: bool = False, extras: list[Extra] | None = None
) -> ExportChoice:
    """Convert the values of `photo_options` or `motion_options`."""
    return ExportChoice(bool(ground), bool(backdrop), bones, frozenset(extras or ()))


def _ground() -> gr.Checkbox:
    return gr.Checkbox(
        False,
        label="On the ground",
        info="Put people on the floor, around the origin. Otherwise the camera is at the origin.",
    )


def _bones() -> gr.Dropdown:
    return gr.Dropdown(
        [(_BONE_NAMES[style], style) for style in BONE_STYLES],
        value="smplx",
        label="Bone names",
        info="Of BVH and rigged GLB files.",
    )
