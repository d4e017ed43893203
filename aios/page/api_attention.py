"""Endpoint `/attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..attention import KEPT_PEOPLE, token_names
from ..export.photo_files import encode_png
from .attention_export import attention_to_json, attention_to_npz
from .attention_pictures import attention_figure
from .attention_query import AttentionMissingError, AttentionQuery
from .context import MODEL_QUEUE, PHOTOS_AT_ONCE, PageContext, photo_errors
from .results import PhotoQuery
from .widgets import choice_dropdown, number_slider


def add_attention_endpoint(context: PageContext, photo: Any, threshold: Any) -> None:  # noqa: ANN401
    """Add the endpoint.

    Args:
        context: of the page.
        photo: photo input.
        threshold: slider of the confidence threshold.
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
        """Return the attention of one token of one person in a photo.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file.
            person: number of the person, 1 for the highest score.
            token: name of the body box, joint, hand or face box, or hand or face point.
            layer: decoder layer, from 1; default is the last.
            threshold: minimum confidence of a person, 0 to 1.
            level: feature level, from 1, finest first; 0 for all.
            head: attention head, from 1; 0 for all.
            request: set by the server.

        Returns:
            Reference box, sampling points with weights and self-attention as JSON, in pixels of
            the photo; PNG of these; NPZ with all stored attention of this person.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        visit = context.visit(request)
        max_people = min(KEPT_PEOPLE, context.max_people)
        photo_query = PhotoQuery(Path(photo), threshold, max_people, "full")
        query = AttentionQuery(
            int(person) - 1,
            token,
            int(layer) - 1,
            int(level) - 1 if level else None,
            int(head) - 1 if head else None,
        )
        try:
            with photo_errors():
                result = visit.result(photo_query)
                document = attention_to_json(result, query)
                stem = f"{photo_query.path.stem}_attention"
                figure = visit.save(f"{stem}.png", encode_png(attention_figure(result, query)))
                archive = visit.save(f"{stem}.npz", attention_to_npz(result, query.person))
        except AttentionMissingError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return document, figure, archive

    gr.Button(visible=False).click(
        attention,
        [photo, *_add_arguments(context, threshold)],
        [
            gr.JSON(visible=False, label="Attention"),
            gr.File(visible=False, label="Figure (PNG)"),
            gr.File(visible=False, label="All stored attention (NPZ)"),
        ],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=PHOTOS_AT_ONCE,
        api_name="attention",
    )


def _add_arguments(context: PageContext, threshold: Any) -> list[Any]:  # noqa: ANN401
    """Add hidden widgets for person, token, layer, level and head."""
    model = context.predictor.model
    layouts, config = model.decoder.layouts, model.config
    tokens = list(token_names(layouts[-1]))
    max_people = min(KEPT_PEOPLE, context.max_people)
    with gr.Column(visible=False):
        return [
            number_slider(1, max_people, 1, 1, "Person", "1 for the highest score."),
            choice_dropdown(tokens, "Token"),
            number_slider(1, len(layouts), len(layouts), 1, "Layer", "Decoder layer."),
            threshold,
            number_slider(0, config.num_levels, 0, 1, "Level", "0 for all."),
            number_slider(0, config.num_heads, 0, 1, "Head", "0 for all."),
        ]
