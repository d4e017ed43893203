"""Annotate plain photos: `python -m training.annotate PHOTOS... --models DIR --out SET`.

Detects people, predicts body, hand and face points in 2D and 3D with public networks, fits the body
model to them, and writes to SET:

* `annotations.npz`: HumanData, one row for each kept person; image paths are relative to the
  common folder of the photos;
* `people.csv`: all people, with the metrics of the gates and the reason for rejection;
* `sheet.jpg`: overlays of some photos;
* `work/`: finished photos; a later run annotates only new and changed ones.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from aios.body.model import BodyModel, BodyModelError
from aios.media.photo import PhotoError
from aios.pipelines.inputs import list_inputs
from aios.pipelines.processes import ProcessStartError

from .annotation.gates import Gates
from .annotation.observers import Observers
from .annotation.output import (
    PhotoAnnotation,
    judged_photos,
    write_humandata,
    write_sheet,
    write_table,
)
from .annotation.parts import PartFolder
from .annotation.teachers import PACKAGE, TeacherError

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 on an error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        photos = list_inputs(options.photos).photos
        if not photos:
            raise PhotoError("There is no photo in the given paths.")
        body = BodyModel.load(options.body)
        observers = Observers(options.models, options.processes)
        parts = PartFolder(options.out / "work", body)
    except (PhotoError, TeacherError, BodyModelError, OSError) as error:
        _log.error("%s", error)
        return 2
    root = Path(os.path.commonpath([path.parent.resolve() for path in photos]))
    names = [path.resolve().relative_to(root).as_posix() for path in photos]
    gates = Gates(**{f.name: getattr(options, f.name) for f in fields(Gates)})
    annotated: list[PhotoAnnotation] = []
    done = 0
    try:
        with observers:
            for part in parts.annotate(names, root, observers, options.part):
                annotated += judged_photos(part, gates)
                done += len(part.names)
                kept = sum(int(photo.judgement.kept.sum()) for photo in annotated)
                _log.info("%d of %d photos, %d people kept", done, len(names), kept)
        order = {name: index for index, name in enumerate(names)}
        annotated.sort(key=lambda photo: order[photo.name])
        _write(options.out, root, annotated, body)
    except ProcessStartError as error:
        _log.error("%s", error)
        return 2
    except (OSError, PhotoError) as error:
        _log.error("Stopped: %s. The same command continues from here.", str(error).rstrip("."))
        return 2
    return 0


def _write(out: Path, root: Path, annotated: Sequence[PhotoAnnotation], body: BodyModel) -> None:
    count = write_humandata(out / "annotations.npz", annotated, flat_hands=False)
    write_table(out / "people.csv", annotated)
    write_sheet(out / "sheet.jpg", root, annotated, body)
    reasons = Counter(str(r) for photo in annotated for r in photo.judgement.reasons if r)
    fitted = sum(int(photo.judgement.kept.sum()) for photo in annotated)
    _log.info("%s: %d people, %d with fitted bodies; images are below %s", out, count, fitted, root)
    for reason, times in reasons.most_common():
        _log.info("  not kept: %s, %d", reason, times)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.annotate",
        description="Annotate plain photos with fitted bodies.",
    )
    parser.add_argument("photos", nargs="+", type=Path, help="photos or folders of photos")
    parser.add_argument(
        "--models", type=Path, required=True, help=f"folder of the unpacked npm package {PACKAGE}"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new set")
    parser.add_argument("--body", type=Path, help="SMPL-X file; default: the stand-in")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="number of processes that run the networks",
    )
    parser.add_argument(
        "--part",
        type=int,
        default=64,
        help="photos per part; an interrupted run repeats at most one part",
    )
    for field in fields(Gates):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=field.name,
            type=type(field.default),
            default=field.default,
            help="gate (default: %(default)s)",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
