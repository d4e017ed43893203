"""Visit of one person to the page: files, body model and cached results."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ..body.model import BodyModel
from ..pipelines.live import LiveStream
from ..predictor import AiOSPredictor
from .photo_files import FilesRequest, PhotoFiles, WrittenFiles, write_photo_files
from .result_folders import ResultFolders
from .results import PhotoQuery, PhotoResult, ResultCache

MAX_WAIT_SECONDS = 6 * 3600.0
"""Uploads of a queued job expire after this time at the latest."""
_JPEG_QUALITY = 90
_OLDER_FILES = 3
"""Earlier files of one name that stay, because the browser may still be fetching them."""

_log = logging.getLogger(__name__)


class VisitEndedError(RuntimeError):
    """The visitor has left, or the visit has expired, while a request was running."""

    def __init__(self) -> None:
        """Create the error with its only message."""
        super().__init__("This visit has ended: reload the page.")


class Visit:
    """One visitor between the first request and the end of the visit.

    Every request uses the visit that it started with. After the end, all methods that would
    register something raise `VisitEndedError`.
    """

    def __init__(
        self, predictor: AiOSPredictor, cache: ResultCache, folders: ResultFolders, parent: Path
    ) -> None:
        """Start a visit.

        Args:
            predictor: predictor of the page.
            cache: network outputs of all visitors.
            folders: folders of result files of all visitors.
            parent: folder in which the folder of this visit is created.
        """
        self._folders = folders
        self._page_predictor = predictor
        self._cache = cache
        self._parent = parent
        self._own_predictor: AiOSPredictor | None = None
        self._folder: Path | None = None
        self._uploads: set[Path] = set()
        self._saved: dict[str, deque[Path]] = {}
        self._digests: dict[Path, bytes] = {}
        self._in_use: dict[Path, float] = {}
        self._wanted_files: FilesRequest | None = None
        self._written_files = WrittenFiles(1 + _OLDER_FILES)
        self._stream: LiveStream | None = None
        self._last_request = time.monotonic()
        self._ended = False
        self._lock = threading.RLock()

    @property
    def predictor(self) -> AiOSPredictor:
        """Predictor of the page, with the body model of the visitor if there is one."""
        return self._own_predictor or self._page_predictor

    @property
    def uploads(self) -> frozenset[Path]:
        """Files sent by this visitor."""
        with self._lock:
            return frozenset(self._uploads)

    @property
    def has_ended(self) -> bool:
        """Whether the visitor has left or the visit has expired."""
        with self._lock:
            return self._ended

    def touch(self) -> None:
        """Restart the time until expiry."""
        with self._lock:
            self._last_request = time.monotonic()

    def use_body(self, body: BodyModel | None) -> None:
        """Pose with another body model until the visit ends; None for that of the page."""
        with self._active():
            own = None if body is None else self._page_predictor.with_body(body)
            self._own_predictor = own

    def stream(self) -> LiveStream:
        """Return the webcam stream of this visit, a new one after a change of the body model."""
        with self._active():
            old = self._stream
            if old is None or old.predictor is not self.predictor:
                self._stream = LiveStream(self.predictor)
                if old is not None:
                    old.close()
            assert self._stream is not None
            return self._stream

    def end_stream(self) -> None:
        """Stop the webcam stream and drop its frames."""
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def result(self, query: PhotoQuery) -> PhotoResult:
        """Return the people of a photo.

        Raises:
            PhotoError: the photo cannot be read. The message contains no folder.
            VisitEndedError: the visit ended meanwhile; nothing is kept.
        """
        self.add_uploads([query.path])
        own = self._own_predictor
        result = self._cache.result(self, own or self._page_predictor, query)
        if self.has_ended:
            # The entry may have been registered after `end` released the others.
            self._cache.release(self, None if own is None else own.body)
            raise VisitEndedError
        return result

    def holds(self, query: PhotoQuery) -> bool:
        """Return whether `result` answers this query without running the network."""
        return self._cache.holds(self, query)

    def want_files(self, request: FilesRequest) -> bool:
        """Note which files the visitor wants, and return whether they are written."""
        with self._lock:
            self._wanted_files = request
            return self._written_files.find(request, self.predictor) is not None

    def wants_files(self, request: FilesRequest) -> bool:
        """Return whether `want_files` was last called with this request."""
        with self._lock:
            return self._wanted_files == request

    def write(self, request: FilesRequest) -> PhotoFiles:
        """Return the result files of a photo, written into a new folder unless they exist.

        A photo that is sent again shares them.

        Raises:
            PhotoError: as for `result`.
            ExportError: a number is not finite.
            VisitEndedError: as for `result`.
        """
        with self._lock:
            files = self._written_files.find(request, self.predictor)
        if files is None:
            predictor = self.predictor
            result = self.result(request.query)
            folder = self._new_version("results", "results")
            settings = request.export.settings(predictor)
            with self._deleting_if_ended(folder):
                files = write_photo_files(request, result, folder, settings)
                self._folders.add(self, folder)
            with self._lock:
                self._written_files.add(request, predictor, files)
        return files

    @contextmanager
    def _deleting_if_ended(self, folder: Path) -> Iterator[None]:
        """Delete what was written after the end of the visit.

        Raises:
            VisitEndedError: the visit has ended.
        """
        try:
            yield
        except OSError:  # the folder was deleted meanwhile
            if not self.has_ended:
                raise
        if self.has_ended:
            self._folders.drop(self)
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise VisitEndedError

    def folder(self) -> Path:
        """Return the folder for files of this visit, created by the first call."""
        with self._active():
            if self._folder is None or not self._folder.is_dir():
                self._folder = Path(tempfile.mkdtemp(prefix="visitor-", dir=self._parent))
            return self._folder

    def new_folder(self, name: str) -> Path:
        """Create an empty folder inside the folder of this visit."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder()))

    def save(self, name: str, content: bytes | np.ndarray) -> str:
        """Write a file for the browser and delete older files of the same name.

        Args:
            name: file name. The suffix of a picture is `.jpg` or `.png`.
            content: bytes, or a picture (h, w, 3) uint8 RGB.

        Returns:
            A path that is new for each content, because browsers cache by address.
        """
        if isinstance(content, np.ndarray):
            content = _encode(content, Path(name).suffix)
        digest = hashlib.sha256(content).digest()
        with self._lock:
            for old in self._saved.get(name, ()):
                if self._digests.get(old) == digest and (old / name).is_file():
                    return str(old / name)
        folder = self._new_version("file", name)
        (folder / name).write_bytes(content)
        with self._lock:
            self._digests[folder] = digest
        return str(folder / name)

    def _new_version(self, prefix: str, name: str) -> Path:
        """Create a folder for the files of a name, and delete the oldest earlier ones."""
        folder = self.new_folder(prefix)
        with self._lock:
            folders = self._saved.setdefault(name, deque())
            folders.append(folder)
            expired = [folders.popleft() for _ in range(len(folders) - 1 - _OLDER_FILES)]
            for old in expired:
                self._digests.pop(old, None)
        for old in expired:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def add_uploads(self, paths: Iterable[Path]) -> None:
        """Register files sent by this visitor."""
        with self._active():
            self._uploads.update(paths)

    def reserve(self, paths: Iterable[Path]) -> None:
        """Keep the uploads of a job that waits in the queue, for `MAX_WAIT_SECONDS` at most."""
        self._keep(paths, time.monotonic() + MAX_WAIT_SECONDS)

    def release(self, paths: Iterable[Path]) -> bool:
        """End the protection of files, which then expire one hour later.

        Returns:
            Whether any of them was protected.
        """
        with self._lock:
            released = [path for path in paths if self._in_use.pop(path, None) is not None]
            self._last_request = time.monotonic()
        for path in released:
            _reset_age(path)
        return bool(released)

    @contextmanager
    def working(self, paths: Iterable[Path]) -> Iterator[None]:
        """Keep the visit and the uploads of a job while the job runs."""
        paths = list(paths)
        self._keep(paths, math.inf)
        try:
            yield
        finally:
            self.release(paths)

    def refresh(self) -> None:
        """Reset the age of files in use."""
        now = time.monotonic()
        with self._lock:
            self._in_use = {path: end for path, end in self._in_use.items() if end > now}
            paths = list(self._in_use)
            stream = self._stream
        for path in paths:
            _reset_age(path)
        if stream is not None and stream.is_idle():
            self.end_stream()

    def is_expired(self, oldest: float) -> bool:
        """Return whether no job runs and the last request was before monotonic time `oldest`."""
        with self._lock:
            in_use = any(end > time.monotonic() for end in self._in_use.values())
            return not in_use and self._last_request <= oldest

    def end(self) -> None:
        """End the visit: drop its results and delete its folder."""
        with self._lock:
            self._ended = True
            folder, self._folder = self._folder, None
            own, self._own_predictor = self._own_predictor, None
            self._in_use.clear()
            stream, self._stream = self._stream, None
        self._cache.release(self, None if own is None else own.body)
        self._folders.drop(self)
        if stream is not None:
            stream.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, paths: Iterable[Path], end: float) -> None:
        with self._active():
            for path in paths:
                self._uploads.add(path)
                self._in_use[path] = end
                _reset_age(path)

    @contextmanager
    def _active(self) -> Iterator[None]:
        with self._lock:
            if self._ended:
                raise VisitEndedError
            self._last_request = time.monotonic()
            yield


def _encode(picture: np.ndarray, suffix: str) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _reset_age(path: Path) -> None:
    """Set the status change time, by which Gradio's cache deletion measures age, to now."""
    try:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        _log.debug("A file in use is gone: %s", path.name)
