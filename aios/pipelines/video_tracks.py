"""Find and track the people of a video: the first of the two passes over it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..export.motion import MotionStore
from ..export.resample import densest_rate
from ..geometry.camera import Camera
from ..geometry.floor import Floor
from ..media.photo import display_name
from ..media.prefetch import prefetch
from ..media.video_reader import VideoReader
from ..predictor import DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..tracking.camera_motion import CameraMotion
from ..tracking.smoothing import SMOOTHING
from .export_settings import DEFAULT_EXPORT, ExportChoice
from .progress import ProgressReporter
from .still_camera import StillCamera, ground_people
from .stream_tracker import StreamTracker

FIND = "Finding people, frame"
"""Stage of the progress."""
_MIN_TRACK_FRAMES = 3


@dataclass(frozen=True)
class VideoSettings:
    """Settings of a video job.

    Attributes:
        threshold: lowest score that starts a track, 0-1; None takes that of the weights.
        max_people: people per frame at most.
        smooth: whether to smooth motion and give each person one shape.
        still_camera: whether to put people on one floor, where standing feet slide less;
            "auto" does so if `smooth` is set and the background does not move.
        max_rate: processed frames per second at most; None processes all.
        start_seconds: where processing starts, 0 or more; times of all results count from here.
        max_seconds: processed duration from `start_seconds`; None processes up to the end.
        export: options of the motion files.
    """

    threshold: float | None = None
    max_people: int = DEFAULT_MAX_PEOPLE
    smooth: bool = True
    max_rate: float | None = None
    start_seconds: float = 0.0
    max_seconds: float | None = None
    export: ExportChoice = DEFAULT_EXPORT
    still_camera: StillCamera = "auto"

    def open(self, source: Path, on_skip: Callable[[], None]) -> VideoReader:
        """Open `source` for the frames to process; `on_skip` is called between them."""
        return VideoReader(source, self.max_rate, self.max_seconds, on_skip, self.start_seconds)


@dataclass(frozen=True)
class FoundTracks:
    """Result of `find_tracks` beside the motion store.

    Attributes:
        camera: of all frames.
        rate: frames per second of motion files.
        notes: sentences on unreadable parts.
        is_still: whether the camera stands still; None if the background does not tell.
        floor: on which people were put; None if they were not.
    """

    camera: Camera
    rate: float
    notes: list[str]
    is_still: bool | None
    floor: Floor | None


def find_tracks(
    predictor: AiOSPredictor,
    source: Path,
    settings: VideoSettings,
    store: MotionStore,
    reporter: ProgressReporter,
) -> FoundTracks:
    """Detect and track the people of a video, and put them on one floor if the camera is still.

    Args:
        predictor: detects people.
        source: the video.
        settings: of the job.
        store: takes the tracks, and is finished.
        reporter: with the stage `FIND`.

    Returns:
        What the store does not hold.

    Raises:
        VideoError: the video cannot be read.
        PhotoError: its frames cannot be processed.
    """
    tracker = StreamTracker(
        predictor,
        settings.threshold,
        settings.max_people,
        SMOOTHING if settings.smooth else None,
    )
    camera: Camera | None = None
    motion = CameraMotion()
    with settings.open(source, reporter.repeat) as reader, closing(prefetch(reader)) as frames:
        reporter.begin(FIND, reader.expected_frames)
        for frame in frames:
            tracked = tracker(frame.pixels, frame.time)
            store.add(tracked.people, tracked.numbers, frame.time)
            camera = tracked.camera
            motion.add(frame.pixels, tracked.people.boxes_xyxy_px)
            reporter.step()
        nominal = min(reader.info.rate, settings.max_rate or reader.info.rate)
        notes = [reader.problem] if reader.problem else []
    rate = densest_rate(store.times, nominal, settings.max_rate)
    if rate > nominal:
        notes.append(
            f"{display_name(source)} has a variable frame rate: its BVH and SMPL-X files have"
            f" {rate:.4g} frames per second, the densest of the video."
        )
    store.finish(_MIN_TRACK_FRAMES, settings.smooth)
    assert camera is not None  # a reader has at least one frame
    choice, is_still = settings.still_camera, motion.is_still
    wanted = choice == "on" or (choice == "auto" and settings.smooth and is_still)
    floor = ground_people(predictor, store) if wanted else None
    return FoundTracks(camera, rate, notes, is_still, floor)
