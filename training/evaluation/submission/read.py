"""Read a submission back under the rules of the judges' programs."""

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
    """A `predictions.zip` as the judges see it.

    Attributes:
        pictures: names of the pictures with people, sorted.
    """

    def __init__(self, path: Path, form: SubmissionForm, body: BodyModel | None = None) -> None:
        """Open the file.

        Args:
            path: of the zip file.
            form: of the leaderboard.
            body: poses people who are given by parameters; not needed for meshes.

        Raises:
            SubmissionError: there is no such zip file, or it has a file of another name.
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
        self.pictures = sorted(self._files)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._archive.close()

    def people(self, picture: str) -> PredictedPeople:
        """The people of one picture by number, with scores of 1; nobody if it has no file.

        Raises:
            SubmissionError: a file is damaged or not as the form asks, or it gives parameters
                and there is no body to pose.
        """
        entries = []
        for _, name in sorted(self._files.get(picture, [])):
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
            raise SubmissionError(f"{name} gives parameters: name the SMPL-X body to pose them.")
        posed = self._body(_posable(name, entry))
        joints = posed.joints_3d[0, : self._form.num_joints]
        return posed.vertices[0].numpy(), joints.numpy()


def check_submission(
    path: Path, form: SubmissionForm, picture_names: Collection[str] | None = None
) -> list[str]:
    """What the judges would not take, a sentence each; nothing if all is well.

    Args:
        path: of the zip file.
        form: of the leaderboard.
        picture_names: all pictures of the benchmark (`NAME.png`), if they are known.

    Returns:
        At most 20 sentences.
    """
    try:
        archive = _open(path)
    except SubmissionError as error:
        return [str(error)]
    faults = []
    with archive:
        for fault in _faults(archive, form, picture_names):
            faults.append(f"{fault}.")
            if len(faults) == _MOST_FAULTS:
                break
    return faults


def _faults(
    archive: zipfile.ZipFile, form: SubmissionForm, picture_names: Collection[str] | None
) -> Iterator[str]:
    names = _file_names(archive)
    if not names:
        yield f"There is no file in {FOLDER}/: nobody is submitted"
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{name} is in the zip {times} times, and only one of them would count"
    contents: dict[tuple[str, bytes], str] = {}
    for name in dict.fromkeys(names):
        parsed = parse_name(name)
        if parsed is None:
            yield _name_fault(name)
            continue
        if picture_names is not None and parsed[0] not in picture_names:
            yield f"{name} belongs to {parsed[0]}, which is no picture of the benchmark"
        entry, fault = _read_entry(archive, name, form)
        if fault:
            yield f"{name} {fault}"
            continue
        same = contents.setdefault((parsed[0], _digest(entry)), name)
        if same != name:
            yield f"{name} is the same person as {same}: results of two runs were put together"


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise SubmissionError(f"There is no file {path}.")
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise SubmissionError(
            f"{path} is not a zip file, or its end is missing: write it again."
        ) from error


def _file_names(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/")]


def _name_fault(name: str) -> str:
    if not name.startswith(f"{FOLDER}/"):
        return f"{name} does not lie in the folder {FOLDER}/ of the zip"
    return f"{name} is not named PICTURE_personId_NUMBER.pkl"


def _read_entry(
    archive: zipfile.ZipFile, name: str, form: SubmissionForm
) -> tuple[Any, str | None]:
    """What a file holds, and the rest of a sentence on what is wrong with it."""
    try:
        entry = load_array_pickle(io.BytesIO(archive.read(name)))
    except pickle.UnpicklingError as error:
        return None, f"is damaged or holds something else than arrays ({error})"
    except Exception:  # a damaged pickle or zip can raise nearly anything
        return None, "is damaged: it can be neither unpacked nor unpickled"
    try:
        return entry, form.fault(entry)
    except (ValueError, TypeError) as error:
        return None, str(error)


def _digest(entry: Mapping[str, Any]) -> bytes:
    """Equal for equal people."""
    digest = hashlib.sha256()
    for name in sorted(entry):
        value = entry[name]
        digest.update(name.encode())
        digest.update(_digest(value) if isinstance(value, Mapping) else np.asarray(value).tobytes())
    return digest.digest()


def _posable(name: str, entry: Entry) -> dict[str, torch.Tensor]:
    """Parameters as our body takes them; what it has no counterpart for is refused."""
    params = {key: torch.as_tensor(np.asarray(value)) for key, value in entry["params"].items()}
    reasons = {
        "is not of the neutral body": str(option(entry, "gender", "neutral")) != "neutral",
        "is not of the SMPL-X body": bool(set(SMPLX_NAMES) - set(params)),
        "has more than 10 betas": params["betas"].shape != (1, 10),
        # Whether the judges add the mean hand to matrices is not known.
        "gives rotation matrices": not option(entry, "pose2rot", True),
        "turns the eyes": any(params[eye].any() for eye in _EYES if eye in params),
    }
    for reason, holds in reasons.items():
        if holds:
            raise SubmissionError(f"{name} {reason}: figures can be computed from its mesh only.")
    return {key: params[key] for key in SMPLX_NAMES}
