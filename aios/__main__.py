"""Command line: `python -m aios PHOTO_FOLDER_OR_VIDEO... --out DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .cli import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_video_arguments,
    configure_threads_and_malloc,
    load_predictor,
    warm_up_renderer,
)

if TYPE_CHECKING:
    from tqdm import tqdm

    from .pipelines.progress import Progress
    from .predictor import AiOSPredictor

_log = logging.getLogger("aios")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 0, 1 if any file failed, 2 if nothing could be done."""
    configure_threads_and_malloc()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(logging.INFO)
    # Imported here so that --help does not wait for torch.
    from .media.photo import PhotoError, list_photos
    from .media.video_reader import is_video, list_videos

    try:
        videos = list_videos(options.inputs)
        photos = [path for path in list_photos(options.inputs) if not is_video(path)]
        if not photos and not videos:
            raise StartError("There is no photo and no video in what was named.")
        options.out.mkdir(parents=True, exist_ok=True)
        predictor = load_predictor(options)
        warm_up_renderer()
        failed = _photos(predictor, photos, options) + _videos(predictor, videos, options)
    except (PhotoError, StartError, OSError) as error:
        _log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        _log.error("Stopped; what was finished is in %s.", options.out)
        return 1
    return 1 if failed else 0


def _photos(predictor: AiOSPredictor, photos: list[Path], options: argparse.Namespace) -> int:
    """Work on photos; returns how many failed."""
    from tqdm import tqdm

    from .media.photo_sources import items_from_paths
    from .pipelines.folder import FolderSettings, folder_sink, reconstruct_folder

    if not photos:
        return 0
    settings = FolderSettings(
        options.threshold, options.max_people, options.ground, options.backdrop
    )
    with tqdm(total=len(photos), unit="photo", disable=None) as bar:

        def complain(sentence: str) -> None:
            bar.clear()
            _log.error("%s", sentence)

        result = reconstruct_folder(
            predictor,
            items_from_paths(photos),
            folder_sink(options.out),
            settings,
            lambda progress: _advance(bar, progress),
            complain,
        )
    _log.info("%d of %d photos written to %s", result.photos, len(photos), options.out)
    return len(result.problems)


def _videos(predictor: AiOSPredictor, videos: list[Path], options: argparse.Namespace) -> int:
    """Work on videos; returns how many failed."""
    from tqdm import tqdm

    from .export.photo_files import ExportError
    from .media.photo import PhotoError
    from .media.photo_sources import unique_stem
    from .media.video_reader import VideoError
    from .pipelines.video import VideoSettings, reconstruct_video
    from .render.opengl import OpenGLError

    failed = 0
    taken: set[str] = set()
    settings = VideoSettings(
        threshold=options.threshold,
        max_people=options.max_people,
        smooth=not options.no_smoothing,
        max_rate=options.fps,
        max_seconds=options.seconds,
        ground=options.ground,
    )
    for path in videos:
        stem = unique_stem(path.stem, taken)
        with tqdm(unit="frame", disable=None) as bar:
            try:
                result = reconstruct_video(
                    predictor,
                    path,
                    options.out,
                    stem,
                    settings,
                    lambda progress, bar=bar: _advance(bar, progress),  # type: ignore[misc]
                )
            except (ExportError, OpenGLError, PhotoError, VideoError) as error:
                failed += 1
                bar.clear()
                _log.error("%s", error)
                continue
        for note in result.notes:
            _log.warning("%s", note)
        _log.info(
            "%s: %d people in %d frames, written to %s",
            path.name,
            result.people,
            result.frames,
            options.out,
        )
    return failed


def _advance(bar: tqdm, progress: Progress) -> None:
    if progress.done == 0:
        bar.reset(progress.total)
        bar.set_description(progress.stage, refresh=False)
    bar.total = progress.total
    bar.update(progress.done - bar.n)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m aios",
        description="Find everyone in photos and videos as posed whole-body meshes. Writes, for "
        "each photo, STEM.json, STEM.npz (SMPL-X parameters), STEM.glb, STEM_overlay.png and "
        "STEM_person_N_smplx.npz (layout of AMASS), and people.csv for all of them; for each "
        "video, STEM_overlay.mp4, STEM.npz (all frames), STEM.json, and STEM_track_N.bvh, "
        "STEM_track_N.glb (animated) and STEM_track_N_smplx.npz for each person.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PHOTO_FOLDER_OR_VIDEO")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    add_model_arguments(parser)
    parser.add_argument(
        "--max-people", type=int, default=30, metavar="N", help="at most N at a time (default: 30)"
    )
    parser.add_argument(
        "--ground",
        action="store_true",
        help="put the people of 3D files on the floor, around the origin (default: camera there)",
    )
    parser.add_argument(
        "--backdrop",
        action="store_true",
        help="add each photo to its GLB as a plane behind the people",
    )
    add_video_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
