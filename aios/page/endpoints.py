"""Named endpoints for programs: `/reconstruct` and `/status`, and those of other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from .. import __version__
from ..export.photo_files import encode_png
from ..media.photo import MAX_PIXELS
from .api_attention import add_attention_endpoint
from .context import MODEL_QUEUE, PageContext, errors_as_sentences, session_of
from .limits import MAX_CALL_MB, MAX_UPLOAD_MB
from .model_summary import status_values
from .photo_views import Look, depth_view
from .sessions import KEPT_SECONDS, Choice


def add_endpoints(context: PageContext, inputs: list[Any]) -> None:
    """`/reconstruct`, `/attention` and `/status`.

    Args:
        context: of the page.
        inputs: photo, threshold, maximum of people, input size and field of view.
    """

    def reconstruct(
        photo: str | None,
        threshold: float,
        max_people: float,
        input_size: str,
        field_of_view: float,
        request: gr.Request,
    ) -> tuple[dict[str, Any], str, str, str, str]:
        """Find everyone in a photo as a posed whole-body mesh.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.
            threshold: lowest score of a person, 0 to 1.
            max_people: at most this many people, best scores first.
            input_size: of what the network sees: fast, balanced or full.
            field_of_view: degrees across the longer side, 0 for the camera the network assumes.
            request: filled in by the server.

        Returns:
            The people as plain JSON, in pixels of the photo and metres; PNG with the meshes over
            the photo; PNG of the depth order; NPZ with the SMPL-X parameters; GLB with the meshes.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        session = session_of(request)
        choice = Choice(Path(photo), threshold, int(max_people), input_size, field_of_view)
        with errors_as_sentences():
            picture = depth_view(context.sessions.result(session, choice), Look())
            files = context.sessions.write(session, choice, context.folder(request))
        result, npz, glb, overlay, *_ = files
        depth = overlay.with_name(f"{npz.stem}_depth.png")
        depth.write_bytes(encode_png(picture))
        paths = [str(file) for file in (overlay, depth, npz, glb)]
        return json.loads(result.read_text("utf-8")), *paths

    results = [
        gr.JSON(visible=False, label="People"),
        gr.File(visible=False, label="Overlay (PNG)"),
        gr.File(visible=False, label="Depth order (PNG)"),
        gr.File(visible=False, label="SMPL-X parameters (NPZ)"),
        gr.File(visible=False, label="Meshes (GLB)"),
    ]
    # Events need a widget to come from; nobody sees these.
    gr.Button(visible=False).click(
        reconstruct,
        inputs,
        results,
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        api_name="reconstruct",
    )
    add_attention_endpoint(context, *inputs[:2])
    _add_status_endpoint(context)


def _add_status_endpoint(context: PageContext) -> None:
    page = Context.root_block
    assert page is not None, "endpoints are made inside a page"

    def status(request: gr.Request) -> dict[str, Any]:
        """What answers here, how long the queue is, and the bounds of what may be sent.

        Args:
            request: filled in by the server.

        Returns:
            Version, weights, body, device and speed mode; how many wait; defaults and limits.
        """
        report = status_values(context.predictor_of(request), context.threshold)
        return report | {
            "version": __version__,
            "speed": context.predictor.speed,
            "queue_length": len(page._queue),
            "limits": {
                "max_people": context.max_people,
                "input_sizes": list(context.predictor.input_sizes),
                "photo_megapixels": MAX_PIXELS // 1_000_000,
                "upload_mb": MAX_UPLOAD_MB,
                "call_mb": MAX_CALL_MB,
                "waiting": page._queue.max_size,
                "kept_minutes": int(KEPT_SECONDS // 60),
            },
        }

    gr.Button(visible=False).click(
        status, None, gr.JSON(visible=False, label="Status"), queue=False, api_name="status"
    )
