"""The tab that shows where the network looked, after Figures 5 and 8 of the paper."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..attention import token_names
from ..descriptions import person_name
from .attention_answers import (
    NotKeptError,
    Question,
    attention_figure,
    attention_npz,
    matrix_pictures,
    people_with_attention,
    token_pictures,
)
from .context import FILES_QUEUE, VIEWS_QUEUE, PageContext, errors_as_sentences, session_of
from .photo_views import Look, person_at
from .sessions import Choice, Result

_NO_PHOTO = "Choose a photo in the tab **Photo** first."
_NOBODY = "Nobody was found in this photo: lower the score threshold in the tab **Photo**."
_MATRICES = """Rows look at columns, brighter is more. On the left, a block is a pair of people and
its cells are their boxes: body, left hand, right hand and face, as far as the layer has them."""
_ALL = -1


def build_attention_tab(context: PageContext) -> None:
    """Widgets and events of the tab."""
    with gr.Tab("Attention") as tab:
        gr.Markdown(
            "Every person is a set of *tokens*: a body box, joints, hand and face boxes and their "
            "points. In each decoder layer a token looks at a few points of the photo around its "
            "reference box (Figure 5 of the paper) and at other tokens (Figure 8).",
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                controls = _add_controls(context)
            with gr.Column(scale=5, min_width=320):
                text = gr.Markdown(_NO_PHOTO, elem_id="attention-text")
                with gr.Row():
                    pictures = [
                        _add_picture("Where this token looks", "attention-token"),
                        _add_picture("Where this person looks", "attention-person"),
                    ]
                with gr.Row():
                    matrices = [
                        _add_picture("Who attends to whom", "attention-people"),
                        _add_picture("This person’s tokens", "attention-tokens"),
                    ]
                gr.Markdown(_MATRICES, elem_classes="aios-small")
                with gr.Row(elem_classes="aios-downloads"):
                    buttons = [
                        gr.DownloadButton(label, interactive=False, size="sm", min_width=130)
                        for label in ("Figure (PNG)", "Attention (NPZ)")
                    ]
    _connect(context, tab, controls, [text, *pictures, *matrices], buttons)


def _add_picture(label: str, elem_id: str) -> gr.Image:
    buttons: list[Any] = ["download", "fullscreen"]
    return gr.Image(
        label=label,
        interactive=False,
        buttons=buttons,
        elem_id=elem_id,
        elem_classes="aios-picture",
        min_width=300,
    )


def _add_controls(context: PageContext) -> list[Any]:
    """Person, token, layer, level, head, close-up."""
    config = context.predictor.model.config
    layouts = context.predictor.model.decoder.layouts
    tokens = [(name[:1].upper() + name[1:], name) for name in token_names(layouts[-1])]
    layers = [
        (f"{number}: {layout.stage.replace('_', ' ')}", number - 1)
        for number, layout in enumerate(layouts, start=1)
    ]
    stride = config.backbone.strides[config.backbone.feature_stages[0]]
    levels = [
        (f"{level + 1} (one token for {stride * 2**level} px)", level)
        for level in range(config.num_levels)
    ]
    heads = [(str(head + 1), head) for head in range(config.num_heads)]
    return [
        gr.Dropdown([], label="Person", elem_id="attention-who"),
        gr.Dropdown(
            tokens, value=tokens[0][1], label="Token", filterable=True, elem_id="attention-what"
        ),
        gr.Radio(layers, value=len(layouts) - 1, label="Decoder layer", elem_id="attention-layer"),
        gr.Dropdown([("All", _ALL), *levels], value=_ALL, label="Level of the image tokens"),
        gr.Dropdown([("All", _ALL), *heads], value=_ALL, label="Attention head"),
        gr.Checkbox(False, label="Close-up", info="Cut the photo to where the token looks."),
    ]


def _connect(
    context: PageContext,
    tab: gr.Tab,
    controls: list[Any],
    outputs: list[Any],
    buttons: list[Any],
) -> None:
    handlers = AttentionHandlers(context)
    who = controls[0]
    asked, person = context.asked, context.person
    wanted = [asked, *controls]
    drawing: dict[str, Any] = {
        "concurrency_id": VIEWS_QUEUE,
        "concurrency_limit": 1,
        "show_progress": "minimal",
        "api_visibility": "private",
    }
    files: dict[str, Any] = {
        "concurrency_id": FILES_QUEUE,
        "concurrency_limit": 1,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    opened = tab.select(handlers.enter, [asked, person], who, api_visibility="private")
    opened = opened.success(handlers.draw, wanted, [*outputs, person, *buttons], **drawing)
    opened.success(handlers.write, wanted, buttons, **files)
    changed = gr.on(
        # A dropdown tells of input twice for one choice.
        [part.select if isinstance(part, gr.Dropdown) else part.input for part in controls],
        handlers.draw,
        wanted,
        [*outputs, person, *buttons],
        trigger_mode="always_last",
        **drawing,
    )
    changed.success(handlers.write, wanted, buttons, trigger_mode="always_last", **files)
    for picture in outputs[1:3]:
        picked = picture.select(
            handlers.pick,
            [asked, who, controls[-1]],
            who,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        picked = picked.success(handlers.draw, wanted, [*outputs, person, *buttons], **drawing)
        picked.success(handlers.write, wanted, buttons, **files)


class AttentionHandlers:
    """Handlers of the tab's events."""

    def __init__(self, context: PageContext) -> None:
        """Answer from what `context.sessions` keeps."""
        self._context = context

    def enter(self, choice: Choice | None, person: int | None, request: gr.Request) -> gr.Dropdown:
        """The people to choose from."""
        people = [] if choice is None else people_with_attention(self._result(choice, request))
        value = person if person in people else next(iter(people), None)
        names = [(person_name(index), index) for index in people]
        return gr.Dropdown(choices=names, value=value, interactive=bool(people))

    def pick(
        self,
        choice: Choice | None,
        person: int | None,
        close_up: bool,
        event: gr.SelectData,
        request: gr.Request,
    ) -> Any:  # noqa: ANN401
        """Who was clicked; a click beside everybody or in a close-up changes nothing."""
        if choice is None or close_up:
            return gr.skip()
        result = self._result(choice, request)
        height, width = result.photo.shape[:2]
        x, y = event.index
        found = person_at(result, Look(), (x + 0.5) / width, (y + 0.5) / height)
        return found if found in people_with_attention(result) else person

    def draw(
        self,
        choice: Choice | None,
        person: int | None,
        token: str,
        layer: int,
        level: int,
        head: int,
        close_up: bool,
        request: gr.Request,
    ) -> list[Any]:
        """A sentence, four pictures, the person singled out, and buttons that wait for files."""
        waiting = [gr.DownloadButton(value=None, interactive=False) for _ in range(2)]
        if choice is None or person is None:
            return [_NO_PHOTO if choice is None else _NOBODY, *[None] * 4, gr.skip(), *waiting]
        question = _question(person, token, layer, level, head, close_up)
        result = self._result(choice, request)
        try:
            sampling, heat, text = token_pictures(result, question)
            pictures = [sampling, heat, *matrix_pictures(result, question)]
        except NotKeptError as error:
            return [str(error), *[None] * 4, person, *waiting]
        names = ("token.jpg", "person.jpg", "people.png", "tokens.png")
        saved = [
            self._context.save(request, f"{choice.path.stem}_attention_{name}", picture)
            for name, picture in zip(names, pictures, strict=True)
        ]
        return [text, *saved, person, *waiting]

    def write(
        self,
        choice: Choice | None,
        person: int | None,
        token: str,
        layer: int,
        level: int,
        head: int,
        close_up: bool,
        request: gr.Request,
    ) -> list[Any]:
        """The two download buttons with their files."""
        if choice is None or person is None:
            return [gr.skip(), gr.skip()]
        question = _question(person, token, layer, level, head, close_up)
        result = self._result(choice, request)
        stem = choice.path.stem
        try:
            figure, arrays = attention_figure(result, question), attention_npz(result, person)
        except NotKeptError:
            return [gr.skip(), gr.skip()]
        save = self._context.save
        files = (
            save(request, f"{stem}_attention.png", figure),
            save(request, f"{stem}_attention.npz", arrays),
        )
        return [gr.DownloadButton(value=file, interactive=True) for file in files]

    def _result(self, choice: Choice, request: gr.Request) -> Result:
        with errors_as_sentences():
            return self._context.sessions.result(session_of(request), choice)


def _question(
    person: int, token: str, layer: int, level: int, head: int, close_up: bool
) -> Question:
    return Question(
        person,
        token,
        layer,
        None if level == _ALL else level,
        None if head == _ALL else head,
        close_up,
    )
