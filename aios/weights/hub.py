"""Fetch weight files from the Hugging Face Hub, resumable, with errors a person can act on.

`huggingface_hub` keeps the cache and knows the addresses.  It throws half a file away when a
download ends with an error, so the bytes are fetched here: into `<etag>.incomplete` beside the
finished files of its cache, continued by the next call, checked, and then handed over to it.

The environment (`HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`) is read at each call.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from .checkpoint import CheckpointError
from .download import TransferError, download

ANSWER_SECONDS = 10.0
"""How long the Hub may take to say what it has."""
_SAFE_ETAG = re.compile(r"[\w-][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRUE_WORDS = {"1", "ON", "YES", "TRUE"}
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class HubError(CheckpointError):
    """A file of the Hub could not be had; the message says why and what to do."""


class HubFileMissingError(HubError):
    """The repository is there, the file is not."""


def cached_file(repo_id: str, filename: str) -> Path | None:
    """Where `filename` of `repo_id` already lies in the Hub cache, without asking the network."""
    with _errors_as_sentences(repo_id, filename):
        found = try_to_load_from_cache(repo_id, filename, cache_dir=_cache_dir())
    return Path(found) if isinstance(found, str) else None


def ask_hub(repo_id: str, filename: str, timeout: float = ANSWER_SECONDS) -> HfFileMetadata:
    """What the Hub says about a file; answers or fails within `timeout` seconds.

    Raises:
        HubError: no answer in time, no permission, or no such file.
    """

    def ask() -> HfFileMetadata:
        url = hf_hub_url(repo_id, filename, endpoint=_endpoint())
        return get_hf_file_metadata(url, timeout=timeout, endpoint=_endpoint())

    with _errors_as_sentences(repo_id, filename):
        if _is_offline():
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        return _within(timeout, ask)


def fetch_file(repo_id: str, filename: str) -> Path:
    """Bring `filename` of `repo_id` into the Hub cache, continuing an earlier broken transfer.

    A newer version on the Hub is fetched; without an answer from the Hub, what the cache holds is
    used.

    Returns:
        The path of the whole, checked file.

    Raises:
        HubError: it could not be fetched; what arrived so far is kept for the next call.
    """
    cached = cached_file(repo_id, filename)
    try:
        metadata = ask_hub(repo_id, filename)
    except HubError as error:
        if cached is None:
            raise
        _log.warning("Using the cached copy of %s: %s", filename, error)
        return cached
    with _errors_as_sentences(repo_id, filename):
        _bring_blob(repo_id, filename, metadata)
        return Path(
            hf_hub_download(repo_id, filename, cache_dir=_cache_dir(), endpoint=_endpoint())
        )


def fetch_outside_cache(repo_id: str, filename: str, folder: Path) -> Path:
    """Bring a file that must not stay on this machine into a folder of the caller's.

    Args:
        repo_id: of the Hub; may be private, with HF_TOKEN in the environment.
        filename: in the repository.
        folder: exists; the caller removes it.

    Returns:
        The path of the whole, checked file.

    Raises:
        HubError: it could not be fetched.
    """
    metadata = ask_hub(repo_id, filename)
    target = folder / Path(filename).name
    with _errors_as_sentences(repo_id, filename):
        label = f"{filename} from {repo_id}"
        headers = _headers_for(metadata.location)
        download(metadata.location, headers, target, metadata.size, label)
        _check(target, metadata.etag, label)
    return target


def _bring_blob(repo_id: str, filename: str, metadata: HfFileMetadata) -> None:
    """Put the bytes where the cache of `huggingface_hub` keeps them: `blobs/<etag>`."""
    etag = metadata.etag
    if etag is None or metadata.commit_hash is None or not _SAFE_ETAG.fullmatch(etag):
        raise HubError(
            f"{metadata.location} does not answer like the Hugging Face Hub:"
            " check HF_ENDPOINT and the proxy."
        )
    folder_name = "models--" + repo_id.replace("/", "--")
    blob = _cache_dir() / folder_name / "blobs" / etag
    lock = _cache_dir() / ".locks" / folder_name / f"{etag}.lock"
    if blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            return
        partial = blob.with_name(f"{etag}.incomplete")
        download(
            metadata.location,
            _headers_for(metadata.location),
            partial,
            metadata.size,
            f"{filename} from {repo_id}",
        )
        _check(partial, etag, f"{filename} from {repo_id}")
        partial.replace(blob)


def _check(path: Path, etag: str | None, label: str) -> None:
    """Compare a file with the checksum that the Hub gave for it, if it gave one."""
    if etag is not None and _SHA256.fullmatch(etag) and _sha256(path) != etag:
        path.unlink()
        raise HubError(
            f"{label} arrived damaged (its checksum is wrong)"
            " and was removed: run the same command again."
        )


def _headers_for(url: str) -> dict[str, str]:
    """Headers of a request; only the Hub itself may see the person's token."""
    is_hub = urlsplit(url).netloc == urlsplit(_endpoint()).netloc
    return dict(build_hf_headers(token=None if is_hub else False))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


def _cache_dir() -> Path:
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if "HF_HOME" in os.environ:
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    return Path(constants.HF_HUB_CACHE)


def _is_offline() -> bool:
    asked = os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE_WORDS
    return asked or constants.HF_HUB_OFFLINE


def _within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Run `call`, but wait no longer than `seconds`.

    Time limits of sockets do not bound looking up a name or an answer that trickles.  The thread
    is a daemon: it may go on, and nobody waits for it.
    """
    future: Future[_Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # handed to the caller, whatever it is
            future.set_exception(error)

    Thread(target=work, daemon=True, name="ask-hub").start()
    return future.result(timeout=seconds)


@contextmanager
def _errors_as_sentences(repo_id: str, filename: str) -> Iterator[None]:
    """Turn what `huggingface_hub`, the network and the disk raise into a `HubError`."""
    try:
        yield
    except HubError:
        raise
    except EntryNotFoundError as error:
        if not isinstance(error, HfHubHTTPError):
            raise HubError(_unreachable(error)) from error
        raise HubFileMissingError(f"{repo_id} on the Hub has no file {filename}.") from error
    except HfHubHTTPError as error:
        raise HubError(_refusal(error, repo_id)) from error
    except TransferError as error:
        raise HubError(str(error)) from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise HubError(_unreachable(error)) from error
    except OSError as error:
        raise HubError(_cache_trouble(error)) from error
    except ValueError as error:
        raise HubError(f"{repo_id!r} is no name of a Hub repository: {error}") from error


def _refusal(error: HfHubHTTPError, repo_id: str) -> str:
    status = error.response.status_code
    page = f"https://huggingface.co/{repo_id}"
    if isinstance(error, GatedRepoError):
        return (
            f"{repo_id} on the Hub is gated ({status}):"
            f" accept its licence at {page} and log in with `hf auth login`."
        )
    if status in (401, 403):
        return (
            f"{repo_id} on the Hub does not exist or needs permission ({status}): check the name,"
            f" log in with `hf auth login`, and accept the licence at {page} if there is one."
        )
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return f"There is nothing named {repo_id} on the Hub ({status}): check the name at {page}."
    return f"The Hub could not answer for {repo_id} ({status}): try again later."


def _unreachable(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "The Hub was not asked because HF_HUB_OFFLINE is set: unset it to download."
    reason = "no answer in time" if isinstance(error, TimeoutError) else _first_line(error)
    return f"The Hub at {_endpoint()} could not be reached ({reason}): check the network."


def _cache_trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of the Hub cache {_cache_dir()} is full:"
            " free some space, or set HF_HOME to a folder on another disk."
        )
    return (
        f"The Hub cache {_cache_dir()} cannot be written ({error.strerror or _first_line(error)}):"
        " set HF_HOME to a folder that you may write to."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
