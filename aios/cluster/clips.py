"""Tracks of one video as tables."""

from __future__ import annotations

import io
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from ..export.motion import MotionStore
from ..media.container import VideoError
from ..media.photo import PhotoError
from ..pipelines.progress import ProgressReporter
from ..pipelines.video_tracks import FIND, FoundTracks, VideoSettings, find_tracks
from ..predictor import AiOSPredictor
from . import schema
from .attempts import Attempt
from .sources import Source


@dataclass
class ClipTables:
    """Results of one video.

    Attributes:
        files: table -> content of its Parquet file, the marker of a finished part last.
        frames: number of processed frames.
        tracks: number of people.
        failed: 1 if the video has no results.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    frames: int = 0
    tracks: int = 0
    failed: int = 0


def track_clip(
    predictor: AiOSPredictor,
    source: Source,
    settings: VideoSettings,
    origin: dict[str, Any],
    attempt: Attempt,
) -> ClipTables:
    """Track the people of one video.

    Args:
        predictor: detects people.
        source: the video; a remote one is downloaded first.
        settings: of the job.
        origin: values of the columns about weights and body.
        attempt: at the part of this video.
    """
    if attempt.one_by_one and not attempt.starts(0):
        sentence = f"{source.name} could not be processed: it ended the program twice."
        return _failed(source, sentence)
    with tempfile.TemporaryDirectory(prefix="aios-clip-") as folder:
        try:
            path = _local_path(source, Path(folder))
            return _tracked(predictor, path, Path(folder), source, settings, origin)
        except (VideoError, PhotoError) as error:
            return _failed(source, str(error))
        except MemoryError:
            return _failed(source, f"There is not enough memory for {source.name}.")


def _local_path(source: Source, folder: Path) -> Path:
    """Path of a video on this machine; a remote one is copied to `folder`.

    Raises:
        VideoError: it cannot be downloaded.
    """
    try:
        files, path = fsspec.core.url_to_fs(source.location)
        if isinstance(files, fsspec.implementations.local.LocalFileSystem):
            return Path(path)
        target = folder / f"video{Path(path).suffix}"
        with files.open(path, "rb") as remote, target.open("wb") as local:
            shutil.copyfileobj(remote, local, 1 << 20)
    except Exception as error:  # each store raises exceptions of its own
        raise VideoError(f"{source.name} cannot be read: {error}") from error
    return target


def _tracked(
    predictor: AiOSPredictor,
    path: Path,
    folder: Path,
    source: Source,
    settings: VideoSettings,
    origin: dict[str, Any],
) -> ClipTables:
    store = MotionStore(folder / "motion")
    reporter = ProgressReporter(lambda progress: None, {FIND: 1.0})
    found = find_tracks(predictor, path, settings, store, reporter)
    tracks = io.BytesIO()
    with pq.ParquetWriter(tracks, schema.TRACKS, compression="zstd") as writer:
        for rows in store.chunks():
            if len(rows):
                writer.write_batch(_track_rows(source.name, rows, store))
    video = _video_row(source.name, found, store) | origin
    files = {
        "tracks": tracks.getvalue(),
        "videos": schema.rows_bytes([video], schema.VIDEOS),
    }
    return ClipTables(files, len(store.times), len(store.tracks))


def _track_rows(name: str, rows: Any, store: MotionStore) -> pa.RecordBatch:  # noqa: ANN401
    columns = schema.person_columns(rows, len(rows))
    columns["video"] = pa.array([name] * len(rows), pa.string())
    columns["track"] = pa.array(rows["track"], pa.int32())
    columns["frame"] = pa.array(rows["frame"], pa.int32())
    columns["second"] = pa.array(store.times[rows["frame"]], pa.float64())
    return pa.record_batch([columns[field.name] for field in schema.TRACKS], schema=schema.TRACKS)


def _video_row(name: str, found: FoundTracks, store: MotionStore) -> dict[str, Any]:
    return {
        "video": name,
        "frames": len(store.times),
        "seconds": float(store.times[-1]),
        "rate": float(found.rate),
        "tracks": len(store.tracks),
        "notes": " ".join(found.notes) or None,
        "still_camera": found.is_still,
        "on_floor": found.floor is not None,
        **schema.camera_values(found.camera),
    }


def _failed(source: Source, sentence: str) -> ClipTables:
    """Tables of a video without results; the empty table of videos marks its part as finished."""
    row = {"photo": source.name, "problem": sentence}
    files = {
        "failed": schema.rows_bytes([row], schema.FAILED),
        "videos": schema.rows_bytes([], schema.VIDEOS),
    }
    return ClipTables(files, failed=1)
