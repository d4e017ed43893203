"""The page: drop a photo, see everyone in it as a posed mesh.  `python app.py --help`.

Widgets and handlers only; what they show is made in `aios`.  Gradio and torch take seconds to
import, so that happens where they are needed.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.arguments import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_page_arguments,
    find_port,
    load_predictor,
)

if TYPE_CHECKING:
    import gradio as gr

    from aios.predictor import AiOSPredictor
    from aios.sessions import Sessions

ASSETS = Path(__file__).resolve().parent / "assets"
MAX_UPLOAD = "40mb"
WAITING_VISITORS = 32
KEPT_SECONDS = 3600
_INTRO = """# AiOS: everyone in a photo, as whole-body meshes
Drop a photo. Every person in it is found and posed at once — body, hands and face — and laid
over the picture, nearest in front."""
_PRIVACY = """Photos stay on the machine that serves this page, for about an hour, and are shown to
nobody else. The webcam sends nothing before you take a snapshot."""

_log = logging.getLogger("aios.app")


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until interrupted; returns the exit code: 0, or 2 if it cannot start."""
    parser = OneLineParser(
        prog="app.py", description="Serve a page that finds everyone in a photo as a posed mesh."
    )
    add_page_arguments(parser)
    add_model_arguments(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("aios").setLevel(logging.INFO)
    from aios.body_file import find_body_file

    # A kill cleans up as Ctrl-C does: photos of people shall not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="aios-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            port = find_port(options.host, options.port)
            predictor = load_predictor(options)
            page = build_page(predictor, options.threshold)
            private = [predictor.weights.path, find_body_file(options.body)]
            _log.info("Page: %s", launch(page, options.host, port, options.auth, private))
            if options.share:
                _share(page, port)
            page.block_thread()
        except StartError as error:
            _log.error("%s", error)
            return 2
        except KeyboardInterrupt:
            _log.info("Stopped.")
    return 0


def launch(
    page: "gr.Blocks",
    host: str,
    port: int,
    auth: tuple[str, str] | None = None,
    never_served: Sequence[Path] = (),
) -> str:
    """Start serving in the background; returns the address.

    Raises:
        StartError: the page cannot be served there.
    """
    import gradio as gr

    fonts = ["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif"]
    theme = gr.themes.Default(
        primary_hue="indigo", font=fonts, font_mono=["ui-monospace", "Consolas", "monospace"]
    )
    try:
        _, address, _ = page.queue(max_size=WAITING_VISITORS).launch(
            server_name=host,
            server_port=port,
            auth=auth,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            run_history=False,
            footer_links=["api", "settings"],
            max_file_size=MAX_UPLOAD,
            blocked_paths=[str(path.resolve()) for path in (ASSETS / "body", *never_served)],
            state_session_capacity=1000,
            ssr_mode=False,
            theme=theme,
            css_paths=ASSETS / "page.css",
        )
    except (OSError, ValueError) as error:
        raise StartError(f"The page cannot be served on {host}: {error}") from error
    return address


def _share(page: "gr.Blocks", port: int) -> None:
    """Open a public link, or say why there is none; the local page goes on either way.

    Not `launch(share=True)`: it would have even local visitors fetch the page from a CDN, and
    says in ten lines that there is no network.
    """
    from gradio import networking

    try:
        link = networking.setup_tunnel(page.server_name, port, page.share_token, None, None)
    except Exception as error:  # whatever keeps the tunnel shut, the local page must live
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        _log.warning("No public link, only the local page: %s.", reason)
    else:
        _log.info("Public link, for a week, for anyone unless --auth is given: %s", link)


def build_page(predictor: "AiOSPredictor", threshold: float | None = None) -> "gr.Blocks":
    """The page with its events; serves nothing yet.

    Args:
        predictor: answers for all visitors.
        threshold: lowest score of the slider at first, 0-1; None for that of the weights.
    """
    import gradio as gr

    from aios.report import banner_html, status_report
    from aios.sessions import Sessions

    if threshold is None:
        threshold = predictor.weights.threshold
    sessions = Sessions(predictor)
    with gr.Blocks(
        title="AiOS: everyone in a photo",
        analytics_enabled=False,
        delete_cache=(600, KEPT_SECONDS),
    ) as page:
        gr.Markdown(_INTRO, elem_id="title")
        gr.HTML(banner_html(predictor.weights, predictor.body), padding=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                inputs = _add_inputs(threshold, predictor.model.config.num_people)
            with gr.Column(scale=3, min_width=320):
                outputs, buttons = _add_results()
        gr.Markdown(_PRIVACY, elem_id="privacy")
        _connect(sessions, inputs, outputs, buttons)
        _add_endpoints(sessions, inputs, status_report(predictor, threshold))

        def leave(request: gr.Request) -> None:
            sessions.forget(_session(request))

        page.unload(leave)
    return page


def _add_inputs(threshold: float, num_people: int) -> list[Any]:
    """Photo, threshold and number of people."""
    import gradio as gr

    photo = _photo_input()
    if examples := sorted((ASSETS / "examples").glob("*.jpg")):
        gr.Examples(
            [[str(path)] for path in examples],
            photo,
            cache_examples=False,
            label="Or try one of these",
            api_visibility="private",
        )
    lowest = _number_slider(
        0, 1, threshold, 0.01, "Score threshold", "Show people the network is at least so sure of."
    )
    most = _number_slider(
        1, num_people, min(30, num_people), 1, "Maximum people", "Best scores first."
    )
    return [photo, lowest, most]


def _photo_input() -> "gr.Image":
    import gradio as gr
    from gradio.data_classes import ImageData

    class PhotoData(ImageData):
        @classmethod
        def model_validate(cls, obj: object, **settings: Any) -> ImageData:  # noqa: ANN401
            if isinstance(obj, dict) and obj.get("path"):
                return super().model_validate(obj, **settings)
            raise gr.Error("Send the photo as an uploaded file.", print_exception=False)

    photo = gr.Image(
        type="filepath",
        label="Photo",
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),
        buttons=[],
        height=320,
        placeholder="Drop a photo here\n- or -\nClick to choose one",
        elem_id="photo",
    )

    def preprocess(payload: PhotoData | None) -> str | None:
        """Hand over the file as it is; Gradio's own decoder knows no sentence for a bad one."""
        return None if payload is None else payload.path

    # Not by a component class of our own: Gradio writes an app.pyi beside a file that has one.
    photo.data_model, photo.preprocess = PhotoData, preprocess
    return photo


def _number_slider(
    lowest: float, highest: float, value: float, step: float, label: str, info: str
) -> "gr.Slider":
    import gradio as gr

    slider = gr.Slider(lowest, highest, value, step=step, label=label, info=info)
    usual = slider.preprocess

    def preprocess(payload: object) -> float:
        """Say in words what is wanted when a program sends something else."""
        is_number = isinstance(payload, int | float) and not isinstance(payload, bool)
        if not is_number or not lowest <= payload <= highest:
            raise gr.Error(
                f"{label} must be a number from {lowest} to {highest}.", print_exception=False
            )
        return usual(payload)

    slider.preprocess = preprocess
    return slider


def _add_results() -> tuple[list[Any], list[Any]]:
    """Summary, before and after, depth order, table; and the download buttons."""
    import gradio as gr

    summary = gr.Markdown("Waiting for a photo.", elem_id="summary")
    with gr.Tabs():
        with gr.Tab("Meshes over the photo"):
            slider = gr.ImageSlider(
                label="Photo and meshes: drag the line",
                format="jpeg",
                interactive=False,
                max_height=560,
                slider_position=12,
                elem_id="overlay",
            )
        with gr.Tab("Depth order"):
            depth = gr.Image(
                label="Near to far",
                format="jpeg",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="depth",
            )
    labels = ("Results (JSON)", "SMPL-X (NPZ)", "Meshes (GLB)", "Overlay (PNG)")
    with gr.Row(elem_id="downloads"):
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", min_width=130)
            for label in labels
        ]
    people = gr.HTML(padding=False, elem_id="people")
    return [summary, slider, depth, people], buttons


