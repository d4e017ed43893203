"""The tab of one photo: choose it, look at everyone in it, take the files away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from .context import FILES_QUEUE, MODEL_QUEUE, VIEWS_QUEUE, PageContext
from .endpoints import add_endpoints
from .photo_handlers import EVERYONE, PhotoHandlers
from .photo_views import PARTS
from .widgets import add_examples, number_slider, photo_input

_FILES = ("Results (JSON)", "SMPL-X (NPZ)", "Meshes (GLB)", "Overlay (PNG)")


@dataclass(frozen=True)
class _Results:
    summary: gr.Markdown
    person: gr.Dropdown
    shown: gr.CheckboxGroup
    parts: gr.CheckboxGroup
    views: dict[str, Any]
    tabs: dict[str, gr.Tab]
    buttons: list[gr.DownloadButton]
    people: gr.HTML

    @property
    def look(self) -> list[Any]:
        return [self.person, self.shown, self.parts]


def build_photo_tab(context: PageContext) -> None:
    """Widgets and events of the tab, and the endpoints that share its inputs."""
    with gr.Tab("Photo") as tab:
        # Placed by page.css: on a phone one below the other, the settings last.
        with gr.Row(elem_id="photo-page"):
            with gr.Column(elem_id="photo-choice"):
                photo = _add_photo()
            with gr.Column(elem_id="photo-results"):
                results = _add_results()
            with gr.Column(elem_id="photo-settings"):
                settings = _add_settings(context)
        inputs = [photo, *settings]
        _connect(context, tab, inputs, results)
        add_endpoints(context, inputs)


def _add_photo() -> gr.Image:
    """Where photos come from."""
    photo = photo_input()
    add_examples(photo, "*.jpg", "Or try one of these")
    return photo


def _add_settings(context: PageContext) -> list[Any]:
    """Threshold, number of people, input size, field of view."""
    about_threshold = "Show people the network is at least so sure of."
    lowest = number_slider(0, 1, context.threshold, 0.01, "Score threshold", about_threshold)
    most = min(30, context.max_people)
    people = number_slider(1, context.max_people, most, 1, "Maximum people", "Best scores first.")
    size = gr.Radio(
        size_choices(context),
        value="full",
        label="Input size",
        info="Short side of what the network sees: smaller is faster and misses small people.",
        elem_id="input-size",
    )
    about_view = (
        "Degrees across the longer side: people move nearer or farther to fit such a lens. "
        "0 keeps the camera that the network assumes."
    )
    field_of_view = number_slider(0, 120, 0, 1, "Field of view", about_view)
    return [lowest, people, size, field_of_view]


def size_choices(context: PageContext) -> list[tuple[str, str]]:
    """Label and name of each input size."""
    is_official = context.predictor.weights.is_official
    names = {"fast": "Fast", "balanced": "Balanced", "full": "Paper" if is_official else "Full"}
    sizes = context.predictor.input_sizes
    return [(f"{names[name]} ({image.short_side} px)", name) for name, image in sizes.items()]


def _add_results() -> _Results:
    """Summary, the views, who is singled out, the files and the table."""
    summary = gr.Markdown("Waiting for a photo.", elem_id="summary")
    views, tabs = {}, {}
    with gr.Tabs(elem_id="views", overflow_behavior="wrap"):
        for name, label in VIEW_LABELS.items():
            with gr.Tab(label) as tabs[name]:
                views[name] = _add_view(name, label)
    person = gr.Dropdown(
        [EVERYONE],
        value=EVERYONE[1],
        label="Person",
        info="Or click somebody in a picture.",
        elem_id="person",
    )
    with gr.Accordion("What is drawn", open=False, elem_id="drawn"):
        shown = gr.CheckboxGroup([], label="People in the pictures", elem_id="shown")
        parts = gr.CheckboxGroup(
            [(part.capitalize(), part) for part in PARTS],
            value=list(PARTS),
            label="In boxes and keypoints",
            elem_id="parts",
        )
    people = gr.HTML(padding=False, elem_id="people")
    with gr.Row(elem_id="downloads"):
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", min_width=130)
            for label in _FILES
        ]
    return _Results(summary, person, shown, parts, views, tabs, buttons, people)


VIEW_LABELS = {
    "overlay": "Meshes",
    "compare": "Before/after",
    "depth": "Depth",
    "marks": "Keypoints",
    "plan": "Side and top",
    "scene": "3D",
    "parameters": "Parameters",
}


def _add_view(name: str, label: str) -> Any:  # noqa: ANN401
    if name == "compare":
        return gr.ImageSlider(
            label="Photo and meshes: drag the line",
            interactive=False,
            max_height=560,
            slider_position=50,
            elem_id=name,
        )
    if name == "scene":
        return gr.Model3D(
            label="Drag to turn, scroll to come nearer",
            height=520,
            interactive=False,
            elem_id=name,
        )
    if name == "parameters":
        return gr.HTML(padding=False, elem_id=name)
    buttons: list[Any] = ["download", "fullscreen"]
    classes = ["aios-picture", "aios-unlabelled"]
    return gr.Image(
        label=label, interactive=False, buttons=buttons, elem_id=name, elem_classes=classes
    )


def _connect(context: PageContext, tab: gr.Tab, inputs: list[Any], widgets: _Results) -> None:
    """A new photo or number shows everything anew; pictures and files follow."""
    handlers = PhotoHandlers(context, list(widgets.views), len(widgets.buttons))
    asked, chosen = context.asked, context.person
    view = gr.State("overlay")
    pictures = list(widgets.views.values())
    wanted = [asked, view, *widgets.look]
    drawn = [*pictures, widgets.people, chosen]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    drawing: dict[str, Any] = {
        "concurrency_id": VIEWS_QUEUE,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "api_visibility": "private",
    }
    shown = gr.on(
        [part.change for part in inputs],
        handlers.show,
        [*inputs, view, widgets.person],
        [widgets.summary, asked, widgets.person, widgets.shown, *pictures, *widgets.buttons],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        trigger_mode="always_last",
        api_visibility="private",
        show_progress_on=[widgets.summary, *pictures],
    )
    shown.success(handlers.draw, wanted, drawn, **drawing).success(
        handlers.write,
        asked,
        widgets.buttons,
        concurrency_id=FILES_QUEUE,
        concurrency_limit=1,
        **quiet,
    )
    changes = [part.input for part in widgets.look]
    gr.on(changes, handlers.draw, wanted, drawn, trigger_mode="always_last", **drawing)
    for name, view_tab in widgets.tabs.items():
        view_tab.select(partial(lambda name: name, name), None, view, **quiet).success(
            handlers.draw, wanted, drawn, **drawing
        )
    for name in ("overlay", "depth", "marks"):
        picked = widgets.views[name].select(
            handlers.pick, [asked, *widgets.look], widgets.person, queue=False, **quiet
        )
        picked.success(handlers.draw, wanted, drawn, **drawing)
    # Somebody may have been singled out in another tab.
    back = tab.select(handlers.come_back, [asked, chosen], widgets.person, queue=False, **quiet)
    back.success(handlers.draw, wanted, drawn, **drawing)
