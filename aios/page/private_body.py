"""SMPL-X bodies that must not stay on this machine: read into memory, the file removed at once.

The licence of SMPL-X forbids handing the file on.  A public page gets it from a private repository
of its owner (AIOS_SMPLX_REPO, read with HF_TOKEN), or from a visitor for that visitor alone.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zipfile
from pathlib import Path

from ..body.file import find_body_file, read_body_file
from ..body.model import BodyModel, BodyModelError
from ..weights.hub import HubError, HubFileMissingError, fetch_to_folder

ENVIRONMENT_VARIABLE = "AIOS_SMPLX_REPO"
FILE_NAMES = ("SMPLX_NEUTRAL.npz", "SMPLX_NEUTRAL.pkl")

MOST_UNPACKED_BYTES = 1_000_000_000
"""Of a stranger's file; SMPL-X in double precision takes a third of it."""

_log = logging.getLogger(__name__)


def body_of_environment() -> BodyModel | None:
    """The body in the repository `user/name` or `user/name:FILE` that AIOS_SMPLX_REPO names.

    Returns:
        The body; None if the variable is not set, and, after a line of the log, if there is no
        usable body: a page without its own body goes on with the one it has.
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


def take_body(path: Path) -> BodyModel:
    """Read a body that a stranger has sent, and remove the file whatever becomes of it.

    Archives only: a pickle may be made to take all memory while it is read.

    Raises:
        BodyModelError: the file is no neutral SMPL-X model; the message names no folder.
    """
    try:
        if path.suffix.lower() != ".npz":
            raise BodyModelError(f"{path.name} is no .npz file: send SMPLX_NEUTRAL.npz.")
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
    if size > MOST_UNPACKED_BYTES:
        raise BodyModelError(
            f"{path.name} unpacks to more than {MOST_UNPACKED_BYTES // 1_000_000} MB:"
            " this is no SMPL-X model."
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
