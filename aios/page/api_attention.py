"""The endpoint `/attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..attention import KEPT_PEOPLE, token_names
from ..export.photo_files import encode_png
from .attention_answers import NotKeptError, Question, attention_figure, attention_npz
from .attention_document import attention_document
from .context import MODEL_QUEUE, PageContext, errors_as_sentences, session_of
from .sessions import Choice
from .widgets import choice_dropdown, number_slider


def add_attention_endpoint(context: PageContext, photo: Any, threshold: Any) -> None:  # noqa: ANN401
    """Add it.

    Args:
        context: of the page.
        photo: widget of the photo.
        threshold: widget of the lowest score.
    """

    def attention(
        photo: str | None,
        person: float,
        token: str,
        layer: float,
        threshold: float,
        level: float,
        head: float,
        request: gr.Request,
    ) -> tuple[dict[str, Any], str, str]:
        """Where the network looked for one token of one person in a photo.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.
            person: number of the person, 1 for the best score.
            token: body box, joint, hand or face box, or point of a hand or the face, by name.
            layer: of the decoder, from 1; the last one unless another is given.
            threshold: lowest score of a person, 0 to 1.
            level: of the image tokens, from 1, finest first; 0 for all.
            head: of the attention, from 1; 0 for all.
            request: filled in by the server.

        Returns:
            Reference box, sampling points with their weights and self-attention as plain JSON, in
            pixels of the photo; a PNG that shows them; NPZ with everything kept for this person.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        most = min(KEPT_PEOPLE, context.max_people)
        choice = Choice(Path(photo), threshold, most, "full")
        question = Question(
            int(person) - 1,
            token,
            int(layer) - 1,
            int(level) - 1 if level else None,
            int(head) - 1 if head else None,
        )
        try:
            with errors_as_sentences():
                result = context.sessions.result(session_of(request), choice)
                document = attention_document(result, question)
                figure = encode_png(attention_figure(result, question))
                archive = attention_npz(result, question.person)
        except NotKeptError as error:
            raise gr.Error(str(error), print_exception=False) from error
        stem = f"{choice.path.stem}_attention"
        save = context.save
        files = save(request, f"{stem}.png", figure), save(request, f"{stem}.npz", archive)
        return document, *files

    gr.Button(visible=False).click(
        attention,
        [photo, *_questions(context, threshold)],
        [
            gr.JSON(visible=False, label="Attention"),
            gr.File(visible=False, label="Figure (PNG)"),
            gr.File(visible=False, label="Everything kept (NPZ)"),
        ],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        api_name="attention",
    )


def _questions(context: PageContext, threshold: Any) -> list[Any]:  # noqa: ANN401
    """Person, token, layer, threshold, level and head; programs alone see these widgets."""
    model = context.predictor.model
    layouts, config = model.decoder.layouts, model.config
    tokens = list(token_names(layouts[-1]))
    most = min(KEPT_PEOPLE, context.max_people)
    with gr.Column(visible=False):
        return [
            number_slider(1, most, 1, 1, "Person", "1 for the best score."),
            choice_dropdown(tokens, "Token"),
            number_slider(1, len(layouts), len(layouts), 1, "Layer", "Of the decoder."),
            threshold,
            number_slider(0, config.num_levels, 0, 1, "Level", "0 for all."),
            number_slider(0, config.num_heads, 0, 1, "Head", "0 for all."),
        ]
