"""Write a submission as a complete new file, so that no person is in it twice."""

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
from .forms import Entry, SubmissionError, SubmissionForm, file_name

MAX_PEOPLE = 50
"""Per image, best scores first, as in the submissions of the released AiOS."""
_MATCHED_JOINTS = 24
_PROTOCOL = 4
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""File time in the zip, so that equal content gives equal bytes."""


def kept_people(scores: np.ndarray, threshold: float, most: int = MAX_PEOPLE) -> np.ndarray:
    """Indices of at most `most` of (m,) scores at or above a threshold, best first."""
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= threshold][:most]


def mesh_entries(people: PredictedPeople) -> list[Entry]:
    """Entries of the people of one image with meshes and joints, for every leaderboard.

    Args:
        people: with 2D joints in pixels at the resolution of the form (`resolution_wh`).
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
    """Entries of the people of one image with SMPL-X parameters, for AGORA only.

    They are a hundred times smaller than meshes.

    Args:
        people: of a prediction.
        joints_2d: (P, 24 or more, 2) pixels at the resolution of the form.
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
    path: Path, form: SubmissionForm, images: Iterable[tuple[str, Sequence[Entry]]]
) -> int:
    """Write `predictions.zip`, replacing `path` atomically.

    Args:
        path: of the zip file.
        form: of the leaderboard.
        images: name (`SubmissionForm.image_name`) and entries of each image.

    Returns:
        Number of people written.

    Raises:
        SubmissionError: an entry is invalid, an image is repeated, or there are no entries.
    """
    seen: set[str] = set()
    written = 0
    with _new_zip(path) as archive:
        for image, entries in images:
            if image in seen:
                raise SubmissionError(f"Image {image} is given twice: give each image once.")
            seen.add(image)
            for person, entry in enumerate(entries):
                if fault := form.fault(entry):
                    raise SubmissionError(f"Person {person} of {image} {fault}.")
                _put(archive, file_name(image, person), portable_pickle(entry))
                written += 1
        if not written:
            raise SubmissionError("There are no people to submit: lower the score threshold.")
    return written


@contextmanager
def _new_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Zip file that replaces `path` on success and is deleted on failure."""
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
    info = zipfile.ZipInfo(name, _FIXED_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


class _PortablePickler(pickle.Pickler):
    """Pickles arrays so that numpy 1 and 2 can read them.

    Pickles of numpy 2 name a module that numpy 1, which the leaderboard programs use, lacks; the
    class `numpy.ndarray`, called with shape, dtype and bytes, exists in both.
    """

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - as the base class
        if isinstance(value, np.ndarray):
            content = bytearray(np.ascontiguousarray(value).tobytes())
            return np.ndarray, (value.shape, value.dtype.str, content)
        return NotImplemented


def portable_pickle(entry: Entry) -> bytes:
    """Pickle a person so that any version of numpy can load it."""
    buffer = io.BytesIO()
    _PortablePickler(buffer, _PROTOCOL).dump(dict(entry))
    return buffer.getvalue()
