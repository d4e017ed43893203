"""SMPL-X body models that are read into memory without keeping the file.

The licence of SMPL-X forbids redistribution of the file. A public page gets it from a private
repository of its owner (AIOS_SMPLX_REPO, read with HF_TOKEN) or from a visitor's upload.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zipfile
from pathlib import Path

from ..body.file import FILE_NAMES, read_body_file
from ..body.location import find_body_file
from ..body.model import BodyModel, BodyModelError
from ..weights.hub import HubError, HubFileMissingError, fetch_to_folder

ENVIRONMENT_VARIABLE = "AIOS_SMPLX_REPO"

MAX_UNPACKED_BYTES = 1_000_000_000
"""Limit for uploads; SMPL-X in double precision has a third of it."""

_log = logging.getLogger(__name__)


def body_of_environment() -> BodyModel | None:
    """Load the body from the repository in AIOS_SMPLX_REPO, `user/name` or `user/name:FILE`.

    Returns:
        The body; None if the variable is not set or, with a warning in the log, if the body
        cannot be loaded.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not named:
        return None
    repo_id, _, filename = named.partition(":")
    try:
        with tempfile.TemporaryDirectory(prefix="aios-body-") as folder:
            return _load(_fetch(repo_id, filename, Path(folder)))
    except (BodyModelError, HubError, OSError) as error:
        _log.warning("The body of %s is not used: %s", ENVIRONMENT_VARIABLE, error)
        return None


def read_uploaded_body(path: Path) -> BodyModel:
    """Read an uploaded body model and delete the file, also after an error.

    Only .npz is accepted, because reading a malicious pickle can exhaust memory.

    Raises:
        BodyModelError: the file is not a neutral SMPL-X model. The message contains no folder.
    """
    try:
        if path.suffix.lower() != ".npz":
            raise BodyModelError(f"{path.name} is not an .npz file: send SMPLX_NEUTRAL.npz.")
        _check_unpacked_size(path)
        return _load(path)
    except BodyModelError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise BodyModelError(f"{path.name} is not a readable .npz body model.") from error
    finally:
        path.unlink(missing_ok=True)


def _check_unpacked_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_UNPACKED_BYTES:
        raise BodyModelError(
            f"{path.name} unpacks to more than {MAX_UNPACKED_BYTES // 1_000_000} MB:"
            " this is not an SMPL-X model."
        )


def _fetch(repo_id: str, filename: str, folder: Path) -> Path:
    if filename:
        return fetch_to_folder(repo_id, filename, folder)
    for name in FILE_NAMES:
        try:
            return fetch_to_folder(repo_id, name, folder)
        except HubFileMissingError:
            continue
    raise HubError(f"{repo_id} on the Hub holds neither {' nor '.join(FILE_NAMES)}.")


def _load(path: Path) -> BodyModel:
    try:
        return BodyModel(*read_body_file(find_body_file(path)))
    except BodyModelError as error:
        raise BodyModelError(str(error).replace(str(path), path.name)) from error
