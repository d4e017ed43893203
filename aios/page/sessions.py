"""Many visitors, one predictor: what the network said of each one's last photos, for a while.

The network runs once a photo and input size; another threshold, number of people or field of view
only poses and draws.  Photos are told apart by their content, so the same question is answered
from memory whoever asks it; what nobody present has asked for is dropped.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from ..body.model import BodyModel
from ..export.photo_files import write_results
from ..media.photo import PhotoError, read_photo
from ..pipelines.export_settings import export_settings
from ..prediction import Candidates, Prediction
from ..predictor import AiOSPredictor

SHOWN_SIDE_PX = 1600
"""Pictures for a screen have at most this long side; result files have the photo's own size."""
ENLARGED_SIDE_PX = 1024
"""Smaller photos are enlarged towards this long side, so that lines and numbers are fine."""
MOST_ENLARGED = 2.0
KEPT_SECONDS = 3600.0
_KEPT_BYTES = 300_000_000


@dataclass(frozen=True)
class Choice:
    """What a visitor asks of a photo.

    Attributes:
        path: of the photo.
        threshold: lowest score, 0-1.
        max_people: at most this many, best scores first.
        input_size: one of `AiOSPredictor.input_sizes`.
        field_of_view: degrees across the longer side; 0 keeps the camera that the network assumes.
    """

    path: Path
    threshold: float
    max_people: int
    input_size: str
    field_of_view: float = 0.0


@dataclass(frozen=True)
class Result:
    """The people of one photo as a visitor asked for them.

    Attributes:
        prediction: the people kept, in pixels of the photo.
        candidates: what the network said, before anybody was left out.
        photo: (h, w, 3) uint8 RGB, the photo at screen size.
    """

    prediction: Prediction
    candidates: Candidates
    photo: np.ndarray

    @property
    def best_score(self) -> float:
        """Of all candidates, also of those left out."""
        scores = self.candidates.people.scores
        return float(scores[0]) if len(scores) else 0.0

    @functools.cached_property
    def on_screen(self) -> Prediction:
        """The same people before the camera of `photo`; boxes and keypoints stay the photo's."""
        height, width = self.photo.shape[:2]
        return replace(self.prediction, camera=self.prediction.camera.scaled(width, height))


@dataclass
class _Kept:
    shown: np.ndarray
    candidates: Candidates
    holders: dict[str, float] = field(default_factory=dict)
    """Visitor -> when they asked."""
    last: tuple[Choice, BodyModel, Result] | None = None

    @property
    def nbytes(self) -> int:
        attention = self.candidates.attention
        posed = 0 if self.last is None else self.last[2].prediction.vertices.nbytes
        return self.shown.nbytes + posed + (0 if attention is None else attention.nbytes)