def _connect(
    sessions: "Sessions", inputs: list[Any], outputs: list[Any], buttons: list[Any]
) -> None:
    """A new photo, threshold or number redraws everything; the files follow the pictures."""
    import gradio as gr
    from gradio.utils import get_upload_folder

    from aios.report import people_html, summary_text

    def waiting() -> list[Any]:
        return [gr.DownloadButton(value=None, interactive=False) for _ in buttons]

    def nothing(reason: str) -> list[Any]:
        return [reason, None, None, "", *waiting()]

    def show(path: str | None, threshold: float, most: float, request: gr.Request) -> list[Any]:
        if path is None:
            sessions.forget(_session(request))
            return nothing("Waiting for a photo.")
        try:
            with _errors_as_sentences():
                view = sessions.view(_session(request), Path(path), threshold, int(most))
        except gr.Error as error:
            # Not raised: beside the sentence, pictures of the photo before must not stay.
            gr.Warning(error.message, title=error.title)
            return nothing(escape(error.message))
        text = summary_text(view.prediction, threshold, view.best_score)
        pictures = [(view.photo, view.overlay), view.depth]
        return [text, *pictures, people_html(view.prediction), *waiting()]

    def write(path: str | None, threshold: float, most: float, request: gr.Request) -> list[Any]:
        if path is None or not sessions.holds(_session(request), Path(path)):
            return waiting()
        with _errors_as_sentences():
            files = sessions.write(
                _session(request), Path(path), threshold, int(most), Path(get_upload_folder())
            )
        return [gr.DownloadButton(value=file, interactive=True) for file in files]

    shown = gr.on(
        [part.change for part in inputs],
        show,
        inputs,
        [*outputs, *buttons],
        concurrency_id="model",
        concurrency_limit=1,
        trigger_mode="always_last",
        api_visibility="private",
        show_progress_on=outputs[:3],
    )
    shown.success(
        write,
        inputs,
        buttons,
        concurrency_id="files",
        concurrency_limit=1,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )


