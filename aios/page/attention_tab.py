"""Tab Attention: sampling points and self-attention, as in Figures 5 and 8 of the paper."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..attention import token_names
from ..descriptions import person_name
from .attention_export import attention_to_npz
from .attention_pictures import attention_figure, matrix_pictures, token_pictures
from .attention_query import AttentionMissingError, AttentionQuery, people_with_attention
from .context import FILES_QUEUE, PHOTOS_AT_ONCE, VIEWS_QUEUE, PageContext, photo_errors
from .links import connect_settings
from .photo_views import ViewOptions, person_at
from .results import PhotoQuery, PhotoResult
from .visit import Visit

_NO_PHOTO = "Choose a photo in the tab **Photo** first."
_NO_PEOPLE = (
    "No people were found in this photo, or it is a panorama, whose attention is not stored: see"
    " the tab **Photo**."
)
_ABOUT = """Each person is a set of *tokens*: a body box, joints, hand and face boxes and their
points. In each decoder layer, a token attends to a few sampling points around its reference box
(cross-attention, Figure 5 of the paper) and to other tokens (self-attention, Figure 8)."""
_MATRICES = """Rows attend to columns; brighter is more. Between people, each block is a pair of
people and its cells are their box tokens: body, left hand, right hand and face, as far as the layer
has them."""
_ALL = -1
_LINK_NAMES = ("token", "layer", "level", "head", "closeup")
"""Names of the settings in links."""


def build_attention_tab(context: PageContext) -> None:
    """Add the tab with its events."""
    with gr.Tab("Attention") as tab:
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                controls = _add_controls(context)
            with gr.Column(scale=5, min_width=320):
                text = gr.Markdown(_NO_PHOTO, elem_id="attention-text")
                with gr.Row():
                    pictures = [
                        _add_picture("Sampling points of this token", "attention-token"),
                        _add_picture("Sampling density of this person", "attention-person"),
                    ]
                # One below the other, to keep the token names legible.
                matrices = [
                    _add_picture(
                        "Self-attention between people", "attention-people", "aios-matrix"
                    ),
                    _add_picture(
                        "Self-attention of this person", "attention-tokens", "aios-matrix"
                    ),
                ]
                gr.Markdown(_MATRICES, elem_classes="aios-small")
                with gr.Row(elem_classes="aios-downloads"):
                    buttons = [
                        gr.DownloadButton(label, interactive=False, size="sm", min_width=130)
                        for label in ("Figure (PNG)", "Attention (NPZ)")
                    ]
    connect_settings(context.page, dict(zip(_LINK_NAMES, controls[1:], strict=True)))
    _connect(context, tab, controls, [text, *pictures, *matrices], buttons)


def _add_picture(label: str, elem_id: str, elem_class: str = "aios-picture") -> gr.Image:
    buttons: list[Any] = ["download", "fullscreen"]
    return gr.Image(
        label=label,
        interactive=False,
        buttons=buttons,
        elem_id=elem_id,
        elem_classes=elem_class,
        min_width=300,
    )


def _add_controls(context: PageContext) -> list[Any]:
    """Add person, token, layer, level, head and close-up."""
    config = context.predictor.model.config
    layouts = context.predictor.model.decoder.layouts
    tokens = [(name[:1].upper() + name[1:], name) for name in token_names(layouts[-1])]
    layers = [
        (f"{number}: {layout.stage.replace('_', ' ')}", number - 1)
        for number, layout in enumerate(layouts, start=1)
    ]
    stride = config.backbone.feature_strides[0]
    levels = [
        (f"{level + 1} (stride {stride * 2**level})", level) for level in range(config.num_levels)
    ]
    heads = [(str(head + 1), head) for head in range(config.num_heads)]
    return [
        gr.Dropdown([], label="Person", elem_id="attention-who"),
        gr.Dropdown(
            tokens, value=tokens[0][1], label="Token", filterable=True, elem_id="attention-what"
        ),
        gr.Radio(layers, value=len(layouts) - 1, label="Decoder layer", elem_id="attention-layer"),
        gr.Dropdown([("All", _ALL), *levels], value=_ALL, label="Feature level"),
        gr.Dropdown([("All", _ALL), *heads], value=_ALL, label="Attention head"),
        gr.Checkbox(False, label="Close-up", info="Crop to the sampling points."),
    ]


def _connect(
    context: PageContext,
    tab: gr.Tab,
    controls: list[Any],
    outputs: list[Any],
    buttons: list[Any],
) -> None:
    handlers = AttentionHandlers(context)
    person_dropdown = controls[0]
    query, person = context.query, context.person
    inputs = [query, *controls]
    drawn = [*outputs, person, *buttons]
    drawing: dict[str, Any] = {
        "concurrency_id": VIEWS_QUEUE,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "api_visibility": "private",
    }
    files: dict[str, Any] = {
        "concurrency_id": FILES_QUEUE,
        "concurrency_limit": PHOTOS_AT_ONCE,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    opened = tab.select(
        handlers.open_tab, [query, person], person_dropdown, api_visibility="private"
    )
    opened = opened.success(handlers.draw, inputs, drawn, **drawing)
    opened.success(handlers.write, inputs, buttons, **files)
    # `input` covers mouse and keyboard; `select` of a dropdown misses the keyboard.
    changed = gr.on(
        [control.input for control in controls],
        handlers.draw,
        inputs,
        drawn,
        trigger_mode="always_last",
        **drawing,
    )
    changed.success(handlers.write, inputs, buttons, trigger_mode="always_last", **files)
    for picture in outputs[1:3]:
        picked = picture.select(
            handlers.pick,
            [query, person_dropdown, controls[-1]],
            person_dropdown,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        picked = picked.success(handlers.draw, inputs, drawn, **drawing)
        picked.success(handlers.write, inputs, buttons, **files)


class AttentionHandlers:
    """Event handlers of the tab. They use cached results and do not run the network."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors of a page."""
        self._context = context

    def open_tab(
        self, query: PhotoQuery | None, person: int | None, request: gr.Request
    ) -> gr.Dropdown:
        """Return the dropdown with the people of the current photo."""
        people = []
        if query is not None:
            people = people_with_attention(_result(self._context.visit(request), query))
        value = person if person in people else next(iter(people), None)
        names = [(person_name(index), index) for index in people]
        return gr.Dropdown(choices=names, value=value, interactive=bool(people))

    def pick(
        self,
        query: PhotoQuery | None,
        person: int | None,
        close_up: bool,
        event: gr.SelectData,
        request: gr.Request,
    ) -> Any:  # noqa: ANN401
        """Return the person at the clicked pixel; without one or in a close-up, no change."""
        if query is None or close_up:
            return gr.skip()
        result = _result(self._context.visit(request), query)
        height, width = result.photo.shape[:2]
        x, y = event.index
        found = person_at(result, ViewOptions(), (x + 0.5) / width, (y + 0.5) / height)
        return found if found in people_with_attention(result) else person

    def draw(
        self,
        query: PhotoQuery | None,
        person: int | None,
        token: str,
        layer: int,
        level: int,
        head: int,
        close_up: bool,
        request: gr.Request,
    ) -> list[Any]:
        """Return description, four pictures, selected person and disabled download buttons."""
        disabled = [gr.DownloadButton(value=None, interactive=False) for _ in range(2)]
        if query is None or person is None:
            return [_NO_PHOTO if query is None else _NO_PEOPLE, *[None] * 4, gr.skip(), *disabled]
        attention_query = _attention_query(person, token, layer, level, head, close_up)
        visit = self._context.visit(request)
        result = _result(visit, query)
        try:
            sampling, heat, text = token_pictures(result, attention_query)
            pictures = [sampling, heat, *matrix_pictures(result, attention_query)]
        except AttentionMissingError as error:
            return [str(error), *[None] * 4, person, *disabled]
        names = ("token.jpg", "person.jpg", "people.png", "tokens.png")
        with photo_errors():
            saved = [
                visit.save(f"{query.path.stem}_attention_{name}", picture)
                for name, picture in zip(names, pictures, strict=True)
            ]
        return [text, *saved, person, *disabled]

    def write(
        self,
        query: PhotoQuery | None,
        person: int | None,
        token: str,
        layer: int,
        level: int,
        head: int,
        close_up: bool,
        request: gr.Request,
    ) -> list[Any]:
        """Return the two download buttons with their files."""
        if query is None or person is None:
            return [gr.skip(), gr.skip()]
        attention_query = _attention_query(person, token, layer, level, head, close_up)
        visit = self._context.visit(request)
        result = _result(visit, query)
        stem = query.path.stem
        try:
            figure = attention_figure(result, attention_query)
            arrays = attention_to_npz(result, person)
        except AttentionMissingError:
            return [gr.skip(), gr.skip()]
        with photo_errors():
            files = (
                visit.save(f"{stem}_attention.png", figure),
                visit.save(f"{stem}_attention.npz", arrays),
            )
        return [gr.DownloadButton(value=file, interactive=True) for file in files]


def _result(visit: Visit, query: PhotoQuery) -> PhotoResult:
    with photo_errors():
        return visit.result(query)


def _attention_query(
    person: int, token: str, layer: int, level: int, head: int, close_up: bool
) -> AttentionQuery:
    return AttentionQuery(
        person,
        token,
        layer,
        None if level == _ALL else level,
        None if head == _ALL else head,
        close_up,
    )
