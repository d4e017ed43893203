"""One worker: a predictor that is loaded once, and the results of one part after another."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch

from ..body.model import BodyModelError
from ..cli import StartError
from ..export.checks import ExportError, check_finite
from ..export.photo_files import prediction_to_glb
from ..media.photo import PhotoError
from ..media.prefetch import prefetch
from ..pipelines.batches import Batching, PeopleLimits, PhotoWork, batch_size, predicted
from ..pipelines.fingerprint import weights_checksum
from ..pipelines.video_tracks import VideoSettings
from ..prediction import Prediction
from ..predictor import AiOSPredictor
from ..weights.checkpoint import CheckpointError
from . import schema
from .attempts import Attempt
from .clips import track_clip
from .parts import Part
from .sources import archive_items, photo_items
from .store import MESHES, Store, file_name

_log = logging.getLogger(__name__)

_WINDOW_BATCHES = 4
_REMOTE_READERS = 16
"""Threads that read and decode remote photos; most of their time is spent waiting."""

Meshes = Literal["none", "glb", "vertices"]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know; sent to each.

    Attributes:
        out: folder or bucket of results.
        weights: see `AiOSPredictor.from_pretrained`, as are `body`, `speed` and `refine`.
        input_size: see `AiOSPredictor.with_input_size`.
        checksum: SHA-256 that the weights must have; empty accepts any.
        limits: which people are kept, and the camera of photos.
        clips: settings of videos.
        meshes: "glb" writes a GLB for each photo, "vertices" adds a column to the people.
        batch: photos per run of the network; None for the fastest.
        threads: CPU threads of a worker.
        on_gpu: whether the worker has a GPU.
    """

    out: str
    weights: str = "builtin"
    body: str | None = None
    speed: Literal["exact", "fast"] = "exact"
    refine: bool | None = None
    input_size: str = "full"
    checksum: str = ""
    limits: PeopleLimits = PeopleLimits()
    clips: VideoSettings = VideoSettings()
    meshes: Meshes = "none"
    batch: int | None = None
    threads: int = 1
    on_gpu: bool = False

    def to_bytes(self) -> bytes:
        """Bytes for `from_bytes`, to another process of this program."""
        return pickle.dumps(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Inverse of `to_bytes`."""
        settings = pickle.loads(content)
        assert isinstance(settings, cls)
        return settings


@dataclass
class PartResult:
    """Outcome of a part.

    Attributes:
        key: of the part.
        photos: number of photos with results; frames of a video.
        people: number of people in them; tracks of a video.
        failed: number of photos or videos that failed.
        seconds: of work.
        peak_mb: largest memory of the worker so far.
        attempt: number of the attempt that succeeded; 0 if the part had been finished before.
        pid: process of the worker.
        error: why the part has no results; empty if it has.
    """

    key: str
    photos: int = 0
    people: int = 0
    failed: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    attempt: int = 0
    pid: int = 0
    error: str = ""


@dataclass
class _Tables:
    """Rows of one part of photos."""

    people: list[pa.RecordBatch] = field(default_factory=list)
    photos: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


class PartWorker:
    """Processes parts; Ray makes one in each worker process."""

    def __init__(self) -> None:
        """Load nothing yet: an error of the first part is reported like any other."""
        self._settings: WorkerSettings | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Process one part.

        Args:
            row: `part`, see `Part.to_json`, and `settings`, see `WorkerSettings.to_bytes`.

        Returns:
            A `PartResult` as a dictionary.
        """
        part, start = Part.from_json(row["part"]), time.monotonic()
        result = PartResult(part.key, pid=os.getpid())
        try:
            self._load(WorkerSettings.from_bytes(row["settings"]))
            # A task that is repeated after the loss of a worker may have finished parts.
            marker = file_name("videos" if part.kind == "clip" else "photos", part.key)
            if not self._store.exists(marker):
                self._process(part, result)
        except (BodyModelError, CheckpointError, StartError) as error:
            result.error = str(error)
        except Exception as error:  # each store raises exceptions of its own
            _log.error("A part failed", exc_info=error)
            result.error = f"A part has no results: {error}"
        result.seconds = time.monotonic() - start
        result.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_MB
        return asdict(result)

    def _load(self, settings: WorkerSettings) -> None:
        """Load weights and body, once.

        Raises:
            CheckpointError: the weights are not available here, or are others than those of the
                first machine.
            BodyModelError: the body is not available here.
        """
        if settings == self._settings:
            return
        torch.set_num_threads(settings.threads)
        self._store = Store(settings.out)
        self._predictor = AiOSPredictor.from_pretrained(
            settings.weights,
            settings.body,
            "cuda" if settings.on_gpu else "cpu",
            settings.speed,
            settings.refine,
        ).with_input_size(settings.input_size)
        checksum = weights_checksum(self._predictor)
        if settings.checksum not in ("", checksum):
            path = self._predictor.weights.path
            raise CheckpointError(f"{path} differs between the machines: copy it to all of them.")
        self._origin = {
            "weights_sha256": checksum,
            "body": self._predictor.body.name,
            "refined": self._predictor.refine,
            "input_size": settings.input_size,
        }
        self._batch = settings.batch or batch_size(self._predictor)
        self._limits, self._meshes = settings.limits, settings.meshes
        self._clips, self._threads = settings.clips, settings.threads
        self._settings = settings

    def _process(self, part: Part, result: PartResult) -> None:
        attempt = Attempt.begin(self._store, part.key)
        result.attempt = attempt.number
        if part.kind == "clip":
            clip = track_clip(self._predictor, part.sources[0], self._clips, self._origin, attempt)
            result.photos, result.people, result.failed = clip.frames, clip.tracks, clip.failed
            for name, content in clip.files.items():
                self._store.write(file_name(name, part.key), content)
        else:
            tables = self._photos(part, attempt)
            result.photos, result.failed = len(tables.photos), len(tables.failed)
            result.people = sum(batch.num_rows for batch in tables.people)
            self._write(part.key, tables)
        attempt.end()

    def _photos(self, part: Part, attempt: Attempt) -> _Tables:
        tables = _Tables()
        with closing(prefetch(self._works(part, attempt))) as works:
            for work in works:
                if _device_is_lost(work.error):
                    # Nothing works in this process any more; another one tries the part again.
                    os._exit(1)
                self._add(work, part.key, tables)
        return tables

    def _works(self, part: Part, attempt: Attempt) -> Iterator[PhotoWork]:
        archive = part.kind == "archive"
        items = archive_items(part.sources[0]) if archive else photo_items(part.sources)
        if not attempt.one_by_one:
            yield from predicted(self._predictor, items, self._limits, self._batching(part))
            return
        for index, item in enumerate(items):
            if attempt.starts(index):
                yield from predicted(self._predictor, [item], self._limits, Batching(1, 1, 1))
            else:
                sentence = f"{item.name} could not be processed: it ended the program twice."
                yield PhotoWork(index, item, error=PhotoError(sentence))

    def _batching(self, part: Part) -> Batching:
        remote = part.kind == "photos" and any("://" in source.location for source in part.sources)
        threads = _REMOTE_READERS if remote else self._threads
        return Batching(self._batch, _WINDOW_BATCHES * self._batch, threads)

    def _add(self, work: PhotoWork, key: str, tables: _Tables) -> None:
        """Add the rows of one photo."""
        name, meshes = work.item.name, self._meshes
        rows: list[pa.RecordBatch] = []
        mesh: list[str] = []

        def convert(prediction: Prediction, photo: np.ndarray) -> None:
            check_finite(prediction)
            with_vertices = meshes == "vertices"
            rows.append(schema.people_batch(name, prediction, self._origin, with_vertices))
            if meshes == "glb":
                mesh.append(f"{MESHES}/{key}/{len(tables.photos):06d}.glb")
                self._store.write(mesh[0], prediction_to_glb(prediction))

        try:
            prediction = work.finish(convert)
        except (ExportError, PhotoError) as error:
            tables.failed.append({"photo": name, "problem": str(error)})
            return
        if work.note:
            _log.warning("%s", work.note)
        tables.people += rows
        tables.photos.append(
            {
                "photo": name,
                "width": prediction.camera.width,
                "height": prediction.camera.height,
                "people": len(prediction),
                "mesh": mesh[0] if mesh else None,
                **self._origin,
            }
        )

    def _write(self, key: str, tables: _Tables) -> None:
        """Write the tables, the marker of a finished part last."""
        vertices = self._meshes == "vertices"
        people = schema.PEOPLE_WITH_VERTICES if vertices else schema.PEOPLE
        self._store.write(file_name("people", key), schema.table_bytes(tables.people, people))
        if tables.failed:
            content = schema.rows_bytes(tables.failed, schema.FAILED)
            self._store.write(file_name("failed", key), content)
        content = schema.rows_bytes(tables.photos, schema.PHOTOS)
        self._store.write(file_name("photos", key), content)


_MAXRSS_PER_MB = 1_000_000 if sys.platform == "darwin" else 1000


def _device_is_lost(error: Exception | None) -> bool:
    """Whether an error of a GPU leaves it unusable for this process."""
    accelerator: Any = getattr(torch, "AcceleratorError", ())
    return isinstance(error, accelerator) and not isinstance(error, torch.OutOfMemoryError)
