"""Read and check a submission by the rules of the leaderboard programs."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from aios.body.array_pickle import load_array_pickle
from aios.body.model import BodyModel
from aios.body.parameters import SMPLX_NAMES

from ..metrics import PredictedPeople
from .forms import FOLDER, Entry, SubmissionError, SubmissionForm, option, parse_name

_MATCHED_JOINTS = 24
_MOST_FAULTS = 20
_EYES = ("leye_pose", "reye_pose")


class Submission:
    """The people in a `predictions.zip`.

    Attributes:
        images: names of the images with people, sorted.
    """

    def __init__(self, path: Path, form: SubmissionForm, body: BodyModel | None = None) -> None:
        """Open the file.

        Args:
            path: of the zip file.
            form: of the leaderboard.
            body: poses people given by parameters; not needed for meshes.

        Raises:
            SubmissionError: the file is missing or no zip file, or a path in it has another
                form.
        """
        self._form, self._body = form, body
        self._archive = _open(path)
        self._files: dict[str, list[tuple[int, str]]] = {}
        for name in dict.fromkeys(_file_names(self._archive)):
            parsed = parse_name(name)
            if parsed is None:
                self._archive.close()
                raise SubmissionError(f"{path}: {_name_fault(name)}.")
            self._files.setdefault(parsed[0], []).append((parsed[1], name))
        self.images = sorted(self._files)

    def __enter__(self) -> Self:
        """Return the submission."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._archive.close()

    def people(self, image: str) -> PredictedPeople:
        """Read the people of one image by index, with scores of 1; empty if it has no file.

        Raises:
            SubmissionError: a file is damaged or invalid, or has parameters and no body was
                given.
        """
        entries = []
        for _, name in sorted(self._files.get(image, [])):
            entry, fault = _read_entry(self._archive, name, self._form)
            if fault:
                raise SubmissionError(f"{name} {fault}.")
            entries.append((name, entry))
        if not entries:
            return PredictedPeople.empty()
        meshes = [self._mesh(name, entry) for name, entry in entries]
        return PredictedPeople(
            scores=np.ones(len(entries)),
            joints_2d=np.stack([entry["joints"][:_MATCHED_JOINTS] for _, entry in entries]),
            joints_3d=np.stack([joints for _, joints in meshes]),
            vertices=np.stack([vertices for vertices, _ in meshes]),
        )

    def _mesh(self, name: str, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) and joints (J, 3) in metres."""
        if "verts" in entry:
            return entry["verts"], entry["allSmplJoints3d"]
        if self._body is None:
            raise SubmissionError(f"{name} has parameters: give the SMPL-X body to pose them.")
        posed = self._body(_posable(name, entry))
        joints = posed.joints_3d[0, : self._form.num_joints]
        return posed.vertices[0].numpy(), joints.numpy()


def check_submission(
    path: Path, form: SubmissionForm, image_names: Collection[str] | None = None
) -> list[str]:
    """List the errors of a submission, one sentence each.

    Args:
        path: of the zip file.
        form: of the leaderboard.
        image_names: all images of the benchmark (`NAME.png`); None does not check names.

    Returns:
        At most 20 sentences; empty if the submission is valid.
    """
    try:
        archive = _open(path)
    except SubmissionError as error:
        return [str(error)]
    faults = []
    with archive:
        for fault in _faults(archive, form, image_names):
            faults.append(f"{fault}.")
            if len(faults) == _MOST_FAULTS:
                break
    return faults


def _faults(
    archive: zipfile.ZipFile, form: SubmissionForm, image_names: Collection[str] | None
) -> Iterator[str]:
    names = _file_names(archive)
    if not names:
        yield f"There is no file in {FOLDER}/"
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{name} is in the zip {times} times; only one of them would be evaluated"
    contents: dict[tuple[str, bytes], str] = {}
    for name in dict.fromkeys(names):
        parsed = parse_name(name)
        if parsed is None:
            yield _name_fault(name)
            continue
        if image_names is not None and parsed[0] not in image_names:
            yield f"{name} belongs to {parsed[0]}, which is not an image of the benchmark"
        entry, fault = _read_entry(archive, name, form)
        if fault:
            yield f"{name} {fault}"
            continue
        same = contents.setdefault((parsed[0], _digest(entry)), name)
        if same != name:
            yield f"{name} is the same person as {same}: the zip combines two runs"


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise SubmissionError(f"There is no file {path}.")
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise SubmissionError(
            f"{path} is not a zip file or is incomplete: write it again."
        ) from error


def _file_names(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/")]


def _name_fault(name: str) -> str:
    if not name.startswith(f"{FOLDER}/"):
        return f"{name} is not in the folder {FOLDER}/ of the zip"
    return f"{name} is not named PICTURE_personId_NUMBER.pkl"


def _read_entry(
    archive: zipfile.ZipFile, name: str, form: SubmissionForm
) -> tuple[Any, str | None]:
    """Content of a file, and its error as the end of a sentence."""
    try:
        entry = load_array_pickle(io.BytesIO(archive.read(name)))
    except pickle.UnpicklingError as error:
        return None, f"is damaged or has content other than arrays ({error})"
    except Exception:  # damaged pickles and zips raise almost any exception
        return None, "is damaged: it cannot be unpacked and unpickled"
    try:
        return entry, form.fault(entry)
    except (ValueError, TypeError) as error:
        return None, str(error)


def _digest(entry: Mapping[str, Any]) -> bytes:
    """Hash of the content of an entry."""
    digest = hashlib.sha256()
    for name in sorted(entry):
        value = entry[name]
        digest.update(name.encode())
        digest.update(_digest(value) if isinstance(value, Mapping) else np.asarray(value).tobytes())
    return digest.digest()


def _posable(name: str, entry: Entry) -> dict[str, torch.Tensor]:
    """Convert parameters to the inputs of `BodyModel`; unsupported options are refused."""
    params = {key: torch.as_tensor(np.asarray(value)) for key, value in entry["params"].items()}
    reasons = {
        "has a gendered body": str(option(entry, "gender", "neutral")) != "neutral",
        "is not an SMPL-X body": bool(set(SMPLX_NAMES) - set(params)),
        "has more than 10 betas": params["betas"].shape != (1, 10),
        # It is unknown whether the leaderboard adds the mean hand to rotation matrices.
        "has rotation matrices": not option(entry, "pose2rot", True),
        "has eye poses": any(params[eye].any() for eye in _EYES if eye in params),
    }
    for reason, holds in reasons.items():
        if holds:
            raise SubmissionError(f"{name} {reason}: give its mesh instead of parameters.")
    return {key: params[key] for key in SMPLX_NAMES}
