"""Resumable download of weight files from the Hugging Face Hub.

`huggingface_hub` resolves addresses and manages the cache, but deletes partial files when a
download fails.  So files are downloaded here: to `<etag>.incomplete` in its `blobs` folder, resumed
by the next call, verified, and renamed to the blob that `huggingface_hub` expects.

The environment (`HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`) is read on each call.
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

METADATA_TIMEOUT_SECONDS = 10.0
"""Time limit for a request for the metadata of a file."""
_PROXY_MESSAGE = (
    "The Hub is not reachable through the proxy of the environment: set ALL_PROXY, HTTP_PROXY and"
    " HTTPS_PROXY to http://HOST:PORT, or unset them."
)
_SAFE_ETAG = re.compile(r"[\w-][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRUE_WORDS = {"1", "ON", "YES", "TRUE"}
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class HubError(CheckpointError):
    """A file cannot be fetched from the Hub; the message names the reason and the remedy."""


class HubFileMissingError(HubError):
    """The repository exists, but the file does not."""


def find_cached(repo_id: str, filename: str) -> Path | None:
    """Path of a file in the Hub cache, None if it is not there; makes no request."""
    with _hub_errors(repo_id, filename):
        found = try_to_load_from_cache(repo_id, filename, cache_dir=_cache_dir())
    return Path(found) if isinstance(found, str) else None


def fetch_metadata(
    repo_id: str, filename: str, timeout: float = METADATA_TIMEOUT_SECONDS
) -> HfFileMetadata:
    """Fetch the metadata of a file within `timeout` seconds.

    Raises:
        HubError: no response in time, no permission, or no such file.
    """

    def request() -> HfFileMetadata:
        url = hf_hub_url(repo_id, filename, endpoint=_endpoint())
        return get_hf_file_metadata(url, timeout=timeout, endpoint=_endpoint())

    with _hub_errors(repo_id, filename):
        if _is_offline():
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        return _run_with_timeout(timeout, request)


def fetch_file(repo_id: str, filename: str) -> Path:
    """Fetch a file into the Hub cache, resuming an interrupted download.

    Fetches a newer version if there is one; uses the cached version if the Hub is not reachable.

    Returns:
        Path of the complete, verified file.

    Raises:
        HubError: the file cannot be fetched; the next call resumes a partial download.
    """
    cached = find_cached(repo_id, filename)
    try:
        metadata = fetch_metadata(repo_id, filename)
    except HubError as error:
        if cached is None:
            raise
        _log.warning("Using the cached copy of %s: %s", filename, error)
        return cached
    with _hub_errors(repo_id, filename):
        _download_blob(repo_id, filename, metadata)
        return Path(
            hf_hub_download(repo_id, filename, cache_dir=_cache_dir(), endpoint=_endpoint())
        )


def fetch_to_folder(repo_id: str, filename: str, folder: Path) -> Path:
    """Fetch a file to a folder instead of the Hub cache, so that the caller can delete it.

    Args:
        repo_id: Hub repository; may be private if HF_TOKEN is set.
        filename: path in the repository.
        folder: existing folder.

    Returns:
        Path of the complete, verified file.

    Raises:
        HubError: the file cannot be fetched.
    """
    metadata = fetch_metadata(repo_id, filename)
    target = folder / Path(filename).name
    with _hub_errors(repo_id, filename):
        label = f"{filename} from {repo_id}"
        headers = _headers_for(metadata.location)
        download(metadata.location, headers, target, metadata.size, label)
        _verify(target, metadata.etag, label)
    return target


def _download_blob(repo_id: str, filename: str, metadata: HfFileMetadata) -> None:
    """Download to `blobs/<etag>` of the Hub cache."""
    etag = metadata.etag
    if etag is None or metadata.commit_hash is None or not _SAFE_ETAG.fullmatch(etag):
        raise HubError(
            f"{metadata.location} does not respond like the Hugging Face Hub:"
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
        _verify(partial, etag, f"{filename} from {repo_id}")
        partial.replace(blob)


def _verify(path: Path, etag: str | None, label: str) -> None:
    """Compare a file with its SHA-256 etag; other etags are not checksums."""
    if etag is not None and _SHA256.fullmatch(etag) and _sha256(path) != etag:
        path.unlink()
        raise HubError(
            f"{label} was damaged in transfer (wrong checksum) and was removed:"
            " run the same command again."
        )


def _headers_for(url: str) -> dict[str, str]:
    """Request headers; the access token is sent to the Hub only."""
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
    is_set = os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE_WORDS
    return is_set or constants.HF_HUB_OFFLINE


def _run_with_timeout(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Run `call` in a daemon thread and wait for at most `seconds`.

    Socket timeouts do not limit name resolution or slow responses.  After a timeout the thread
    keeps running in the background.
    """
    future: Future[_Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # re-raised in the caller
            future.set_exception(error)

    Thread(target=work, daemon=True, name="hub-metadata").start()
    return future.result(timeout=seconds)


@contextmanager
def _hub_errors(repo_id: str, filename: str) -> Iterator[None]:
    """Convert errors of `huggingface_hub`, the network and the disk to `HubError`."""
    try:
        yield
    except HubError:
        raise
    except EntryNotFoundError as error:
        if not isinstance(error, HfHubHTTPError):
            raise HubError(_network_message(error)) from error
        raise HubFileMissingError(f"{repo_id} on the Hub has no file {filename}.") from error
    except HfHubHTTPError as error:
        raise HubError(_status_message(error, repo_id)) from error
    except TransferError as error:
        raise HubError(str(error)) from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise HubError(_network_message(error)) from error
    except OSError as error:
        raise HubError(_disk_message(error)) from error
    except (ImportError, ValueError) as error:
        raise HubError(_name_or_proxy_message(error, repo_id)) from error


def _status_message(error: HfHubHTTPError, repo_id: str) -> str:
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
        return f"{repo_id} does not exist on the Hub ({status}): check the name at {page}."
    return f"The Hub failed to serve {repo_id} (status {status}): try again later."


def _name_or_proxy_message(error: Exception, repo_id: str) -> str:
    # ImportError: of the package for SOCKS proxies.
    if isinstance(error, ImportError) or "proxy" in str(error).lower():
        return _PROXY_MESSAGE
    return f"{repo_id!r} is not a valid Hub repository name: {error}"


def _network_message(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "Downloads are disabled because HF_HUB_OFFLINE is set: unset it to download."
    reason = "timeout" if isinstance(error, TimeoutError) else _first_line(error)
    return f"The Hub at {_endpoint()} is not reachable ({reason}): check the network."


def _disk_message(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of the Hub cache {_cache_dir()} is full:"
            " free disk space, or set HF_HOME to a folder on another disk."
        )
    return (
        f"The Hub cache {_cache_dir()} is not writable ({error.strerror or _first_line(error)}):"
        " set HF_HOME to a writable folder."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
