"""The tab of many photos: files, a folder or archives in, one archive out."""

from __future__ import annotations

from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..media.photo_sources import MAX_FILES, InputError, PhotoItem, items_from_paths, items_from_zip
from ..pipelines.folder import FolderResult, FolderSettings, ZipSink, reconstruct_folder
from ..pipelines.progress import CancelledError, ProgressCallback
from ..predictor import AiOSPredictor
from .context import PageContext
from .jobs import LONG_QUEUE, Jobs, working_sentence
from .widgets import number_slider

_IDLE = "Waiting for photos."
_STOPPED = "Stopped; nothing was kept."
_SHOWN_PROBLEMS = 200
_ABOUT = """You get one archive: JSON, NPZ, GLB and overlay of each photo, **people.csv** with a row
for everyone in all photos, and **problems.csv** if a file could not be worked on."""


def build_batch_tab(context: PageContext) -> None:
    """Widgets and events of the tab."""
    with gr.Tab("Many photos"):
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                files = gr.File(
                    label="Photos, or ZIP archives of photos",
                    file_count="multiple",
                    type="filepath",
                    height=200,
                    elem_id="batch-input",
                )
                folder = gr.UploadButton(
                    "Choose a folder", file_count="directory", type="filepath", size="sm"
                )
                threshold = number_slider(
                    0, 1, context.threshold, 0.01, "Batch score", "Keep people found so surely."
                )
                most = number_slider(
                    1,
                    context.max_people,
                    min(30, context.max_people),
                    1,
                    "People in a photo",
                    "Best scores first.",
                )
                with gr.Row():
                    start = gr.Button("Work on all", variant="primary", elem_id="batch-start")
                    stop = gr.Button("Stop", elem_id="batch-stop")
            with gr.Column(scale=3, min_width=320):
                status = gr.Markdown(_IDLE, elem_id="batch-status")
                archive = gr.File(
                    label="Results (ZIP)", interactive=False, height=90, elem_id="batch-archive"
                )
                problems = gr.HTML(padding=False, elem_id="batch-problems")
                gr.Markdown(_ABOUT)
        # What Gradio has stored is handed from one widget to the other.
        folder.upload(
            lambda chosen: chosen, folder, files, show_progress="hidden", api_visibility="private"
        )
        handler = BatchHandler(context)
        outputs = [status, archive, problems]
        work = start.click(
            handler.show,
            [files, threshold, most],
            outputs,
            concurrency_id=LONG_QUEUE,
            concurrency_limit=1,
            trigger_mode="once",
            show_progress_on=[archive],
            api_visibility="private",
        )
        stop.click(
            handler.stop, None, outputs, cancels=[work], queue=False, api_visibility="private"
        )


class BatchHandler:
    """Works on one batch after another."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors with the predictor of `context`."""
        self._context = context
        self._jobs = Jobs(context, "photos")

    def show(
        self,
        files: list[str] | None,
        threshold: float,
        most: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> list[Any]:
        """Status, archive and table of what failed; a failure of all is in the status."""
        if not files:
            return [_IDLE, None, ""]
        paths = [Path(path) for path in files]
        folder, report = self._jobs.start(request, paths, progress)
        try:
            target = folder / "aios_results.zip"
            predictor = self._context.predictor_of(request)
            settings = FolderSettings(threshold, int(most))
            result = self._work(predictor, paths, target, settings, report)
        except CancelledError:
            return [_STOPPED, None, ""]
        except InputError as error:
            sentence = str(error)
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            sentence = working_sentence(error, "This batch")
        else:
            return [status_text(result), str(target), problems_html(result)]
        gr.Warning(sentence)
        return [escape(sentence), None, ""]

    def stop(self, request: gr.Request) -> list[Any]:
        """Stop this visitor's work and empty the results."""
        self._jobs.stop(request)
        return [_STOPPED, None, ""]

    def _work(
        self,
        predictor: AiOSPredictor,
        paths: list[Path],
        target: Path,
        settings: FolderSettings,
        report: ProgressCallback,
    ) -> FolderResult:
        with ExitStack() as open_archives:
            items: list[PhotoItem] = []
            for path in paths:
                if path.suffix.lower() == ".zip":
                    items += open_archives.enter_context(items_from_zip(path))
                else:
                    items += items_from_paths([path])
            if len(items) > MAX_FILES:
                raise InputError(f"These are {len(items)} files: send at most {MAX_FILES} at once.")
            if not items:
                raise InputError("There is no photo in what was sent.")
            with ZipSink(target) as sink:
                return reconstruct_folder(predictor, items, sink, settings, report)


def status_text(result: FolderResult) -> str:
    """How many photos and people, and how many files failed."""
    photos = "1 photo" if result.photos == 1 else f"{result.photos} photos"
    people = "1 person" if result.people == 1 else f"{result.people} people"
    failed = len(result.problems)
    rest = "" if not failed else f" {failed} {'file' if failed == 1 else 'files'} failed."
    return f"**{people}** in {photos}.{rest}"


def problems_html(result: FolderResult) -> str:
    """The files that failed, with the reason; empty without any."""
    if not result.problems:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(sentence)}</td></tr>'
        for name, sentence in result.problems[:_SHOWN_PROBLEMS]
    )
    left = len(result.problems) - _SHOWN_PROBLEMS
    more = f"<p class='aios-note'>And {left} more in problems.csv.</p>" if left > 0 else ""
    head = '<th scope="col">File</th><th scope="col">Problem</th>'
    return (
        f'<div class="aios-people"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )
