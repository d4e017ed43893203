"""Resumable download of one file over HTTP."""

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
"""Waits before retries of a request that delivered no data; any progress resets the retries."""

_log = logging.getLogger(__name__)


class TransferError(ConnectionError):
    """Interrupted download; the partial file is kept."""


def download(
    url: str, headers: Mapping[str, str], target: Path, size: int | None, label: str
) -> None:
    """Download `url` to `target`, resuming after the bytes it already has; progress on stderr.

    Args:
        url: address of the file.
        headers: HTTP headers of each request.
        target: file to write; existing content must be the start of the same file.
        size: total size in bytes; None if unknown, which disables resuming.
        label: name of the file in messages.

    Raises:
        TransferError: repeated interruptions without progress.
        HfHubHTTPError: HTTP error status.
        OSError: the disk is full or not writable.
    """
    target.touch()
    if size is None or _size(target) > size:
        os.truncate(target, 0)
    _check_free_space(target, size)
    _log.info("Fetching %s%s", label, _of_size(size))
    waits = list(RETRY_WAITS_SECONDS)
    with tqdm(total=size, initial=_size(target), unit="B", unit_scale=True, desc=label) as bar:
        while size is None or _size(target) < size:
            before = _size(target)
            failure = _request_rest(url, headers, target, bar)
            if size is None and failure is None:
                return
            if size is not None and _size(target) >= size:
                break
            reason = failure or "the connection was closed"
            if _size(target) > before:
                waits = list(RETRY_WAITS_SECONDS)
            if not waits:
                raise TransferError(
                    f"The download of {label} was interrupted after"
                    f" {_size(target) / 1e6:.1f} MB{_of_size(size)} ({reason}):"
                    " run the same command again to resume it."
                )
            _log.warning("The download of %s was interrupted (%s); retrying.", label, reason)
            time.sleep(waits.pop(0))
    if size is not None and _size(target) > size:
        target.unlink()
        raise TransferError(f"{label} is larger than announced and was removed: try again.")


def _request_rest(url: str, headers: Mapping[str, str], target: Path, bar: tqdm) -> str | None:
    """Request the rest of `target` once; the reason if the connection failed, else None."""
    have = _size(target)
    # Compression would change sizes and ranges.
    request_headers = {**headers, "Accept-Encoding": "identity"}
    if have:
        request_headers["Range"] = f"bytes={have}-"
    try:
        with get_session().stream(
            "GET",
            url,
            headers=request_headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as response:
            hf_raise_for_status(response)
            is_partial = response.status_code == 206
            if have and not is_partial:
                bar.update(-have)
            with target.open("ab" if is_partial else "wb") as file:
                # Written as received: buffering would lose data when the connection breaks.
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    bar.update(len(chunk))
    except HfHubHTTPError:
        raise
    except HTTPError as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def _check_free_space(target: Path, size: int | None) -> None:
    if size is not None and shutil.disk_usage(target.parent).free < size - _size(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target.parent))


def _size(path: Path) -> int:
    return path.stat().st_size


def _of_size(size: int | None) -> str:
    return "" if size is None else f" of {size / 1e6:.1f} MB"
