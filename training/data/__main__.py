"""Check annotation files, or write synthetic data sets.

`python -m training.data check NPZ --images ROOT` reports missing or inconsistent data.
`python -m training.data make-synthetic --out DATA --count N` writes scenes as a data set.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import cv2
import torch

from aios.resources import STANDIN_BODY

from ..synthetic.generator import TRAIN_SEED, SceneGenerator
from ..synthetic.surface import BodySurface
from .archive import DataError
from .check import check_file
from .sets import DATA_SETS
from .write import scene_samples, write_synthetic_set

logger = logging.getLogger(__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="report errors in a file")
    check.add_argument("annotations", type=Path, help="HumanData file or released cache")
    check.add_argument(
        "--images", type=Path, required=True, help="folder that image paths are relative to"
    )
    check.add_argument(
        "--set",
        default="synthetic",
        choices=sorted(DATA_SETS),
        help="data set that the file is used as",
    )
    check.add_argument(
        "--trust-pickle", action="store_true", help="allow unpickling (can execute code)"
    )
    make = commands.add_parser("make-synthetic", help="write synthetic scenes as a data set")
    make.add_argument("--out", type=Path, required=True, help="root folder of all data sets")
    make.add_argument("--count", type=int, required=True, help="images of each data set")
    make.add_argument(
        "--sets",
        nargs="+",
        default=["synthetic"],
        choices=sorted(DATA_SETS),
        help="data sets to replace, each written to its default paths",
    )
    make.add_argument("--seed", type=int, default=TRAIN_SEED)
    make.add_argument("--height", type=int, default=480)
    make.add_argument("--width", type=int, default=640)
    return parser


def _check(options: argparse.Namespace) -> int:
    data_set = DATA_SETS[options.set]
    findings = check_file(options.annotations, options.images, data_set, options.trust_pickle)
    for finding in findings:
        sys.stdout.write(f"{'wrong' if finding.wrong else 'note'}: {finding.text}\n")
    wrong = sum(finding.wrong for finding in findings)
    sys.stdout.write(f"{options.annotations}: {wrong or 'nothing'} wrong\n")
    return 1 if wrong else 0


def _make_synthetic(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    body = BodySurface(STANDIN_BODY)
    generator = SceneGenerator((options.height, options.width), body, options.seed)
    for number, name in enumerate(options.sets):
        # Scenes without people are skipped, so the sets need distant scene numbers.
        samples = scene_samples(generator, 2 * number * options.count, options.count)
        path, count = write_synthetic_set(options.out, name, samples)
        logger.info("wrote %d images and %s", count, path)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 1 if the data have errors or cannot be used."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _check(options) if options.command == "check" else _make_synthetic(options)
    except (DataError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
