"""Tab Batch: photos, a folder or archives of photos in, one archive of results out."""

from __future__ import annotations

from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..export.bone_names import BoneStyle
from ..export.settings import Extra
from ..media.photo_sources import MAX_FILES, InputError, PhotoItem, items_from_paths, items_from_zip
from ..pipelines.folder import FolderResult, FolderSettings, reconstruct_folder
from ..pipelines.progress import CancelledError, ProgressCallback
from ..pipelines.sinks import ZipSink
from ..predictor import AiOSPredictor
from .context import PageContext
from .export_options import export_choice, photo_options, refine_checkbox
from .jobs import STOPPED, JobHandler, connect_job, unexpected_error_text
from .visit import VisitEndedError
from .widgets import number_slider

_NO_PHOTOS = "Choose photos first."
_SHOWN_PROBLEMS = 200
_ABOUT = """The result is one ZIP archive: JSON, NPZ, GLB and overlay of each photo, **people.csv**
with one row per person, and **problems.csv** if a file could not be processed or is cut off."""


def build_batch_tab(context: PageContext) -> None:
    """Add the tab with its events."""
    with gr.Tab("Batch"):
        # The stylesheet places the three columns: on a phone, results come before settings.
        with gr.Row(elem_classes="aios-grid"):
            with gr.Column(elem_classes="aios-choice"):
                files = _add_files()
                with gr.Row():
                    start = gr.Button(
                        "Process all", variant="primary", elem_id="batch-start", min_width=100
                    )
                    stop = gr.Button("Stop", elem_id="batch-stop", min_width=100)
            with gr.Column(elem_classes="aios-results"):
                outputs = _add_results()
            with gr.Column(elem_classes="aios-settings"):
                settings = _add_settings(context)
        handler = BatchHandler(context)
        inputs = [files, *settings]
        connect_job(handler, start, stop, inputs, outputs, show_progress_on=outputs[1])


def _add_files() -> gr.File:
    files = gr.File(
        label="Photos or ZIP archives of photos",
        file_count="multiple",
        type="filepath",
        height=200,
        elem_id="batch-input",
    )
    folder = gr.UploadButton("Choose a folder", file_count="directory", type="filepath", size="sm")
    # The upload button passes its stored files on to the list.
    folder.upload(
        lambda chosen: chosen, folder, files, show_progress="hidden", api_visibility="private"
    )
    return files


def _add_results() -> list[Any]:
    """Add status, archive and table of problems."""
    status = gr.Markdown(_NO_PHOTOS, elem_id="batch-status")
    archive = gr.File(label="Results (ZIP)", interactive=False, height=90, elem_id="batch-archive")
    problems = gr.HTML(padding=False, elem_id="batch-problems")
    gr.Markdown(_ABOUT)
    return [status, archive, problems]


def _add_settings(context: PageContext) -> list[Any]:
    most = min(30, context.max_people)
    return [
        number_slider(
            *(0, 1, context.threshold, 0.01),
            "Confidence threshold",
            "Hide detections below this confidence.",
        ),
        number_slider(
            *(1, context.max_people, most, 1), "Max people per photo", "Keeps the highest-scoring."
        ),
        refine_checkbox(context.predictor),
        *photo_options(),
    ]


class BatchHandler(JobHandler):
    """Event handlers of the tab."""

    def __init__(self, context: PageContext) -> None:
        """Serve all visitors of a page."""
        super().__init__(context, "photos", _NO_PHOTOS, [None, ""])

    def show(  # noqa: PLR0913  one parameter for each widget
        self,
        files: list[str] | None,
        threshold: float,
        max_people: float,
        refine: bool,
        ground: bool,
        bones: BoneStyle,
        backdrop: bool,
        extras: list[Extra],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio looks for it here
    ) -> list[Any]:
        """Return status, archive and table of problems; an error is shown as the status."""
        if not files:
            return [self.no_input, *self.empty_results]
        paths = list(dict.fromkeys(Path(path) for path in files))  # a call may repeat them
        visit = self.context.visit(request)
        export = export_choice(ground, bones, backdrop, extras)
        settings = FolderSettings(threshold, int(max_people), export=export)
        predictor = visit.predictor.with_refinement(bool(refine))
        try:
            with self.jobs.run(visit, paths, progress) as (folder, report):
                target = folder / "aios_results.zip"
                result = _process(predictor, paths, target, settings, report)
        except CancelledError:
            return [STOPPED, *self.empty_results]
        except (InputError, VisitEndedError) as error:
            sentence = str(error)
        except (MemoryError, OSError, RuntimeError, ValueError) as error:
            sentence = unexpected_error_text(error, "This batch")
        else:
            return [status_text(result), str(target), problems_html(result)]
        gr.Warning(sentence)
        return [escape(sentence), *self.empty_results]


def _process(
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
            raise InputError("These files contain no photo.")
        with ZipSink(target) as sink:
            return reconstruct_folder(predictor, items, sink, settings, report)


def status_text(result: FolderResult) -> str:
    """Markdown: number of people, photos and failed files."""
    photos = "1 photo" if result.photos == 1 else f"{result.photos} photos"
    people = "1 person" if result.people == 1 else f"{result.people} people"
    failed = len(result.problems)
    rest = "" if not failed else f" {failed} {'file' if failed == 1 else 'files'} failed."
    return f"**{people}** in {photos}.{rest}"


def problems_html(result: FolderResult) -> str:
    """Table of files that failed or are cut off, with the reason; empty without any."""
    problems = result.problems + result.notes
    if not problems:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(sentence)}</td></tr>'
        for name, sentence in problems[:_SHOWN_PROBLEMS]
    )
    left = len(problems) - _SHOWN_PROBLEMS
    more = f"<p class='aios-note'>{left} more in problems.csv.</p>" if left > 0 else ""
    head = '<th scope="col">File</th><th scope="col">Problem</th>'
    return (
        f'<div class="aios-people aios-problems" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )
