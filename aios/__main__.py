"""Command line: `python -m aios PHOTO_OR_FOLDER... --out DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import OneLineParser, StartError, add_model_arguments, load_predictor

if TYPE_CHECKING:
    from .predictor import AiOSPredictor

_log = logging.getLogger("aios")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 0, 1 if any photo failed, 2 if nothing could be done."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(logging.INFO)
    # Imported here so that --help does not wait for torch.
    from .photo import PhotoError, list_photos

    try:
        photos = list_photos(options.photos)
        if not photos:
            raise StartError("There is no photo in what was named.")
        options.out.mkdir(parents=True, exist_ok=True)
        predictor = load_predictor(options)
    except (PhotoError, StartError, OSError) as error:
        _log.error("%s", error)
        return 2
    return _reconstruct_all(predictor, photos, options)


def _reconstruct_all(
    predictor: AiOSPredictor, photos: list[Path], options: argparse.Namespace
) -> int:
    from tqdm import tqdm

    from .export import ExportError, write_results
    from .photo import PhotoError, read_photo
    from .render_gl import OpenGLError

    failed = 0
    taken: set[str] = set()
    with tqdm(photos, unit="photo", disable=None) as progress:
        for path in progress:
            stem = _free_stem(path.stem, taken)
            try:
                photo = read_photo(path)
                prediction = predictor.predict(photo, options.threshold, options.max_people)
                write_results(prediction, photo, stem, options.out, path.name)
            except (ExportError, OpenGLError, PhotoError, OSError) as error:
                failed += 1
                progress.clear()
                _log.error("%s", error)
    _log.info("%d of %d photos written to %s", len(photos) - failed, len(photos), options.out)
    return 1 if failed else 0


def _free_stem(stem: str, taken: set[str]) -> str:
    """`stem`, or `stem_2` and so on where another photo of this run has that name already."""
    candidate, number = stem, 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}_{number}"
    taken.add(candidate)
    return candidate


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m aios",
        description="Find everyone in photos as posed whole-body meshes. Writes, for each photo, "
        "STEM.json, STEM.npz (SMPL-X parameters), STEM.glb and STEM_overlay.png.",
    )
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results go here")
    add_model_arguments(parser)
    parser.add_argument(
        "--max-people", type=int, default=30, metavar="N", help="at most N a photo (default: 30)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
