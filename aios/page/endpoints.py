"""Public endpoints `/reconstruct` and `/status`; `/attention` is added from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from .. import __version__
from ..export.photo_files import encode_png, prediction_to_json
from ..media.image_file import MAX_PIXELS
from .api_attention import add_attention_endpoint
from .context import MODEL_QUEUE, PageContext, photo_errors
from .limits import MAX_CALL_MB, MAX_UPLOAD_MB, MAX_WAITING
from .model_summary import status_values
from .photo_views import ViewOptions, depth_view
from .results import PhotoQuery
from .sessions import EXPIRY_SECONDS


def add_endpoints(context: PageContext, inputs: list[Any]) -> None:
    """Add `/reconstruct`, `/attention` and `/status`.

    Args:
        context: of the page.
        inputs: photo, threshold, maximum number of people, input size and field of view.
    """

    def reconstruct(
        photo: str | None,
        threshold: float,
        max_people: float,
        input_size: str,
        field_of_view: float,
        request: gr.Request,
    ) -> tuple[dict[str, Any], str, str, str, str]:
        """Recover a whole-body 3D mesh of everyone in a photo.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.
            threshold: minimum confidence of a person, 0 to 1.
            max_people: maximum number of people; the highest-scoring are kept.
            input_size: inference resolution: fast, balanced or full.
            field_of_view: degrees across the longer side of the photo; 0 for the model default.
            request: set by the server.

        Returns:
            The people as JSON, in pixels of the photo and metres; PNG with the meshes over the
            photo; PNG of the depth order; NPZ with the SMPL-X parameters; GLB with the meshes.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        visit = context.visit(request)
        query = PhotoQuery(Path(photo), threshold, int(max_people), input_size, field_of_view)
        with photo_errors():
            result = visit.result(query)
            files = visit.write(query)
            picture = encode_png(depth_view(result, ViewOptions()))
            depth = visit.save(f"{query.path.stem}_depth.png", picture)
            document = prediction_to_json(result.prediction, query.path.name)
        return document, str(files.overlay), depth, str(files.npz), str(files.glb)

    outputs = [
        gr.JSON(visible=False, label="People"),
        gr.File(visible=False, label="Overlay (PNG)"),
        gr.File(visible=False, label="Depth order (PNG)"),
        gr.File(visible=False, label="SMPL-X parameters (NPZ)"),
        gr.File(visible=False, label="Meshes (GLB)"),
    ]
    # Gradio needs a widget as the source of an event.
    gr.Button(visible=False).click(
        reconstruct,
        inputs,
        outputs,
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=1,
        api_name="reconstruct",
    )
    add_attention_endpoint(context, *inputs[:2])
    _add_status_endpoint(context)


def _add_status_endpoint(context: PageContext) -> None:
    def status(request: gr.Request) -> dict[str, Any]:
        """Describe the model in use, the queue and the limits of requests.

        Args:
            request: set by the server.

        Returns:
            Version, weights, body, device and speed mode; queue length; defaults and limits.
        """
        predictor = context.visit(request).predictor
        return status_values(predictor, context.threshold) | {
            "version": __version__,
            "speed": context.predictor.speed,
            # Gradio has no public accessor for the queue of a page.
            "queue_length": len(context.page._queue),
            "limits": {
                "max_people": context.max_people,
                "input_sizes": list(context.predictor.input_sizes),
                "photo_megapixels": MAX_PIXELS // 1_000_000,
                "upload_mb": MAX_UPLOAD_MB,
                "call_mb": MAX_CALL_MB,
                "waiting": MAX_WAITING,
                "kept_minutes": int(EXPIRY_SECONDS // 60),
            },
        }

    gr.Button(visible=False).click(
        status, None, gr.JSON(visible=False, label="Status"), queue=False, api_name="status"
    )
