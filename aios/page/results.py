"""Results of single photos, from a cache of network outputs shared by all visitors.

The network runs once per photo content and input size. Changing the threshold, the number of
people or the field of view only poses and draws again. Entries without a holder are dropped.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

import cv2
import numpy as np

from ..body.model import BodyModel
from ..media.decoder import DecodedPhoto, read_photo_apart
from ..media.photo import PhotoError
from ..prediction import Candidates, Prediction
from ..predictor import AiOSPredictor

MAX_ENTRIES = 32
"""Photos in memory at most: calls of the API, each with another photo, reach this soon."""
SCREEN_SIDE_PX = 1600
"""Longest side of pictures on the page. Result files keep the size of the photo."""
ENLARGED_SIDE_PX = 1024
"""Smaller photos are enlarged towards this longer side, to keep lines and labels sharp."""
MAX_ENLARGEMENT = 2.0


@dataclass(frozen=True)
class PhotoQuery:
    """A photo and the settings to process it with.

    Attributes:
        path: photo file.
        threshold: minimum score, 0-1.
        max_people: maximum number of people; the highest scores are kept.
        input_size: key of `AiOSPredictor.input_sizes`.
        field_of_view: degrees across the longer side; 0 takes that of the EXIF data, else that of
            the model.
        refine: whether poses are refined to the keypoints; None takes that of the predictor.
    """

    path: Path
    threshold: float
    max_people: int
    input_size: str
    field_of_view: float = 0.0
    refine: bool | None = None


@dataclass(frozen=True)
class PhotoResult:
    """People of one photo after filtering by a `PhotoQuery`.

    Attributes:
        prediction: people kept, in pixels of the photo.
        candidates: all candidates of the network, before filtering.
        photo: (h, w, 3) uint8 RGB, the photo at screen size.
        note: one sentence if the end of the file is missing; else empty.
    """

    prediction: Prediction
    candidates: Candidates
    photo: np.ndarray
    note: str = ""

    @property
    def best_score(self) -> float:
        """Highest score among all candidates, 0 without any."""
        scores = self.candidates.people.scores
        return float(scores[0]) if len(scores) else 0.0

    @functools.cached_property
    def on_screen(self) -> Prediction:
        """`prediction` with the camera of `photo`; boxes and keypoints stay in photo pixels."""
        height, width = self.photo.shape[:2]
        return replace(self.prediction, camera=self.prediction.camera.scaled(width, height))


@dataclass
class _Entry:
    """Cached network output of one photo at one input size."""

    photo: np.ndarray
    candidates: Candidates
    field_of_view: float | None = None
    """Degrees, of the EXIF data."""
    note: str = ""
    """See `PhotoResult`."""
    holders: dict[Hashable, float] = field(default_factory=dict)
    """Holder -> monotonic time of its last query."""
    last: tuple[PhotoQuery, BodyModel, PhotoResult] | None = None

    @property
    def nbytes(self) -> int:
        attention = self.candidates.attention
        posed = 0 if self.last is None else self.last[2].prediction.vertices.nbytes
        return self.photo.nbytes + posed + (0 if attention is None else attention.nbytes)


class ResultCache:
    """Least-recently-used cache of network outputs. Safe to use from several threads."""

    def __init__(self, predictor: AiOSPredictor, max_bytes: int) -> None:
        """Create an empty cache.

        Args:
            predictor: runs the network.
            max_bytes: size above which the least recently used entries are dropped. The latest
                entry always stays.
        """
        self._predictor = predictor
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._running: WeakValueDictionary[tuple[str, str], threading.Lock] = WeakValueDictionary()

    def result(self, holder: Hashable, predictor: AiOSPredictor, query: PhotoQuery) -> PhotoResult:
        """Return the result of a photo and register `holder` for it.

        Args:
            holder: visit that asks.
            predictor: poses the people; its network is that of the cache.
            query: photo and settings.

        Raises:
            PhotoError: the photo cannot be read. The message contains no folder.
        """
        entry = self._find(holder, query)
        if entry.last is not None:
            last_query, body, result = entry.last
            if body is predictor.body and replace(last_query, path=query.path) == query:
                return result
        if query.refine is not None:
            predictor = predictor.with_refinement(query.refine)
        prediction = predictor.assemble(entry.candidates, query.threshold, query.max_people)
        if query.field_of_view:
            prediction = prediction.with_field_of_view(query.field_of_view)
        elif entry.field_of_view is not None:
            prediction = prediction.with_field_of_view(entry.field_of_view, "exif")
        result = PhotoResult(prediction, entry.candidates, entry.photo, entry.note)
        entry.last = (query, predictor.body, result)
        self._shrink()
        return result

    def holds(self, holder: Hashable, query: PhotoQuery) -> bool:
        """Return whether the network output of a photo is cached for `holder`."""
        if not query.path.is_file():
            return False
        key = content_key(query)
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and holder in entry.holders

    def release(self, holder: Hashable, body: BodyModel | None = None) -> None:
        """Unregister a holder and drop the entries that it alone held.

        Args:
            holder: as for `result`.
            body: body of this holder alone. Results posed with it are dropped.
        """
        with self._lock:
            for key, entry in list(self._entries.items()):
                entry.holders.pop(holder, None)
                if not entry.holders:
                    del self._entries[key]
                elif entry.last is not None and entry.last[1] is body:
                    entry.last = None

    def drop_expired(self, oldest: float) -> None:
        """Drop entries that no holder has queried since the monotonic time `oldest`."""
        with self._lock:
            for key, entry in list(self._entries.items()):
                if max(entry.holders.values(), default=oldest) <= oldest:
                    del self._entries[key]

    @property
    def nbytes(self) -> int:
        """Memory of all entries."""
        with self._lock:
            return self._nbytes()

    def _find(self, holder: Hashable, query: PhotoQuery) -> _Entry:
        key = content_key(query)
        entry = self._register(key, holder, None)
        if entry is None:
            with self._lock:
                running = self._running.setdefault(key, threading.Lock())
            # Simultaneous queries for one photo share one run; other photos do not wait for it.
            with running:
                entry = self._register(key, holder, None)
                if entry is None:
                    entry = self._register(key, holder, self._run(query))
        assert entry is not None
        return entry

    def _register(
        self, key: tuple[str, str], holder: Hashable, new: _Entry | None
    ) -> _Entry | None:
        """Add `holder` to the entry of `key`; `new` becomes that entry unless it is None."""
        with self._lock:
            entry = new or self._entries.get(key)
            if entry is not None:
                entry.holders[holder] = time.monotonic()
                self._entries[key] = entry
                self._entries.move_to_end(key)
            return entry

    def _run(self, query: PhotoQuery) -> _Entry:
        photo, field_of_view, note = read_upload(query.path)
        size = self._predictor.input_sizes[query.input_size]
        candidates = self._predictor.find_candidates(photo, image=size, with_attention=True)
        return _Entry(_screen_size(photo), candidates, field_of_view, note)

    def _shrink(self) -> None:
        with self._lock:
            while len(self._entries) > MAX_ENTRIES or (
                len(self._entries) > 1 and self._nbytes() > self._max_bytes
            ):
                self._entries.popitem(last=False)

    def _nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._entries.values())


def read_upload(path: Path) -> DecodedPhoto:
    """Read an uploaded photo in another process.

    Raises:
        PhotoError: the photo cannot be read. The message contains the file name only, because
            server folders are private.
    """
    try:
        return read_photo_apart(path)
    except PhotoError as error:
        raise PhotoError(str(error).replace(str(path), path.name)) from error


def content_key(query: PhotoQuery) -> tuple[str, str]:
    """Content hash and input size, on which the network output depends.

    Raises:
        PhotoError: the file does not exist.
    """
    try:
        status = query.path.stat()
        digest = _digest(query.path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise PhotoError(f"{query.path.name} is no longer on the server: send it again.") from error
    return digest, query.input_size


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    """SHA-256 of a file, cached until its size or modification time changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _screen_size(photo: np.ndarray) -> np.ndarray:
    height, width = photo.shape[:2]
    longer = max(height, width)
    scale = min(SCREEN_SIDE_PX / longer, max(ENLARGED_SIDE_PX / longer, 1.0), MAX_ENLARGEMENT)
    if scale == 1:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, size, interpolation=interpolation)
