"""Check a submission: `python -m training.evaluation.submission agora predictions.zip`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import FORMS, check_submission


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0 if the file is valid, 1 otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.submission", description=__doc__
    )
    parser.add_argument("form", choices=list(FORMS))
    parser.add_argument("zip", type=Path)
    parser.add_argument(
        "--pictures", type=Path, help="text file with the names of all images, or their folder"
    )
    options = parser.parse_args(arguments)
    form, names = FORMS[options.form], None
    if options.pictures:
        if options.pictures.is_dir():
            paths = [str(path) for path in sorted(options.pictures.rglob("*.png"))]
        else:
            paths = options.pictures.read_text().splitlines()
        names = {form.image_name(path) for path in paths}
    faults = check_submission(options.zip, form, names)
    sys.stdout.writelines(f"{fault}\n" for fault in faults or [f"{options.zip} is valid."])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
