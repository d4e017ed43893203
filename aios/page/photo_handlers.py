"""Event handlers of tab Photo."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..descriptions import person_name
from ..export.bone_names import BoneStyle
from ..export.settings import Extra
from .context import PageContext, photo_errors
from .export_options import export_choice
from .parameters_view import parameters_html
from .people_table import people_html, summary_text
from .photo_files import FileChoice, FilePeople, FilesRequest, PhotoFiles
from .photo_views import (
    ViewOptions,
    depth_view,
    keypoints_view,
    overlay_view,
    person_at,
    plan_view,
    scene_view,
)
from .results import PhotoQuery, PhotoResult
from .scene_view import photo_scene_html
from .visit import Visit

EVERYONE = ("Everyone", -1)
"""Label and value of the person dropdown without a selection."""
DOWNLOADS = (
    "Results (JSON)",
    "SMPL-X (NPZ)",
    "Meshes (GLB)",
    "Overlay (PNG)",
    "Strip (PNG)",
    "All files (ZIP)",
)
"""Labels of the download buttons."""
_WRITING = "Files are being written…"
NO_PHOTO = "Choose a photo or try an example."
_PICTURES = {
    "overlay": overlay_view,
    "compare": overlay_view,
    "depth": depth_view,
    "marks": keypoints_view,
    "plan": plan_view,
}


class PhotoHandlers:
    """Event handlers; their return values go to the widgets in the order of the docstrings."""

    def __init__(self, context: PageContext, views: list[str]) -> None:
        """Serve a tab with these views, in this order."""
        self._context = context
        self._views = views

    def show(  # noqa: PLR0913  one parameter for each widget
        self,
        path: str | None,
        threshold: float,
        max_people: float,
        input_size: str,
        field_of_view: float,
        refine: bool,
        view: str,
        person: int,
        request: gr.Request,
    ) -> list[Any]:
        """Return summary, query, person dropdown, shown people, views, file note, buttons."""
        if path is None:
            return self._empty(NO_PHOTO)
        query = PhotoQuery(
            Path(path), threshold, int(max_people), input_size, field_of_view, bool(refine)
        )
        try:
            result = _result(self._context.visit(request), query)
        except gr.Error as error:
            # Returned instead of raised, because the pictures of the last photo must go.
            gr.Warning(error.message, title=error.title)
            return self._empty(escape(error.message))
        count = len(result.prediction)
        weights = self._context.predictor.weights
        text = summary_text(result.prediction, threshold, result.best_score, weights)
        if result.note:
            text += f"<br>{escape(result.note)}"
        # The visible view keeps its picture until the new one is drawn.
        views = [gr.skip() if name == view else None for name in self._views]
        selected = person if person < count else EVERYONE[1]
        names = [(person_name(index), index) for index in result.prediction]
        return [
            text,
            query,
            gr.Dropdown(choices=[EVERYONE, *names], value=selected),
            gr.CheckboxGroup(choices=names, value=list(range(count))),
            *views,
            *_no_files(_WRITING),
        ]

    def draw(
        self,
        query: PhotoQuery | None,
        view: str,
        person: int,
        shown: list[int],
        layers: list[str],
        request: gr.Request,
    ) -> list[Any]:
        """Return all views, of which only `view` changes; the table; the selected person."""
        if query is None:
            return [*(None for _ in self._views), "", None]
        visit = self._context.visit(request)
        result = _result(visit, query)
        options = _view_options(result, person, shown, layers)
        drawn = _draw_view(view, result, options, visit, query.path.stem)
        views = [drawn if name == view else gr.skip() for name in self._views]
        return [*views, people_html(result.prediction, options.person), options.person]

    def pick(
        self,
        query: PhotoQuery | None,
        person: int,
        shown: list[int],
        layers: list[str],
        event: gr.SelectData,
        request: gr.Request,
    ) -> int:
        """Return the person at the clicked pixel; a second click or no person is everyone."""
        if query is None:
            return EVERYONE[1]
        result = _result(self._context.visit(request), query)
        height, width = result.photo.shape[:2]
        x, y = event.index
        options = _view_options(result, EVERYONE[1], shown, layers)
        found = person_at(result, options, (x + 0.5) / width, (y + 0.5) / height)
        return EVERYONE[1] if found is None or found == person else found

    def reopen_tab(self, query: PhotoQuery | None, person: int | None) -> Any:  # noqa: ANN401
        """Return the person dropdown, which another tab may have changed."""
        return gr.skip() if query is None else EVERYONE[1] if person is None else person

    def choose_files(
        self,
        people: FilePeople,
        ground: bool,
        bones: BoneStyle,
        backdrop: bool,
        extras: list[Extra],
    ) -> FileChoice:
        """Return the options of the result files."""
        return FileChoice(people, export_choice(ground, bones, backdrop, extras))

    def expire_files(
        self,
        query: PhotoQuery | None,
        person: int,
        shown: list[int],
        choice: FileChoice,
        request: gr.Request,
    ) -> list[Any]:
        """Return note and disabled download buttons, or no change if their files are right."""
        if query is None:
            return _no_files()
        wanted = FilesRequest(query, choice.indices(person, shown), choice.export)
        is_current = self._context.visit(request).want_files(wanted)
        return _unchanged_files() if is_current else _no_files(_WRITING)

    def write(
        self,
        query: PhotoQuery | None,
        person: int,
        shown: list[int],
        choice: FileChoice,
        request: gr.Request,
    ) -> list[Any]:
        """Return note and download buttons with their files. Without people there is no GLB."""
        visit = self._context.visit(request)
        if query is None or not visit.holds(query):
            return _no_files()
        wanted = FilesRequest(query, choice.indices(person, shown), choice.export)
        visit.want_files(wanted)
        with photo_errors():
            files = visit.write(wanted)
        if not visit.wants_files(wanted):
            return _unchanged_files()
        glb = files.glb if files.people else None
        paths = (files.json, files.npz, glb, files.overlay, files.strip, files.archive)
        buttons = [gr.DownloadButton(value=file, interactive=file is not None) for file in paths]
        return [_files_text(files), *buttons]

    def _empty(self, reason: str) -> list[Any]:
        person = gr.Dropdown(choices=[EVERYONE], value=EVERYONE[1])
        shown = gr.CheckboxGroup(choices=[], value=[])
        return [reason, None, person, shown, *(None for _ in self._views), *_no_files()]


def _result(visit: Visit, query: PhotoQuery) -> PhotoResult:
    with photo_errors():
        return visit.result(query)


def _view_options(
    result: PhotoResult, person: int, shown: list[int], layers: list[str]
) -> ViewOptions:
    count = len(result.prediction)
    hidden = frozenset(range(count)) - frozenset(shown)
    return ViewOptions(hidden, person if 0 <= person < count else None, tuple(layers))


def _draw_view(
    view: str, result: PhotoResult, options: ViewOptions, visit: Visit, stem: str
) -> Any:  # noqa: ANN401
    if view == "parameters":
        if not len(result.prediction):
            return ""
        return parameters_html(result.prediction, options.person or 0)
    with photo_errors():
        if view == "scene":
            meshes = visit.save(f"{stem}_scene.glb", scene_view(result, options))
            photo = visit.save(f"{stem}_scene.jpg", result.photo)
            return photo_scene_html(result, options, meshes, photo, stem)
        picture = visit.save(f"{stem}_{view}.jpg", _PICTURES[view](result, options))
        if view == "compare":
            return visit.save(f"{stem}_photo.jpg", result.photo), picture
        return picture


def _no_files(note: str = "") -> list[Any]:
    """Return a note and disabled download buttons."""
    return [note, *(gr.DownloadButton(value=None, interactive=False) for _ in DOWNLOADS)]


def _unchanged_files() -> list[Any]:
    return [gr.skip(), *(gr.skip() for _ in DOWNLOADS)]


def _files_text(files: PhotoFiles) -> str:
    numbers = ", ".join(str(number) for number in files.numbers)
    return f"Files of person {numbers}." if numbers else "Files without people."
