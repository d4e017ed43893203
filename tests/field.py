"""Run the program on a folder of odd files: `python -m tests.field FOLDER`.

Prints a line for each file: what was done, in how many seconds, with how much memory beyond that of
the loaded program. Each file is processed in a process of its own, which is ended at a deadline.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from aios import AiOSPredictor
from aios.media.container import VideoError
from aios.media.photo import PhotoError, display_text
from aios.media.photo_sources import InputError, PhotoItem, items_from_paths, items_from_zip
from aios.pipelines.folder import FolderSettings, reconstruct_folder
from aios.pipelines.inputs import list_inputs
from aios.pipelines.sinks import folder_sink
from aios.pipelines.video import reconstruct_video
from aios.pipelines.video_tracks import VideoSettings

_REFUSED = (InputError, PhotoError, VideoError)


class Answer(NamedTuple):
    """Outcome for one file."""

    text: str
    is_defect: bool
    """Whether the program failed otherwise than with one sentence of its own."""
    seconds: float
    memory_mb: float


def process(predictor: AiOSPredictor, path: Path, out: Path) -> str:
    """Process a file by its content, like the command line; returns what was done.

    Raises:
        PhotoError, VideoError, InputError: the file is refused.
    """
    if path.suffix.lower() == ".zip":
        with items_from_zip(path) as items:
            return _photos(predictor, items, out)
    inputs = list_inputs([path])
    if inputs.videos:
        result = reconstruct_video(
            predictor, path, out, "video", VideoSettings(), lambda progress: None
        )
        notes = "".join(f"; {note}" for note in result.notes)
        return f"{result.people} people in {result.frames} frames{notes}"
    return _photos(predictor, items_from_paths([path]), out)


def _photos(predictor: AiOSPredictor, items: list[PhotoItem], out: Path) -> str:
    result = reconstruct_folder(
        predictor, items, folder_sink(out), FolderSettings(), lambda progress: None
    )
    if len(items) == 1 and result.problems:
        raise PhotoError(result.problems[0][1])
    problems = result.problems + result.notes
    failed = "".join(f"; {name}: {sentence}" for name, sentence in problems)
    return f"{result.people} people in {result.photos} of {len(items)} photos{failed}"


def in_child(work: Callable[[], str], seconds: float) -> Answer:
    """Run `work` in a forked process for `seconds` at most."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(work, sender), daemon=True)
    start = time.monotonic()
    child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return Answer(f"no answer within {seconds:.0f} s", True, time.monotonic() - start, 0.0)
        text, is_defect, memory = receiver.recv()
    except EOFError:
        child.join()
        text, is_defect, memory = f"the process ended with {child.exitcode}", True, 0.0
    finally:
        child.kill()
        child.join()
    return Answer(text, is_defect, time.monotonic() - start, memory)


def _report(work: Callable[[], str], sender: multiprocessing.connection.Connection) -> None:
    before = _peak_mb()
    try:
        answer = work(), False
    except _REFUSED as error:
        answer = f"refused: {error}", "\n" in str(error)
    except BaseException as error:  # any other class is a defect
        answer = f"{type(error).__name__}: {error}", True
    sender.send((*answer, _peak_mb() - before))


def _peak_mb() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1000


def main(arguments: list[str] | None = None) -> int:
    """Run; returns 1 if a file caused anything but a result or a sentence."""
    parser = argparse.ArgumentParser(prog="python -m tests.field", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="builtin", metavar="SOURCE")
    parser.add_argument("--seconds", type=float, default=600.0, help="deadline for each file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # a forked process has no OpenMP threads
    predictor = AiOSPredictor.from_pretrained(options.weights, device="cpu")
    defects = 0
    for path in sorted(path for path in options.folder.rglob("*") if not path.is_dir()):
        with tempfile.TemporaryDirectory(prefix="aios-field-") as out:
            answer = in_child(
                lambda path=path, out=out: process(predictor, path, Path(out)), options.seconds
            )
        defects += answer.is_defect
        mark = "DEFECT " if answer.is_defect else ""
        sys.stdout.write(
            f"{display_text(path.relative_to(options.folder))}: {mark}{answer.text}"
            f" ({answer.seconds:.1f} s, {answer.memory_mb:+.0f} MB)\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{defects} defects\n")
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
