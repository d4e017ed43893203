"""Command line: `python -m aios PHOTO_FOLDER_OR_VIDEO... --out DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .cli import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_photo_arguments,
    add_video_arguments,
    configure_threads_and_malloc,
    load_predictor,
    positive_integer,
    prepare_proxies,
    warm_up_renderer,
)
from .pipelines.scratch import stop_on_signals

if TYPE_CHECKING:
    from tqdm import tqdm

    from .pipelines.export_settings import ExportChoice
    from .pipelines.folder import FolderResult
    from .pipelines.inputs import Inputs
    from .pipelines.manifest import Manifest
    from .pipelines.output_names import OutputNames
    from .pipelines.progress import Progress
    from .pipelines.video import VideoResult
    from .pipelines.video_tracks import VideoSettings
    from .predictor import AiOSPredictor

_log = logging.getLogger("aios")

_MAX_LOGGED_SKIPS = 20


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit code: 0; 1 if a photo or video failed; 2 if nothing could be processed.
    """
    configure_threads_and_malloc()
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(logging.INFO)
    # Imported here because torch would delay --help by seconds.
    from .pipelines.fingerprint import settings_fingerprint
    from .pipelines.inputs import list_inputs
    from .pipelines.manifest import FolderInUseError, Manifest
    from .pipelines.processes import ProcessStartError

    prepare_proxies()
    stop_on_signals()
    try:
        inputs = list_inputs(options.inputs)
        if not inputs.photos and not inputs.videos:
            raise StartError("There is no photo or video in the given paths.")
        options.out.mkdir(parents=True, exist_ok=True)
        predictor = load_predictor(options).with_input_size(options.input_size)
        warm_up_renderer()
        settings = settings_fingerprint(predictor, *_settings(options))
        with Manifest(options.out, settings, options.overwrite) as manifest:
            problems = _process(predictor, inputs, options, manifest)
    except (StartError, FolderInUseError, ProcessStartError, OSError) as error:
        _log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        _log.error("Stopped; finished results are in %s.", options.out)
        return 1
    return 1 if problems else 0


def _settings(options: argparse.Namespace) -> list[object]:
    """Options on which the results of a photo or video depend, beside those of the predictor."""
    names = (
        "speed threshold max_people input_size field_of_view ground backdrop bones add fps start "
        "seconds no_smoothing still_camera"
    ).split()
    return [__version__, *(getattr(options, name) for name in names)]


def _process(
    predictor: AiOSPredictor, inputs: Inputs, options: argparse.Namespace, manifest: Manifest
) -> list[tuple[str, str]]:
    """Process photos, then videos; returns name and reason of each failure.

    Failures, skipped files and photos that are cut off are written to `problems.csv`.
    """
    from .export.photo_files import write_file
    from .pipelines.output_names import PROBLEMS, OutputNames
    from .pipelines.tables import problems_table

    for name, reason in inputs.skipped[:_MAX_LOGGED_SKIPS]:
        _log.warning("Skipped %s: %s.", name, reason)
    if len(inputs.skipped) > _MAX_LOGGED_SKIPS:
        _log.warning("Skipped %d files in all; see %s.", len(inputs.skipped), PROBLEMS)
    names = OutputNames(options.out, [*inputs.photos, *inputs.videos])
    photos = _photos(predictor, inputs.photos, options, names, manifest)
    problems = photos.problems + _videos(predictor, inputs.videos, options, names, manifest)
    skipped = [(name, f"Skipped: {reason}.") for name, reason in inputs.skipped]
    if rows := problems + photos.notes + skipped:
        write_file(options.out / PROBLEMS, problems_table(rows))
    else:
        (options.out / PROBLEMS).unlink(missing_ok=True)  # of an earlier run
    return problems


def _photos(
    predictor: AiOSPredictor,
    photos: list[Path],
    options: argparse.Namespace,
    names: OutputNames,
    manifest: Manifest,
) -> FolderResult:
    """Process photos."""
    from tqdm import tqdm

    from .media.photo_sources import items_from_paths
    from .pipelines.folder import (
        EarlierRuns,
        FolderResult,
        FolderSettings,
        reconstruct_folder,
    )
    from .pipelines.machine import plan_processes, threads_of, torch_threads, useful_processes
    from .pipelines.manifest import file_identity
    from .pipelines.sinks import folder_sink

    if not photos:
        return FolderResult()
    earlier = EarlierRuns(manifest, [file_identity(path) for path in photos], names)
    settings = FolderSettings(
        options.threshold, options.max_people, options.field_of_view, _export_choice(options)
    )
    processes = options.processes or useful_processes(predictor, len(photos))
    side_by_side = plan_processes(
        predictor, processes, options.weights, options.body, configure_threads_and_malloc
    )
    bar = tqdm(total=len(photos), unit="photo", disable=None)
    with bar, torch_threads(threads_of(predictor, processes)):

        def log_problem(sentence: str) -> None:
            bar.clear()
            _log.error("%s", sentence)

        result = reconstruct_folder(
            predictor,
            items_from_paths(photos),
            folder_sink(options.out),
            settings,
            lambda progress: _advance(bar, progress),
            log_problem,
            earlier,
            side_by_side,
        )
    if result.earlier:
        _log.info(
            "%d photos were finished by an earlier run; --overwrite processes them again.",
            result.earlier,
        )
    _log.info("%d of %d photos written to %s", result.photos, len(photos), options.out)
    return result