def _add_endpoints(sessions: "Sessions", inputs: list[Any], status: dict[str, Any]) -> None:
    """`/reconstruct` and `/status`, for programs."""
    import gradio as gr
    from gradio.utils import get_upload_folder

    from aios.export import encode_png

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
        chosen = (_session(request), Path(photo), threshold, int(max_people))
        with _errors_as_sentences():
            view = sessions.view(*chosen)
            result, npz, glb, overlay = sessions.write(*chosen, Path(get_upload_folder()))
        depth = overlay.with_name(f"{npz.stem}_depth.png")
        depth.write_bytes(encode_png(view.depth))
        files = [str(file) for file in (overlay, depth, npz, glb)]
        return json.loads(result.read_text("utf-8")), *files

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
        concurrency_id="model",
        concurrency_limit=1,
        api_name="reconstruct",
    )
    gr.Button(visible=False).click(tell_status, None, results[0], queue=False, api_name="status")


def _session(request: "gr.Request | None") -> str:
    """Who asks; a visitor without a name shares with nobody."""
    return (request and request.session_hash) or uuid.uuid4().hex


@contextlib.contextmanager
def _errors_as_sentences() -> Iterator[None]:
    import gradio as gr

    from aios.photo import PhotoError

    try:
        yield
    except PhotoError as error:
        raise gr.Error(str(error), title="Not a usable photo", print_exception=False) from error
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        _log.exception("A photo failed")
        raise gr.Error(
            "This photo could not be worked on; try a smaller one.", print_exception=False
        ) from error


if __name__ == "__main__":
    sys.exit(main())
