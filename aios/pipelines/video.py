"""Reconstruct the people of a video: overlay video, motion files and a summary.

The video is read twice. The first pass detects and tracks people. The second pass draws them with
results of the whole video: the mean shape of each person, without tracks that are too short. The
next frame is decoded while the network runs, and posed while one is drawn and encoded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..export.motion import MotionStore
from ..export.motion_files import motion_to_npz, write_track_files
from ..export.photo_json import CONVENTIONS, camera_to_json
from ..export.placement import AT_CAMERA, Placement, SceneBounds
from ..geometry.camera import Camera
from ..geometry.floor import Floor
from ..media.photo import utf8_text
from ..media.prefetch import prefetch
from ..media.video_reader import Frame, VideoReader
from ..media.video_writer import VideoWriter, playable_size
from ..prediction import Prediction
from ..predictor import AiOSPredictor
from ..render.colors import person_colors
from .output_names import UNFINISHED
from .progress import ProgressCallback, ProgressReporter
from .stream_tracker import StreamTracker, TrackedPeople
from .video_drawing import draw_people
from .video_tracks import FIND, VideoSettings, find_tracks

DRAW, WRITE = "Drawing, frame", "Writing files, person"
"""Stages of the progress."""
_STAGES = {FIND: 1.0, DRAW: 0.6, WRITE: 0.02}


@dataclass(frozen=True)
class VideoResult:
    """Result files of a video and the content of the summary.

    Attributes:
        overlay: MP4 with the meshes drawn over the video.
        npz: parameters of all frames and people.
        json: summary.
        motions: a BVH and an animated GLB for each person.
        summary: content of `json`.
        camera: of all frames.
        bounds: of all posed people.
        placement: of the camera in the motion files.
    """

    overlay: Path
    npz: Path
    json: Path
    motions: list[Path]
    summary: dict[str, Any]
    camera: Camera
    bounds: SceneBounds
    placement: Placement

    @property
    def files(self) -> list[Path]:
        """All paths."""
        return [self.overlay, self.npz, self.json, *self.motions]

    @property
    def frames(self) -> int:
        """Number of processed frames."""
        return int(self.summary["frames"])

    @property
    def people(self) -> int:
        """Number of tracked people."""
        return len(self.summary["tracks"])

    @property
    def notes(self) -> list[str]:
        """Sentences on parts of the video that could not be read or kept."""
        return list(self.summary["notes"])


def reconstruct_video(
    predictor: AiOSPredictor,
    source: Path,
    folder: Path,
    stem: str,
    settings: VideoSettings,
    report: ProgressCallback,
) -> VideoResult:
    """Track and draw the people of a video.

    Writes `STEM_overlay.mp4`, `STEM.npz`, `STEM.json`, `STEM_track_N.bvh`, `STEM_track_N.glb` and
    `STEM_track_N_smplx.npz`, all at the end: a job that is stopped leaves no file.

    Args:
        predictor: detects and poses people.
        source: the video.
        folder: created if missing; files of the same names are replaced.
        stem: start of the file names.
        settings: of the job.
        report: called after every frame; may raise to stop the job.

    Raises:
        VideoError: the video cannot be read.
        PhotoError: its frames cannot be processed.
        ExportError: a value is not finite.
        OSError: the folder cannot be written to.
    """
    reporter = ProgressReporter(report, _STAGES)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as scratch:
        work = Path(scratch)
        store = MotionStore(work / "motion")
        found = find_tracks(predictor, source, settings, store, reporter)
        camera, rate, notes = found.camera, found.rate, found.notes
        video = work / f"{stem}_overlay.mp4"
        bounds = SceneBounds(found.floor if settings.export.ground else None)
        notes += _draw(
            predictor,
            settings.open(source, reporter.repeat),
            camera,
            store,
            reporter,
            video,
            source,
            bounds,
        )
        placement = bounds.grounded() if settings.export.ground else AT_CAMERA
        npz, summary = work / f"{stem}.npz", work / f"{stem}.json"
        export, weights = settings.export.settings(predictor), predictor.weights.name
        motion_to_npz(npz, store, camera, export, weights)
        reporter.begin(WRITE, len(store.tracks))
        written = [video, npz, summary]
        for number in store.tracks:
            written += write_track_files(
                work, stem, store, number, rate, export, weights, placement
            )
            reporter.step()
        document = _summary(utf8_text(source.name), stem, store, camera, predictor)
        document |= {
            "start_seconds": settings.start_seconds,
            "rate": rate,
            "notes": notes,
            "camera_position_m": placement.camera_position.tolist(),
            "camera_rotation_xyzw": placement.camera_rotation.as_quat().tolist(),
            "space": store.space,
            "still_camera": found.is_still,
            "floor": _floor_to_json(found.floor),
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        # Bytes of a file name that are not UTF-8 become JSON escapes.
        summary.write_bytes(text.encode("utf-8", "backslashreplace"))
        overlay, npz, summary, *motions = [path.replace(folder / path.name) for path in written]
    return VideoResult(overlay, npz, summary, motions, document, camera, bounds, placement)


def _draw(
    predictor: AiOSPredictor,
    reader: VideoReader,
    camera: Camera,
    store: MotionStore,
    reporter: ProgressReporter,
    target: Path,
    source: Path,
    bounds: SceneBounds,
) -> list[str]:
    """Draw the stored people over the video; returns notes on lost audio."""
    with reader:
        info = reader.info
        size = playable_size(info.width, info.height)
        sound = (source, info.origin) if info.has_sound else None
        reporter.begin(DRAW, len(store.times))
        with (
            VideoWriter(target, *size, info.rate, sound) as writer,
            closing(prefetch(_posed(predictor, reader, camera, store))) as posed,
        ):
            for frame, prediction, numbers in posed:
                bounds.add(prediction.vertices)
                writer.write(draw_people(frame.pixels, prediction, numbers, size), frame.time)
                reporter.step()
            writer.close(float(store.times[-1]) + 1 / info.rate)
    return [writer.sound_problem] if writer.sound_problem else []


def _posed(
    predictor: AiOSPredictor, reader: VideoReader, camera: Camera, store: MotionStore
) -> Iterator[tuple[Frame, Prediction, np.ndarray]]:
    """Frames with their posed people and track numbers."""
    tracker = StreamTracker(predictor)
    # A damaged video may decode to fewer frames in the second pass.
    for frame, (people, numbers) in zip(reader, store.frames(), strict=False):
        yield frame, tracker.pose(TrackedPeople(people, numbers, camera)), numbers


def _floor_to_json(floor: Floor | None) -> dict[str, Any] | None:
    if floor is None:
        return None
    return {"normal": floor.normal.tolist(), "distance_m": floor.distance}


def _summary(
    video: str, stem: str, store: MotionStore, camera: Camera, predictor: AiOSPredictor
) -> dict[str, Any]:
    """Contents of the JSON summary that do not depend on the settings."""
    times = store.times
    return {
        "video": video,  # first, so that earlier results are recognised by their start
        **CONVENTIONS,
        **camera_to_json(camera),
        "frames": len(times),
        "seconds": round(float(times[-1]), 3),
        "weights": predictor.weights.name,
        "body": predictor.body.name,
        "refined": predictor.refine,
        "motion_axes": "BVH and GLB: y up, camera along -z; SMPL-X NPZ: z up, camera along +y;"
        " on the ground: camera at camera_position_m, turned by camera_rotation_xyzw",
        "tracks": [
            {
                "number": number,
                "color": person_colors(np.array([number - 1]))[0].tolist(),
                "frames": track.count,
                "first_second": round(float(times[track.first_frame]), 3),
                "last_second": round(float(times[track.last_frame]), 3),
                "bvh": f"{stem}_track_{number}.bvh",
                "glb": f"{stem}_track_{number}.glb",
                "smplx": f"{stem}_track_{number}_smplx.npz",
            }
            for number, track in store.tracks.items()
        ],
    }