def _videos(
    predictor: AiOSPredictor,
    videos: list[Path],
    options: argparse.Namespace,
    names: OutputNames,
    manifest: Manifest,
) -> list[tuple[str, str]]:
    """Process videos; returns name and reason of each failure."""
    from .pipelines.manifest import file_identity
    from .pipelines.video_tracks import VideoSettings

    problems = []
    settings = VideoSettings(
        threshold=options.threshold,
        max_people=options.max_people,
        smooth=not options.no_smoothing,
        max_rate=options.fps,
        start_seconds=options.start,
        max_seconds=options.seconds,
        export=_export_choice(options),
        still_camera=options.still_camera,
    )
    identities = [file_identity(path) for path in videos]
    finished = [manifest.find(identity) for identity in identities]
    for record in finished:
        if record is not None:
            names.reserve(record.stem)
    for path, identity, record in zip(videos, identities, finished, strict=True):
        if record is not None:
            _log.info("%s was finished by an earlier run.", path.name)
            continue
        stem = names.video(path.name)
        result = _video(predictor, path, options.out, stem, settings)
        if isinstance(result, str):
            problems.append((path.name, result))
            continue
        manifest.add(identity, stem, {file.name: file.stat().st_size for file in result.files})
        for note in result.notes:
            _log.warning("%s", note)
        people = "1 person" if result.people == 1 else f"{result.people} people"
        frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
        _log.info("%s: %s in %s, written to %s", path.name, people, frames, options.out)
        _log.info("%s", result.summary["space"])
    return problems


def _video(
    predictor: AiOSPredictor, path: Path, folder: Path, stem: str, settings: VideoSettings
) -> VideoResult | str:
    """Process one video; returns the reason if it fails, which is also logged."""
    from tqdm import tqdm

    from .export.checks import ExportError
    from .media.container import VideoError
    from .media.photo import PhotoError, display_name
    from .pipelines.video import reconstruct_video
    from .render.opengl import OpenGLError

    with tqdm(unit="frame", disable=None) as bar:
        try:
            return reconstruct_video(
                predictor, path, folder, stem, settings, lambda progress: _advance(bar, progress)
            )
        except (ExportError, OpenGLError, PhotoError, VideoError) as error:
            sentence = str(error)
        except OSError as error:
            name = display_name(path)
            sentence = f"Results of {name} cannot be written: {error.strerror or error}."
        except MemoryError:
            sentence = f"There is not enough memory for {display_name(path)}: make it smaller."
        bar.clear()
        _log.error("%s", sentence)
        return sentence


def _export_choice(options: argparse.Namespace) -> ExportChoice:
    from .pipelines.export_settings import ExportChoice

    return ExportChoice(options.ground, options.backdrop, options.bones, options.add)


def _advance(bar: tqdm, progress: Progress) -> None:
    if progress.done == 0:
        bar.reset(progress.total)
        bar.set_description(progress.stage, refresh=False)
    bar.total = progress.total
    bar.update(progress.done - bar.n)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m aios",
        description="Recover whole-body 3D meshes of everyone in photos and videos. Writes, for "
        "each photo, STEM.json, STEM.npz (SMPL-X parameters), STEM.glb, STEM_overlay.png and "
        "STEM_person_N_smplx.npz (layout of AMASS); for each video, STEM_overlay.mp4, STEM.npz "
        "(all frames), STEM.json, and STEM_track_N.bvh, STEM_track_N.glb (animated) and "
        "STEM_track_N_smplx.npz for each person; people.csv for all photos; and problems.csv if a "
        "file failed, was skipped or is cut off.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PHOTO_FOLDER_OR_VIDEO")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="process inputs again that an earlier run has finished (default: skip them)",
    )
    parser.add_argument(
        "--processes",
        type=positive_integer,
        metavar="N",
        help="processes side by side for photos (default: as many as the machine has use for)",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--max-people",
        type=positive_integer,
        default=30,
        metavar="N",
        help="people per photo or frame at most (default: %(default)s)",
    )
    add_photo_arguments(parser)
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
    parser.add_argument(
        "--bones",
        choices=("smplx", "mixamo", "unreal"),
        default="smplx",
        help="joint names of BVH and rigged GLB files (default: %(default)s)",
    )
    parser.add_argument(
        "--add",
        type=_extras,
        default=frozenset(),
        metavar="LIST",
        help="further files of each photo, separated by commas: rigged (STEM_person_N_rigged.glb "
        "with skeleton and skin), obj, ply (STEM_person_N.obj, .ply), vertices (in STEM.npz)",
    )
    add_video_arguments(parser)
    return parser


def _extras(text: str) -> frozenset[str]:
    """A comma-separated list of extra formats, as an argument type."""
    from .export.settings import EXTRAS

    extras = frozenset(text.split(","))
    if unknown := sorted(extras - set(EXTRAS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(EXTRAS)}")
    return extras


if __name__ == "__main__":
    sys.exit(main())