class Sessions:
    """Answers for several visitors at once."""

    def __init__(self, predictor: AiOSPredictor, kept_bytes: int = _KEPT_BYTES) -> None:
        """Serve `predictor`; of the photos kept, the least recent go beyond `kept_bytes`."""
        self.predictor = predictor
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._paths: dict[str, set[Path]] = {}
        self._folders: dict[str, Path] = {}
        self._predictors: dict[str, AiOSPredictor] = {}
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def result(self, session: str, choice: Choice) -> Result:
        """The people of a photo.

        Args:
            session: of the visitor.
            choice: the photo and how to read it.

        Raises:
            PhotoError: the photo cannot be read; the message names no folder.
        """
        kept = self._find(session, choice)
        predictor = self.predictor_of(session)
        if kept.last is not None:
            last_choice, body, result = kept.last
            if body is predictor.body and replace(last_choice, path=choice.path) == choice:
                return result
        prediction = predictor.assemble(kept.candidates, choice.threshold, choice.max_people)
        if choice.field_of_view:
            prediction = prediction.with_field_of_view(choice.field_of_view)
        result = Result(prediction, kept.candidates, kept.shown)
        kept.last = (choice, predictor.body, result)
        self._make_room()
        return result

    def write(self, session: str, choice: Choice, parent: Path) -> list[Path]:
        """Write the result files of a photo, as the command line does, into a new folder.

        Args:
            session: as for `result`.
            choice: as for `result`.
            parent: folder in which the new one is made.

        Returns:
            JSON, NPZ, GLB and the overlay as PNG.

        Raises:
            PhotoError: as for `result`.
            ExportError: a number is not finite.
        """
        prediction = self.result(session, choice).prediction
        folder = tempfile.mkdtemp(prefix="results-", dir=parent)
        path = choice.path
        settings = export_settings(self.predictor_of(session))
        return write_results(prediction, _read(path), path.stem, folder, settings, path.name)

    def predictor_of(self, session: str) -> AiOSPredictor:
        """What answers this visitor: everybody's network, and the visitor's own body if any."""
        return self._predictors.get(session, self.predictor)

    def use_body(self, session: str, body: BodyModel | None) -> None:
        """Pose for this visitor with another body until they leave; None for everybody's."""
        with self._lock:
            self._seen[session] = time.monotonic()
            if body is None:
                self._predictors.pop(session, None)
            else:
                self._predictors[session] = self.predictor.with_body(body)

    def holds(self, session: str, choice: Choice) -> bool:
        """Whether this photo could be worked on for this visitor and is at hand."""
        with self._lock:
            kept = self._kept.get(_key(choice)) if choice.path.is_file() else None
        return kept is not None and session in kept.holders

    def folder(self, session: str, parent: Path) -> Path:
        """A folder for this visitor's files below `parent`, made when first asked for."""
        with self._lock:
            self._seen[session] = time.monotonic()
            found = self._folders.get(session)
            if found is None or not found.is_dir():
                found = Path(tempfile.mkdtemp(prefix="visitor-", dir=parent))
                self._folders[session] = found
            return found

    def hold(self, session: str, uploads: Iterable[Path]) -> None:
        """Note that this visitor sent these files, as perhaps others did, too."""
        with self._lock:
            self._seen[session] = time.monotonic()
            self._paths.setdefault(session, set()).update(uploads)

    def leave(self, session: str) -> list[Path]:
        """A visitor is gone: drop what is kept for them alone and remove their files.

        Returns:
            Files sent by no other visitor, which may now be removed too.
        """
        with self._lock:
            return self._forget(session)

    def sweep(self) -> None:
        """Drop what nobody has asked for in the last hour, and the files of who is gone."""
        with self._lock:
            self._drop_old()

    def _forget(self, session: str) -> list[Path]:
        """As `leave`, for who holds the lock."""
        self._seen.pop(session, None)
        own = self._predictors.pop(session, None)
        for key, kept in list(self._kept.items()):
            kept.holders.pop(session, None)
            if not kept.holders:
                del self._kept[key]
            elif own is not None and kept.last is not None and kept.last[1] is own.body:
                kept.last = None
        folder = self._folders.pop(session, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        others = set().union(*(held for name, held in self._paths.items() if name != session))
        return sorted(self._paths.pop(session, set()) - others)

    def _find(self, session: str, choice: Choice) -> _Kept:
        with self._lock:
            self._drop_old()
        self.hold(session, [choice.path])
        key = _key(choice)
        kept = self._kept.get(key)
        if kept is None:
            # Two who ask for the same at once must not both run the network.
            with self._asking:
                kept = self._kept.get(key) or self._run(choice)
                self._keep(session, key, kept)
        else:
            self._keep(session, key, kept)
        return kept

    def _keep(self, session: str, key: tuple[str, str], kept: _Kept) -> None:
        with self._lock:
            kept.holders[session] = time.monotonic()
            self._kept[key] = kept
            self._kept.move_to_end(key)

    def _make_room(self) -> None:
        """Drop the least recent photos beyond what may be kept, but not the last one."""
        with self._lock:
            while len(self._kept) > 1 and self._total_bytes() > self._kept_bytes:
                self._kept.popitem(last=False)

    def _run(self, choice: Choice) -> _Kept:
        photo = _read(choice.path)
        sizes = self.predictor.input_sizes
        candidates = self.predictor.find_candidates(
            photo, image=sizes[choice.input_size], with_attention=True
        )
        return _Kept(_screen_size(photo), candidates)

    def _drop_old(self) -> None:
        oldest = time.monotonic() - KEPT_SECONDS
        for key, kept in list(self._kept.items()):
            if max(kept.holders.values(), default=oldest) <= oldest:
                del self._kept[key]
        # Programs come and go without a word.
        for session in [name for name, seen in self._seen.items() if seen <= oldest]:
            folder = self._folders.get(session)
            if folder is None or _is_quiet(folder):
                self._forget(session)

    def _total_bytes(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())


def _is_quiet(folder: Path) -> bool:
    """Whether nothing below was written lately; a video may be worked on for hours."""
    oldest = time.time() - KEPT_SECONDS
    return all(path.lstat().st_mtime <= oldest for path in (folder, *folder.rglob("*")))


def _key(choice: Choice) -> tuple[str, str]:
    """What decides the network's answer.

    Raises:
        PhotoError: there is no such file.
    """
    try:
        about = choice.path.stat()
    except OSError as error:
        raise PhotoError(f"There is no file {choice.path.name}.") from error
    return _digest(choice.path, about.st_size, about.st_mtime_ns), choice.input_size


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    """Of the content of a file, which is read again when its size or time of change differ."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> np.ndarray:
    try:
        return read_photo(path)
    except PhotoError as error:
        # Where uploads lie on this machine is no visitor's business.
        raise PhotoError(str(error).replace(str(path), path.name)) from error


def _screen_size(photo: np.ndarray) -> np.ndarray:
    """A copy that fits a screen."""
    height, width = photo.shape[:2]
    longer = max(height, width)
    scale = min(SHOWN_SIDE_PX / longer, max(ENLARGED_SIDE_PX / longer, 1.0), MOST_ENLARGED)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, size, interpolation=how) if scale != 1 else photo
