"""Tab Photo: choose a photo, look at the people in it, download the result files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from ..resources import EXAMPLES
from .context import FILES_QUEUE, MODEL_QUEUE, PHOTOS_AT_ONCE, VIEWS_QUEUE, PageContext
from .endpoints import add_endpoints
from .export_options import photo_options, refine_checkbox
from .links import connect_example, connect_settings
from .photo_files import FileChoice
from .photo_handlers import DOWNLOADS, EVERYONE, NO_PHOTO, PhotoHandlers
from .photo_views import KEYPOINT_LAYERS
from .widgets import add_examples, input_size_radio, number_slider, photo_input

VIEW_LABELS = {
    "overlay": "Meshes",
    "compare": "Before/after",
    "depth": "Depth",
    "marks": "Keypoints",
    "plan": "Side and top",
    "scene": "3D",
    "parameters": "Parameters",
}
_EXAMPLE_PHOTOS = "*.jpg"
_LINK_NAMES = ("threshold", "people", "size", "fov", "refine")
"""Names of the settings in links."""
_FOLLOW_RESULTS = "(photo) => { if (photo) window.aiosFollowResults(); }"
"""On a phone the results lie below the photo, out of sight. `assets/page.js` scrolls to them."""


@dataclass(frozen=True)
class _Results:
    """Widgets of the results column."""

    summary: gr.Markdown
    person: gr.Dropdown
    shown: gr.CheckboxGroup
    layers: gr.CheckboxGroup
    views: dict[str, Any]
    tabs: dict[str, gr.Tab]
    files: list[Any]
    downloads: list[Any]
    people: gr.HTML

    @property
    def options(self) -> list[Any]:
        """Widgets of the display options."""
        return [self.person, self.shown, self.layers]


def build_photo_tab(context: PageContext) -> None:
    """Add the tab with its events, and the endpoints that share its inputs."""
    with gr.Tab("Photo") as tab:
        # The stylesheet places the three columns: on a phone, results come before settings.
        with gr.Row(elem_classes="aios-grid"):
            with gr.Column(elem_id="photo-choice", elem_classes="aios-choice"):
                photo = photo_input()
                add_examples(photo, _EXAMPLE_PHOTOS, "Examples")
            with gr.Column(elem_id="photo-results", elem_classes="aios-results"):
                results = _add_results()
            with gr.Column(elem_classes="aios-settings"):
                settings = _add_settings(context)
        inputs = [photo, *settings]
        _connect(context, tab, inputs, results)
        add_endpoints(context, inputs, results.files[1:])
        connect_settings(context.page, dict(zip(_LINK_NAMES, settings, strict=True)))
        connect_example(photo, EXAMPLES.glob(_EXAMPLE_PHOTOS))


def _add_settings(context: PageContext) -> list[Any]:
    """Add threshold, maximum number of people, input size, field of view and refinement."""
    most = min(30, context.max_people)
    return [
        number_slider(
            0,
            1,
            context.threshold,
            0.01,
            "Confidence threshold",
            "Hide detections below this confidence.",
        ),
        number_slider(1, context.max_people, most, 1, "Max people", "Keeps the highest-scoring."),
        input_size_radio(context.predictor, "input-size"),
        number_slider(
            0,
            120,
            0,
            1,
            "Camera field of view",
            "Degrees across the longer side; changes distances. 0 = EXIF data, else the model.",
        ),
        refine_checkbox(context.predictor),
    ]


def _add_results() -> _Results:
    """Add summary, views, person selection, table, file options and download buttons."""
    summary = gr.Markdown(NO_PHOTO, elem_id="summary")
    views, tabs = {}, {}
    with gr.Tabs(elem_id="views", overflow_behavior="wrap"):
        for name, label in VIEW_LABELS.items():
            with gr.Tab(label) as tabs[name]:
                views[name] = _add_view(name, label)
    person = gr.Dropdown(
        [EVERYONE],
        value=EVERYONE[1],
        label="Person",
        info="Or click a person in a picture.",
        elem_id="person",
    )
    with gr.Accordion("Display options", open=False, elem_id="display-options"):
        shown = gr.CheckboxGroup([], label="Visible people", elem_id="shown")
        layers = gr.CheckboxGroup(
            [(layer.capitalize(), layer) for layer in KEYPOINT_LAYERS],
            value=list(KEYPOINT_LAYERS),
            label="Keypoint layers",
            elem_id="layers",
        )
    people = gr.HTML(padding=False, elem_id="people")
    who = gr.Radio(
        [("Visible people", "visible"), ("All people", "all"), ("Selected person", "selected")],
        value="visible",
        label="Downloads contain",
        elem_id="file-people",
    )
    files = [who, *photo_options()]
    note = gr.Markdown(elem_id="file-note", elem_classes="aios-small")
    with gr.Row(elem_id="downloads"):
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", min_width=180)
            for label in DOWNLOADS
        ]
    return _Results(summary, person, shown, layers, views, tabs, files, [note, *buttons], people)


def _add_view(name: str, label: str) -> Any:  # noqa: ANN401
    if name == "compare":
        return gr.ImageSlider(
            label="Photo and meshes: drag the divider",
            interactive=False,
            max_height=560,
            slider_position=50,
            elem_id=name,
        )
    if name in ("scene", "parameters"):
        return gr.HTML(padding=False, elem_id=name)
    buttons: list[Any] = ["download", "fullscreen"]
    classes = ["aios-picture", "aios-unlabelled"]
    return gr.Image(
        label=label, interactive=False, buttons=buttons, elem_id=name, elem_classes=classes
    )


def _connect(context: PageContext, tab: gr.Tab, inputs: list[Any], widgets: _Results) -> None:
    """Connect inputs to results: a changed input updates the summary, then views, then files."""
    handlers = PhotoHandlers(context, list(widgets.views))
    query, selected = context.query, context.person
    view, file_choice = gr.State("overlay"), gr.State(FileChoice())
    pictures = list(widgets.views.values())
    draw_inputs = [query, view, *widgets.options]
    drawn = [*pictures, widgets.people, selected]
    file_inputs = [query, widgets.person, widgets.shown, file_choice]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    drawing: dict[str, Any] = {
        "concurrency_id": VIEWS_QUEUE,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "api_visibility": "private",
    }

    def write_after(event: Any) -> None:  # noqa: ANN401
        expired = event.success(
            handlers.expire_files, file_inputs, widgets.downloads, queue=False, **quiet
        )
        expired.success(
            handlers.write,
            file_inputs,
            widgets.downloads,
            concurrency_id=FILES_QUEUE,
            concurrency_limit=PHOTOS_AT_ONCE,
            trigger_mode="always_last",
            **quiet,
        )

    inputs[0].change(None, inputs[0], None, js=_FOLLOW_RESULTS, **quiet)
    shown = gr.on(
        [part.change for part in inputs],
        handlers.show,
        [*inputs, view, widgets.person],
        [widgets.summary, query, widgets.person, widgets.shown, *pictures, *widgets.downloads],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=PHOTOS_AT_ONCE,
        trigger_mode="always_last",
        api_visibility="private",
        show_progress_on=[widgets.summary, *pictures],
    )
    write_after(shown.success(handlers.draw, draw_inputs, drawn, **drawing))
    changes = [part.input for part in widgets.options]
    redrawn = gr.on(
        changes, handlers.draw, draw_inputs, drawn, trigger_mode="always_last", **drawing
    )
    write_after(redrawn)
    for name, view_tab in widgets.tabs.items():
        view_tab.select(partial(lambda name: name, name), None, view, **quiet).success(
            handlers.draw, draw_inputs, drawn, **drawing
        )
    for name in ("overlay", "depth", "marks"):
        picked = widgets.views[name].select(
            handlers.pick, [query, *widgets.options], widgets.person, queue=False, **quiet
        )
        write_after(picked.success(handlers.draw, draw_inputs, drawn, **drawing))
    # Tab Attention may have selected another person.
    opened = tab.select(
        handlers.reopen_tab, [query, selected], widgets.person, queue=False, **quiet
    )
    write_after(opened.success(handlers.draw, draw_inputs, drawn, **drawing))
    write_after(
        gr.on(
            [part.input for part in widgets.files],
            handlers.choose_files,
            widgets.files,
            file_choice,
            queue=False,
            **quiet,
        )
    )
