"""Result files of one photo on the page: whom they contain and with which options."""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from ..export.photo_files import encode_png, write_file, write_results
from ..export.settings import ExportSettings
from ..media.photo import PhotoError
from ..pipelines.export_settings import DEFAULT_EXPORT, ExportChoice
from ..predictor import AiOSPredictor
from .photo_strip import strip_view
from .photo_views import ViewOptions
from .results import PhotoQuery, PhotoResult, content_key, read_upload

FilePeople = Literal["all", "visible", "selected"]
"""People in the result files."""


@dataclass(frozen=True)
class FileChoice:
    """Options of a visitor for the result files.

    Attributes:
        people: whom the files contain; "selected" without a selection is "visible".
        export: options of the 3D files.
    """

    people: FilePeople = "visible"
    export: ExportChoice = DEFAULT_EXPORT

    def indices(self, person: int, shown: Iterable[int]) -> tuple[int, ...] | None:
        """Indices of the people in the files; None for all.

        Args:
            person: index of the selected person; negative for no selection.
            shown: indices of the visible people.
        """
        if self.people == "all":
            return None
        if self.people == "selected" and person >= 0:
            return (person,)
        return tuple(sorted(shown))


@dataclass(frozen=True)
class FilesRequest:
    """Everything that the content of the result files depends on.

    Attributes:
        query: photo and settings.
        people: indices of the people in the files; None for all.
        export: options of the 3D files.
        strip: whether to draw the strip picture.
    """

    query: PhotoQuery
    people: tuple[int, ...] | None = None
    export: ExportChoice = DEFAULT_EXPORT
    strip: bool = True


class PhotoFiles(NamedTuple):
    """Paths of the result files of one photo."""

    json: Path
    npz: Path
    glb: Path
    overlay: Path
    strip: Path | None
    archive: Path
    """ZIP of all files."""
    people: list[Path]
    """Files of each person: SMPL-X archive and extras."""
    numbers: list[int]
    """Numbers of the people in the files, from 1."""


class WrittenFiles:
    """Latest result files of a visitor, by the content of the photo instead of its path."""

    def __init__(self, count: int) -> None:
        """Remember the files of `count` requests."""
        self._latest: deque[tuple[object, AiOSPredictor, PhotoFiles]] = deque(maxlen=count)

    def find(self, request: FilesRequest, predictor: AiOSPredictor) -> PhotoFiles | None:
        """Files of an equal photo with equal options and predictor, unless they were deleted."""
        wanted = _by_content(request)
        for key, owner, files in self._latest:
            if key == wanted and owner is predictor and files.json.is_file():
                return files
        return None

    def add(self, request: FilesRequest, predictor: AiOSPredictor, files: PhotoFiles) -> None:
        """Remember files."""
        self._latest.append((_by_content(request), predictor, files))


def _by_content(request: FilesRequest) -> object:
    """What the result files depend on: content and name of the photo, and all options."""
    path = request.query.path
    try:
        content = content_key(request.query)[0]
    except PhotoError:  # deleted
        content = str(path)
    return content, replace(request, query=replace(request.query, path=Path(path.name)))


def write_photo_files(
    request: FilesRequest, result: PhotoResult, folder: Path, settings: ExportSettings
) -> PhotoFiles:
    """Write the result files, as the command line does, the strip picture and an archive of all.

    Args:
        request: photo and people.
        result: of the photo.
        folder: for the files.
        settings: body and options.

    Raises:
        PhotoError: the photo cannot be read.
        ExportError: a number is not finite.
    """
    path = request.query.path
    prediction, options = result.prediction, ViewOptions()
    if request.people is not None:
        options = ViewOptions(frozenset(prediction) - frozenset(request.people))
        prediction = prediction.select(options.shown(len(prediction)))
    numbers = [int(index) + 1 for index in prediction.person_indices]
    photo = read_upload(path).pixels
    json, npz, glb, overlay, *people = write_results(
        prediction, photo, path.stem, folder, settings, path.name
    )
    strip = None
    if request.strip:
        picture = encode_png(strip_view(result, options))
        strip = write_file(folder / f"{path.stem}_strip.png", picture)
    meshes = [glb] if people else []
    drawn = [overlay] if strip is None else [overlay, strip]
    archive = folder / f"{path.stem}_results.zip"
    with zipfile.ZipFile(archive, "w") as files:
        for file in (json, npz, *meshes, *drawn, *people):
            files.write(file, file.name)
    return PhotoFiles(json, npz, glb, overlay, strip, archive, people, numbers)
