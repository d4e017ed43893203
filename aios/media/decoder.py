"""Read photos in processes of their own, which are ended at a deadline.

A decoder cannot be interrupted, and a damaged file may crash it. Processes are started when they
are needed, serve one photo after another, and end with the program.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .exif import exif_field_of_view
from .photo import PhotoError, PhotoSource, display_name, read_noted_photo, read_photo
from .reduction import MAX_PIXELS

READ_SECONDS = 30
"""Photos that take longer to read and decode are refused. 80 megapixels of HEIC take 5 s."""
_MAX_IDLE = 8
_PIPE_BYTES = 1024 * 1024
_LENGTH = struct.Struct("<Q")
_SERVE = f"import sys; sys.path[:] = sys.argv[1:]; from {__name__} import serve; serve()"


class DecodedPhoto(NamedTuple):
    """A photo and what its EXIF data says about the camera."""

    pixels: np.ndarray
    """(H, W, 3) uint8 0-255, RGB, upright, as of `read_photo`."""
    field_of_view: float | None
    """Degrees across the longer side, as of `exif_field_of_view`."""
    note: str = ""
    """One sentence if the end of the file is missing; else empty."""


def read_photo_apart(source: PhotoSource, seconds: int | None = None) -> DecodedPhoto:
    """Read a photo like `read_photo`, in another process.

    Thread-safe: photos of several threads are decoded at the same time.

    Args:
        source: see `read_photo`; only paths and bytes are read in another process.
        seconds: deadline; None takes `READ_SECONDS`.

    Raises:
        PhotoError: as for `read_photo`, or the deadline has passed, or the decoder has crashed.
    """
    if not isinstance(source, str | Path | bytes):
        return DecodedPhoto(read_photo(source), exif_field_of_view(source))
    name = "The photo" if isinstance(source, bytes) else display_name(Path(source))
    decoder = _idle.take() or _start(name)
    try:
        return decoder.read(source, name, READ_SECONDS if seconds is None else seconds)
    finally:
        _idle.put(decoder)


class _Decoder:
    """One decoding process.

    Attributes:
        owner: process that has started it.
        is_usable: whether it can read another photo.
    """

    def __init__(self) -> None:
        folders = [os.path.abspath(folder) for folder in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE_BYTES,
            start_new_session=True,  # Ctrl-C in a terminal is for the program alone
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.owner, self.is_usable = os.getpid(), True
        # The time to start does not count.
        _receive(self._answers)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def read(self, source: str | Path | bytes, name: str, seconds: int) -> DecodedPhoto:
        """Read a photo; the process cannot be used again if it fails or is late."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            return self._read(source, seconds)
        except (OSError, EOFError) as error:
            self.is_usable = False
            raise PhotoError(
                f"{name} takes more than {seconds} s to decode: save it as a plain JPEG."
                if late.is_set()
                else f"{name} is damaged, or there is not enough memory for it."
            ) from error
        finally:
            timer.cancel()
            timer.join()
            self.is_usable = self.is_usable and not late.is_set()

    def _read(self, source: str | Path | bytes, seconds: int) -> DecodedPhoto:
        content = source if isinstance(source, bytes) else b""
        request: dict[str, Any] = {"bytes": len(content), "seconds": seconds}
        if not isinstance(source, bytes):
            request |= {"path": str(source), "folder": os.getcwd()}
        _send(self._requests, request, content)
        answer = _receive(self._answers)
        if "error" in answer:
            raise PhotoError(answer["error"])
        height, width = int(answer["height"]), int(answer["width"])
        if not 0 < height * width <= MAX_PIXELS:
            raise EOFError
        pixels = np.empty((height, width, 3), np.uint8)
        if self._answers.readinto(pixels.data.cast("B")) != pixels.nbytes:  # type: ignore[attr-defined]
            raise EOFError
        return DecodedPhoto(pixels, answer["field_of_view"], answer["note"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            # Closing writes what is left to the process that has ended.
            with contextlib.suppress(OSError):
                pipe.close()


def _start(name: str) -> _Decoder:
    try:
        return _Decoder()
    except (OSError, EOFError) as error:
        raise PhotoError(f"There is not enough memory for {name}: make it smaller.") from error


class _IdleDecoders:
    """Running processes without a photo, the latest used last."""

    def __init__(self) -> None:
        self._decoders: list[_Decoder] = []
        self._lock = threading.Lock()
        self._closes_at_exit = False

    def take(self) -> _Decoder | None:
        """A process for one photo; None if none is idle."""
        with self._lock:
            while self._decoders:
                decoder = self._decoders.pop()
                # A forked program leaves those of its parent alone.
                if decoder.owner != os.getpid():
                    continue
                if decoder.is_running:
                    return decoder
                decoder.close()
            return None

    def put(self, decoder: _Decoder) -> None:
        """Keep a process for the next photo, or end it."""
        with self._lock:
            if not self._closes_at_exit:
                atexit.register(close_idle)
                self._closes_at_exit = True
            if decoder.is_usable and len(self._decoders) < _MAX_IDLE:
                self._decoders.append(decoder)
                return
        decoder.close()


_idle = _IdleDecoders()


def close_idle() -> None:
    """End the processes that read no photo."""
    while (decoder := _idle.take()) is not None:
        decoder.close()


def serve() -> None:
    """Answer requests from standard input until it is closed; the work of the other process."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        # A decoder that a photo has taken over cannot write to files.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Output of libraries must not get between the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _send(answers, {})
    while True:
        try:
            request = _receive(requests)
        except EOFError:
            return
        content = requests.read(request["bytes"])
        # Ends this process also if the program has been killed, and in the middle of C code.
        if hasattr(signal, "alarm"):
            signal.alarm(request["seconds"] + 1)
        if "path" in request:
            os.chdir(request["folder"])
        _answer(answers, request.get("path", content))
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def _answer(answers: IO[bytes], source: str | bytes) -> None:
    try:
        pixels, note = read_noted_photo(source)
    except PhotoError as error:
        _send(answers, {"error": str(error)})
        return
    height, width = pixels.shape[:2]
    message = {
        "height": height,
        "width": width,
        "field_of_view": exif_field_of_view(source),
        "note": note,
    }
    _send(answers, message, pixels.data)


def _send(target: IO[bytes], message: dict[str, Any], content: bytes | memoryview = b"") -> None:
    text = json.dumps(message).encode()
    target.write(_LENGTH.pack(len(text)) + text)
    target.write(content)
    target.flush()


def _receive(source: IO[bytes]) -> dict[str, Any]:
    """Next message.

    Raises:
        EOFError: the other process has ended.
    """
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    text = source.read(length)
    if len(text) < length:
        raise EOFError
    message: dict[str, Any] = json.loads(text)
    return message
