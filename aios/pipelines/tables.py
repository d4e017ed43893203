"""Tables of a job as CSV: one of people, one of failures."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from ..media.photo import utf8_text
from ..prediction import Prediction

PersonRow = list[str | int | float]
"""Cells of one person, in the order of the columns."""

_COLUMNS = (
    "photo person score depth_order distance_m left_px top_px right_px bottom_px focal_length_px "
    "transl_x_m transl_y_m transl_z_m".split()
    + [f"betas_{index}" for index in range(10)]
    + ["files"]
)
_FORMULA_STARTS = ("=", "+", "-", "@")
# Spreadsheets read UTF-8 only after a byte-order mark.
_ENCODING = "utf-8-sig"


class PeopleTable:
    """CSV of people; a context manager, since rows go to a file: their number is unbounded."""

    def __init__(self) -> None:
        """Start with the header."""
        self._file = tempfile.NamedTemporaryFile(
            "w", encoding=_ENCODING, errors="backslashreplace", newline=""
        )
        self._rows = csv.writer(self._file)
        self._rows.writerow(_COLUMNS)

    def add(self, rows: Iterable[PersonRow]) -> None:
        """Append rows."""
        self._rows.writerows(rows)

    def content(self) -> bytes:
        """The whole table."""
        self._file.flush()
        return Path(self._file.name).read_bytes()

    def __enter__(self) -> Self:
        """Return the table."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self._file.close()


def person_rows(name: str, stem: str, prediction: Prediction) -> list[PersonRow]:
    """Rows of the people of one photo, best score first.

    Args:
        name: of the photo.
        stem: of its result files.
        prediction: of the photo.
    """
    people, order = prediction.people, prediction.depth_order
    return [
        [
            _cell(name),
            index + 1,
            round(float(people.scores[index]), 4),
            int(order[index]) + 1,
            round(float(prediction.joints_3d[index, 0, 2]), 3),
            *(round(float(value), 1) for value in people.boxes_xyxy_px[index]),
            round(float(prediction.camera.focal_length), 3),
            *(round(float(value), 4) for value in people.transl[index]),
            *(round(float(value), 5) for value in people.betas[index]),
            _cell(stem),
        ]
        for index in prediction
    ]


def problems_table(problems: Sequence[tuple[str, str]]) -> bytes:
    """CSV with the columns `file` and `problem`."""
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["file", "problem"])
    rows.writerows((_cell(name), _cell(sentence)) for name, sentence in problems)
    return table.getvalue().encode(_ENCODING, "backslashreplace")


def _cell(text: str) -> str:
    """Text that spreadsheets do not evaluate as a formula."""
    text = utf8_text(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
