"""Many visitors, one predictor: each one's last photo and its candidates, kept for a while.

The network runs once a photo; another score threshold or number of people only poses and draws.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .export import write_results
from .people import Prediction
from .photo import PhotoError, read_photo
from .predictor import AiOSPredictor, Candidates
from .render import depth_picture, overlay

SHOWN_SIDE_PX = 1600
"""Pictures for a screen have at most this long side; result files have the photo's own size."""
KEPT_SECONDS = 3600.0
_KEPT_BYTES = 400_000_000


@dataclass(frozen=True)
class View:
    """One photo as a visitor sees it.

    Attributes:
        prediction: the people kept, in pixels of the photo.
        best_score: of all candidates, also of those left out.
        photo: (h, w, 3) uint8 RGB, the photo at screen size.
        overlay: (h, w, 3) uint8 RGB, the meshes over it.
        depth: (h, w, 3) uint8 RGB, the people coloured and numbered from near to far.
    """

    prediction: Prediction
    best_score: float
    photo: np.ndarray
    overlay: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class _Kept:
    path: Path
    photo: np.ndarray
    shown: np.ndarray
    candidates: Candidates
    since: float

    @property
    def bytes(self) -> int:
        return self.photo.nbytes + self.shown.nbytes


class Sessions:
    """Answers for several visitors at once; the network runs for one of them at a time."""

    def __init__(self, predictor: AiOSPredictor, kept_bytes: int = _KEPT_BYTES) -> None:
        """Serve `predictor`; of the photos kept, the least recent go beyond `kept_bytes`."""
        self.predictor = predictor
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._folders: dict[str, Path] = {}
        self._table_lock = threading.Lock()

    def view(self, session: str, path: Path, threshold: float, max_people: int) -> View:
        """What to show of a photo.

        Args:
            session: of the visitor; one photo is kept for each.
            path: of the photo; the network runs unless it was this visitor's last photo.
            threshold: lowest score, 0-1.
            max_people: at most this many, best scores first.

        Raises:
            PhotoError: the photo cannot be read; the message names no folder.
        """
        kept = self._find(session, path)
        prediction = self.predictor.assemble(kept.candidates, threshold, max_people)
        shown = kept.shown
        camera = prediction.camera.scaled(shown.shape[1], shown.shape[0])
        vertices, faces = prediction.vertices, prediction.faces
        scores = kept.candidates.people.scores
        return View(
            prediction=prediction,
            best_score=float(scores[0]) if len(scores) else 0.0,
            photo=shown,
            overlay=overlay(shown, vertices, faces, camera),
            depth=depth_picture(shown, vertices, faces, camera, prediction.depth_order),
        )

    def write(
        self, session: str, path: Path, threshold: float, max_people: int, parent: Path
    ) -> list[Path]:
        """Write the result files of a photo, as the command line does, into a new folder.

        Args:
            session: as for `view`.
            path: as for `view`.
            threshold: as for `view`.
            max_people: as for `view`.
            parent: folder in which the new one is made.

        Returns:
            JSON, NPZ, GLB and the overlay as PNG.

        Raises:
            PhotoError: as for `view`.
            ExportError: a number is not finite.
        """
        kept = self._find(session, path)
        prediction = self.predictor.assemble(kept.candidates, threshold, max_people)
        folder = tempfile.mkdtemp(prefix="results-", dir=parent)
        return write_results(prediction, kept.photo, path.stem, folder, path.name)

    def holds(self, session: str, path: Path) -> bool:
        """Whether this is the visitor's photo of last time, which could be worked on."""
        with self._table_lock:
            kept = self._kept.get(session)
        return kept is not None and kept.path == path

    def folder(self, session: str, parent: Path) -> Path:
        """A folder for this visitor's files below `parent`, made when first asked for."""
        with self._table_lock:
            found = self._folders.get(session)
            if found is None or not found.is_dir():
                found = Path(tempfile.mkdtemp(prefix="visitor-", dir=parent))
                self._folders[session] = found
            return found

    def leave(self, session: str) -> None:
        """A visitor is gone: drop what is kept and remove the files."""
        self.forget(session)
        with self._table_lock:
            folder = self._folders.pop(session, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self, session: str) -> None:
        """Drop what is kept for a visitor."""
        with self._table_lock:
            self._kept.pop(session, None)

    def _find(self, session: str, path: Path) -> _Kept:
        with self._table_lock:
            self._drop_old()
            kept = self._kept.get(session)
        if kept is not None and kept.path == path:
            return kept
        self.forget(session)
        photo = _read(path)
        candidates = self.predictor.find_candidates(photo)
        kept = _Kept(path, photo, _screen_size(photo), candidates, time.monotonic())
        with self._table_lock:
            self._kept[session] = kept
            self._kept.move_to_end(session)
            while len(self._kept) > 1 and self._total_bytes() > self._kept_bytes:
                self._kept.popitem(last=False)
        return kept

    def _drop_old(self) -> None:
        oldest = time.monotonic() - KEPT_SECONDS
        for session in [name for name, kept in self._kept.items() if kept.since < oldest]:
            del self._kept[session]

    def _total_bytes(self) -> int:
        return sum(kept.bytes for kept in self._kept.values())


def _read(path: Path) -> np.ndarray:
    try:
        return read_photo(path)
    except PhotoError as error:
        # Where uploads lie on this machine is no visitor's business.
        raise PhotoError(str(error).replace(str(path), path.name)) from error


def _screen_size(photo: np.ndarray) -> np.ndarray:
    """`photo` itself if it is small enough, else a smaller copy."""
    height, width = photo.shape[:2]
    scale = SHOWN_SIDE_PX / max(height, width)
    if scale >= 1:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
