"""What happens on the tab of one photo."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..descriptions import person_name
from .context import PageContext, errors_as_sentences, session_of
from .parameters_view import parameters_html
from .people_table import people_html, summary_text
from .photo_views import (
    Look,
    depth_view,
    marks_view,
    overlay_view,
    person_at,
    plan_view,
    scene_view,
)
from .scene_view import AROUND_DEGREES, FROM_ABOVE_DEGREES, opening_distance
from .sessions import Choice, Result

EVERYONE = ("Everyone", -1)
"""Label and value of the dropdown when nobody is singled out."""
_WAITING = "Waiting for a photo."
_PICTURES = {
    "overlay": overlay_view,
    "compare": overlay_view,
    "depth": depth_view,
    "marks": marks_view,
    "plan": plan_view,
}


class PhotoHandlers:
    """Handlers of the tab's events; what they return goes to the widgets named there."""

    def __init__(self, context: PageContext, views: list[str], num_files: int) -> None:
        """Serve a tab with these views, in this order, and so many download buttons."""
        self._context = context
        self._views = views
        self._num_files = num_files

    def show(
        self,
        path: str | None,
        threshold: float,
        most: float,
        size: str,
        field_of_view: float,
        view: str,
        person: int,
        request: gr.Request,
    ) -> list[Any]:
        """Summary, asked, person, people shown, all views, all buttons."""
        if path is None:
            return self._nothing(_WAITING)
        choice = Choice(Path(path), threshold, int(most), size, field_of_view)
        try:
            result = self._result(choice, request)
        except gr.Error as error:
            # Not raised: beside the sentence, pictures of the photo before must not stay.
            gr.Warning(error.message, title=error.title)
            return self._nothing(escape(error.message))
        count = len(result.prediction)
        text = summary_text(result.prediction, threshold, result.best_score)
        # The view that is looked at stays until the new one is there.
        views = [gr.skip() if name == view else None for name in self._views]
        kept = person if person < count else EVERYONE[1]
        names = [(person_name(index), index) for index in result.prediction]
        return [
            text,
            choice,
            gr.Dropdown(choices=[EVERYONE, *names], value=kept),
            gr.CheckboxGroup(choices=names, value=list(range(count))),
            *views,
            *self._waiting(),
        ]

    def draw(
        self,
        choice: Choice | None,
        view: str,
        person: int,
        shown: list[int],
        parts: list[str],
        request: gr.Request,
    ) -> list[Any]:
        """All views, of which one changes; the table; who is singled out."""
        if choice is None:
            return [*(None for _ in self._views), "", None]
        result = self._result(choice, request)
        look = self._look(result, person, shown, parts)
        drawn = self._draw_view(view, result, look, choice, request)
        views = [drawn if name == view else gr.skip() for name in self._views]
        return [*views, people_html(result.prediction, look.person), look.person]

    def pick(
        self,
        choice: Choice | None,
        person: int,
        shown: list[int],
        parts: list[str],
        event: gr.SelectData,
        request: gr.Request,
    ) -> int:
        """Who was clicked; the same person once more, or nobody, is everyone."""
        if choice is None:
            return EVERYONE[1]
        result = self._result(choice, request)
        height, width = result.photo.shape[:2]
        x, y = event.index
        look = self._look(result, EVERYONE[1], shown, parts)
        found = person_at(result, look, (x + 0.5) / width, (y + 0.5) / height)
        return EVERYONE[1] if found is None or found == person else found

    def come_back(self, choice: Choice | None, person: int | None) -> Any:  # noqa: ANN401
        """The dropdown, after another tab was looked at."""
        return gr.skip() if choice is None else EVERYONE[1] if person is None else person

    def write(self, choice: Choice | None, request: gr.Request) -> list[Any]:
        """The download buttons with the result files."""
        sessions = self._context.sessions
        if choice is None or not sessions.holds(session_of(request), choice):
            return self._waiting()
        with errors_as_sentences():
            files = sessions.write(session_of(request), choice, self._context.folder(request))
        return [
            gr.DownloadButton(value=file, interactive=True) for file in files[: self._num_files]
        ]

    def _result(self, choice: Choice, request: gr.Request) -> Result:
        with errors_as_sentences():
            return self._context.sessions.result(session_of(request), choice)

    def _look(self, result: Result, person: int, shown: list[int], parts: list[str]) -> Look:
        count = len(result.prediction)
        hidden = frozenset(range(count)) - frozenset(shown)
        chosen = person if 0 <= person < count else None
        return Look(hidden, chosen, tuple(parts))

    def _draw_view(
        self, view: str, result: Result, look: Look, choice: Choice, request: gr.Request
    ) -> Any:  # noqa: ANN401
        save, stem = self._context.save, choice.path.stem
        if view == "parameters":
            if not len(result.prediction):
                return ""
            return parameters_html(result.prediction, look.person or 0)
        with errors_as_sentences():
            if view == "scene":
                scene = save(request, f"{stem}_scene.glb", scene_view(result, look))
                shown = look.shown(len(result.prediction))
                distance = opening_distance(result.prediction.vertices[shown])
                camera = (AROUND_DEGREES, FROM_ABOVE_DEGREES, distance)
                return gr.Model3D(value=scene, camera_position=camera)
            picture = save(request, f"{stem}_{view}.jpg", _PICTURES[view](result, look))
            if view == "compare":
                return save(request, f"{stem}_photo.jpg", result.photo), picture
            return picture

    def _waiting(self) -> list[Any]:
        return [gr.DownloadButton(value=None, interactive=False) for _ in range(self._num_files)]

    def _nothing(self, reason: str) -> list[Any]:
        person = gr.Dropdown(choices=[EVERYONE], value=EVERYONE[1])
        shown = gr.CheckboxGroup(choices=[], value=[])
        return [reason, None, person, shown, *(None for _ in self._views), *self._waiting()]
