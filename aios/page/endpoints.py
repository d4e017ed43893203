"""Named endpoints for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from ..export import encode_png
from ..photo_views import Look, depth_view
from ..report import status_report
from ..sessions import Choice
from .context import MODEL_QUEUE, PageContext, errors_as_sentences, session_of


def add_endpoints(context: PageContext, inputs: list[Any]) -> None:
    """`/reconstruct` and `/status`.

    Args:
        context: of the page.
        inputs: photo, threshold and maximum of people.
    """
    status = status_report(context.predictor, context.threshold)

    def reconstruct(
        photo: str | None, threshold: float, max_people: float, request: gr.Request
    ) -> tuple[dict[str, Any], str, str, str, str]:
        """Find everyone in a photo as a posed whole-body mesh.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.
            threshold: lowest score of a person, 0 to 1.
            max_people: at most this many people, best scores first.
            request: filled in by the server.

        Returns:
            The people as plain JSON, in pixels of the photo and metres; PNG with the meshes over
            the photo; PNG of the depth order; NPZ with the SMPL-X parameters; GLB with the meshes.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        session = session_of(request)
        choice = Choice(Path(photo), threshold, int(max_people), "full")
        with errors_as_sentences():
            picture = depth_view(context.sessions.result(session, choice), Look())
            files = context.sessions.write(session, choice, context.folder(request))
        result, npz, glb, overlay = files
        depth = overlay.with_name(f"{npz.stem}_depth.png")
        depth.write_bytes(encode_png(picture))
        paths = [str(file) for file in (overlay, depth, npz, glb)]
        return json.loads(result.read_text("utf-8")), *paths

    def tell_status() -> dict[str, Any]:
        """Which weights and body are in use, and the bounds of the arguments."""
        return status

    results = [
        gr.JSON(visible=False, label="People"),
        gr.File(visible=False, label="Overlay (PNG)"),
        gr.File(visible=False, label="Depth order (PNG)"),
        gr.File(visible=False, label="SMPL-X parameters (NPZ)"),
        gr.File(visible=False, label="Meshes (GLB)"),
    ]
    # Events need a widget to come from; nobody sees these two.
    gr.Button(visible=False).click(
        reconstruct,
        inputs,
        results,
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        api_name="reconstruct",
    )
    gr.Button(visible=False).click(tell_status, None, results[0], queue=False, api_name="status")
