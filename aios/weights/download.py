"""Bring one file over HTTP, continuing where an earlier attempt broke off."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import get_session, hf_raise_for_status, tqdm

RETRY_WAITS_SECONDS = (1.0, 2.0, 4.0)
"""Pauses after breaks that brought nothing new; any progress starts the row again."""

_log = logging.getLogger(__name__)


class TransferError(ConnectionError):
    """A transfer broke off; the part that arrived is kept."""


def download(
    url: str, headers: Mapping[str, str], target: Path, size: int | None, label: str
) -> None:
    """Fill `target` from `url`, starting at the bytes it already holds; shows progress on stderr.

    Args:
        url: where the file is.
        headers: sent with each request.
        target: the file to fill; what it holds must be the beginning of the same file.
        size: bytes of the whole file, None if unknown (then nothing is continued).
        label: what to call the file.

    Raises:
        TransferError: the connection broke again and again without progress.
        HfHubHTTPError: the server refused.
        OSError: the disk is full or cannot be written.
    """
    target.touch()
    if size is None or _size(target) > size:
        os.truncate(target, 0)
    _require_space(target, size)
    _log.info("Fetching %s%s", label, _of_size(size))
    waits = list(RETRY_WAITS_SECONDS)
    with tqdm(total=size, initial=_size(target), unit="B", unit_scale=True, desc=label) as bar:
        while size is None or _size(target) < size:
            before = _size(target)
            broken = _append(url, headers, target, bar)
            if size is None and broken is None:
                return
            if size is not None and _size(target) >= size:
                break
            reason = broken or "the connection was closed"
            if _size(target) > before:
                waits = list(RETRY_WAITS_SECONDS)
            if not waits:
                raise TransferError(
                    f"The download of {label} broke off after {_size(target) / 1e6:.1f} MB"
                    f"{_of_size(size)} ({reason}): the same command continues from there."
                )
            _log.warning("The download of %s broke off (%s); trying again.", label, reason)
            time.sleep(waits.pop(0))
    if size is not None and _size(target) > size:
        target.unlink()
        raise TransferError(f"{label} is longer than announced and was removed: try again.")


def _append(url: str, headers: Mapping[str, str], target: Path, bar: tqdm) -> str | None:
    """One request for the rest of `target`; the reason if it ended early, None if it did not."""
    have = _size(target)
    # Compressed answers would make sizes and ranges mean something else.
    asked = {**headers, "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    try:
        with get_session().stream(
            "GET",
            url,
            headers=asked,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as response:
            hf_raise_for_status(response)
            continues = response.status_code == 206
            if have and not continues:
                bar.update(-have)
            with target.open("ab" if continues else "wb") as file:
                # In the pieces that arrive: collecting larger ones would lose them in a break.
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    bar.update(len(chunk))
    except HfHubHTTPError:
        raise
    except HTTPError as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def _require_space(target: Path, size: int | None) -> None:
    if size is not None and shutil.disk_usage(target.parent).free < size - _size(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target.parent))


def _size(path: Path) -> int:
    return path.stat().st_size


def _of_size(size: int | None) -> str:
    return "" if size is None else f" of {size / 1e6:.1f} MB"
