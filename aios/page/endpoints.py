"""Public endpoints `/reconstruct` and `/status`; `/attention` is added from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from .. import __version__
from ..export.bone_names import BoneStyle
from ..export.photo_files import encode_png, prediction_to_json
from ..export.settings import Extra
from ..media.reduction import MAX_PIXELS
from .api_attention import add_attention_endpoint
from .context import MODEL_QUEUE, PHOTOS_AT_ONCE, PageContext, photo_errors
from .export_options import export_choice
from .limits import MAX_CALL_MB, MAX_UPLOAD_MB, MAX_WAITING
from .model_summary import status_values
from .photo_files import FilesRequest
from .photo_views import ViewOptions, depth_view
from .results import PhotoQuery
from .sessions import EXPIRY_SECONDS


def add_endpoints(context: PageContext, inputs: list[Any], file_options: list[Any]) -> None:
    """Add `/reconstruct`, `/attention` and `/status`.

    Args:
        context: of the page.
        inputs: photo, threshold, maximum number of people, input size, field of view, refinement.
        file_options: widgets of `photo_options`.
    """

    def reconstruct(  # noqa: PLR0913  the parameters are the arguments of the endpoint
        photo: str | None,
        threshold: float,
        max_people: float,
        input_size: str,
        field_of_view: float,
        refine: bool,
        ground: bool,
        bones: BoneStyle,
        backdrop: bool,
        extras: list[Extra],
        request: gr.Request,
    ) -> tuple[dict[str, Any], str, str, str, str, str]:
        """Recover a whole-body 3D mesh of everyone in a photo.

        Args:
            photo: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file.
            threshold: minimum confidence of a person, 0 to 1.
            max_people: maximum number of people; the highest-scoring are kept.
            input_size: inference resolution: fast, balanced or full.
            field_of_view: degrees across the longer side of the photo; 0 for that of
                the EXIF data, else of the model.
            refine: whether to move the meshes onto the predicted 2D keypoints.
            ground: put the people of 3D files on the floor, around the origin, instead of the
                camera.
            bones: joint names of rigged GLB files: smplx, mixamo or unreal.
            backdrop: add the photo to the GLB as a plane behind the people.
            extras: further files: rigged, obj and ply of each person, vertices in the NPZ.
            request: set by the server.

        Returns:
            The people as JSON, in pixels of the photo and metres; PNG with the meshes over the
            photo; PNG with distances; NPZ with the SMPL-X parameters; GLB with the meshes; ZIP of
            all files, which also contains the SMPL-X archive and the extras of each person.
        """
        if photo is None:
            raise gr.Error("Send a photo.", print_exception=False)
        visit = context.visit(request)
        query = PhotoQuery(
            Path(photo), threshold, int(max_people), input_size, field_of_view, bool(refine)
        )
        export = export_choice(ground, bones, backdrop, extras)
        with photo_errors():
            result = visit.result(query)
            files = visit.write(FilesRequest(query, export=export, strip=False))
            picture = encode_png(depth_view(result, ViewOptions()))
            depth = visit.save(f"{query.path.stem}_depth.png", picture)
            document = prediction_to_json(result.prediction, query.path.name)
        npz, glb, archive = (str(path) for path in (files.npz, files.glb, files.archive))
        return document, str(files.overlay), depth, npz, glb, archive

    outputs = [
        gr.JSON(visible=False, label="People"),
        gr.File(visible=False, label="Overlay (PNG)"),
        gr.File(visible=False, label="Distances (PNG)"),
        gr.File(visible=False, label="SMPL-X parameters (NPZ)"),
        gr.File(visible=False, label="Meshes (GLB)"),
        gr.File(visible=False, label="All files (ZIP)"),
    ]
    # Gradio needs a widget as the source of an event.
    gr.Button(visible=False).click(
        reconstruct,
        [*inputs, *file_options],
        outputs,
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=PHOTOS_AT_ONCE,
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
