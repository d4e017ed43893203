"""Write a submission: always the whole file anew, so that nobody is in it twice."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aios.people import People

from ..metrics import PredictedPeople
from .forms import Entry, SubmissionError, SubmissionForm, file_name, parse_name

MOST_PEOPLE = 50
"""Of one picture, best scores first, as the released program submits them."""
_MATCHED_JOINTS = 24
_PROTOCOL = 4
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Equal people give an equal file: no time of writing is kept."""


def kept_people(scores: np.ndarray, threshold: float, most: int = MOST_PEOPLE) -> np.ndarray:
    """Whom to submit: (m,) scores -> indices, best first, of at most `most` above a threshold."""
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= threshold][:most]


def mesh_entries(people: PredictedPeople) -> list[Entry]:
    """The people of one picture as meshes and joints, which every leaderboard takes.

    Args:
        people: with 2D joints in the pixels that the form asks for (`resolution_wh`).
    """
    return [
        {
            "joints": people.joints_2d[index, :_MATCHED_JOINTS],
            "verts": people.vertices[index],
            "allSmplJoints3d": people.joints_3d[index],
        }
        for index in range(len(people))
    ]


def parameter_entries(people: People, joints_2d: np.ndarray) -> list[Entry]:
    """The people of one picture as SMPL-X parameters, a hundred times smaller; AGORA only.

    Args:
        people: as the predictor gives them.
        joints_2d: (P, 24 or more, 2) pixels that the form asks for.
    """
    parameters = people.smplx_parameters()
    parameters |= dict.fromkeys(("leye_pose", "reye_pose"), np.zeros((len(people), 3), np.float32))
    return [
        {
            "joints": joints_2d[index, :_MATCHED_JOINTS],
            "params": {name: values[index : index + 1] for name, values in parameters.items()},
        }
        for index in range(len(people))
    ]


def write_submission(
    path: Path, form: SubmissionForm, pictures: Iterable[tuple[str, Sequence[Entry]]]
) -> int:
    """Write `predictions.zip`; `path` is either the old file or the whole new one.

    Args:
        path: of the zip file.
        form: of the leaderboard.
        pictures: name (`SubmissionForm.picture_name`) and people of each picture, one at a time.

    Returns:
        Number of people written.

    Raises:
        SubmissionError: a person is not as the form asks, a picture comes twice, or nobody does.
    """
    seen: set[str] = set()
    written = 0
    with _new_zip(path) as archive:
        for picture, entries in pictures:
            if picture in seen:
                raise SubmissionError(f"Picture {picture} comes twice: give each picture once.")
            seen.add(picture)
            for person, entry in enumerate(entries):
                if fault := form.fault(entry):
                    raise SubmissionError(f"Person {person} of {picture} {fault}.")
                _put(archive, file_name(picture, person), portable_pickle(entry))
                written += 1
        if not written:
            raise SubmissionError("Nobody is to be submitted: lower the score threshold.")
    return written


def merge_submissions(path: Path, parts: Sequence[Path]) -> None:
    """Put files that several processes wrote, of different pictures, into one.

    Raises:
        SubmissionError: two parts have the same picture.
    """
    owners: dict[str, Path] = {}
    with _new_zip(path) as archive:
        for part in parts:
            with zipfile.ZipFile(part) as source:
                for name in source.namelist():
                    parsed = parse_name(name)
                    picture = parsed[0] if parsed else name
                    if owners.setdefault(picture, part) != part:
                        raise SubmissionError(
                            f"Picture {picture} is in {owners[picture]} and in {part}: give each "
                            f"picture to one process."
                        )
                    _put(archive, name, source.read(name))


@contextmanager
def _new_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file that takes the place of `path` when all went well, else leaves no trace."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    about = zipfile.ZipInfo(name, _LONG_AGO)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o644 << 16
    archive.writestr(about, content)


class _PortablePickler(pickle.Pickler):
    """Writes arrays so that every numpy can read them.

    Pickles of numpy 2 name a module that the numpy 1 of the judges' programs lacks; the class
    `numpy.ndarray` itself, called with shape, type and bytes, is known to all.
    """

    def reducer_override(self, thing: object) -> Any:  # noqa: ANN401 - as the base class
        if isinstance(thing, np.ndarray):
            content = bytearray(np.ascontiguousarray(thing).tobytes())
            return np.ndarray, (thing.shape, thing.dtype.str, content)
        return NotImplemented


def portable_pickle(entry: Entry) -> bytes:
    """A person as bytes that `pickle.load` turns back, whatever the version of numpy."""
    buffer = io.BytesIO()
    _PortablePickler(buffer, _PROTOCOL).dump(dict(entry))
    return buffer.getvalue()
