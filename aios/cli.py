"""Options and start-up code shared by the command line and the page server."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .predictor import AiOSPredictor

_log = logging.getLogger(__name__)

FIRST_PORT, PORTS_TRIED = 7860, 100
_M_ARENA_MAX = -8  # malloc.h
_MAX_INTEGER = 1_000_000


class StartError(Exception):
    """The program cannot start; the message is one sentence for a person."""


class OneLineParser(argparse.ArgumentParser):
    """Argument parser that reports errors in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def configure_threads_and_malloc() -> None:
    """Set how idle OpenMP threads wait and use one malloc arena; call before importing torch.

    Idle OpenMP threads spin for some microseconds, then sleep. Spinning longer takes cores from
    other threads and programs; sleeping at once delays the next of many short operations. On idle
    cores this makes the paper's network 10 % faster than sleeping at once; on busy ones it makes
    no difference.

    With one arena per thread (glibc's default), each arena keeps freed memory: 0.1 GB with the
    paper's network.

    Environment variables that are already set take precedence.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):  # another libc than glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def prepare_proxies(host: str = "127.0.0.1") -> None:
    """Ignore proxies that cannot be used, and use none for this machine.

    The HTTP library raises exceptions for other schemes, even for requests that need no proxy.

    Args:
        host: that the page listens on.
    """
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        for variable in (name, name.lower()):
            value = os.environ.get(variable, "")
            if value and not _is_usable_proxy(value):
                del os.environ[variable]
                _log.warning("The proxy in %s is ignored: it must be http://HOST:PORT.", variable)
    local = ("127.0.0.1", "localhost", "::1", host)
    known = [os.environ.get(variable, "") for variable in ("NO_PROXY", "no_proxy")]
    names = [part.strip() for text in (*known, *local) for part in text.split(",")]
    for variable in ("NO_PROXY", "no_proxy"):
        os.environ[variable] = ",".join(dict.fromkeys(filter(None, names)))


def _is_usable_proxy(value: str) -> bool:
    try:
        address = urlsplit(value if "://" in value else f"http://{value}")
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # the port is not a number
        return False


def add_model_arguments(parser: argparse.ArgumentParser, with_device: bool = True) -> None:
    """Add --weights, --body, --device if wanted, --speed, --refine and --threshold."""
    parser.add_argument(
        "--weights",
        default="auto",
        metavar="SOURCE",
        help="auto (default), official, builtin, a Hugging Face Hub repository, or a file",
    )
    parser.add_argument(
        "--body",
        type=Path,
        metavar="PATH",
        help="SMPL-X file or folder (default: $AIOS_SMPLX, else the built-in stand-in)",
    )
    if with_device:
        parser.add_argument(
            "--device", metavar="NAME", help="cpu, cuda, cuda:1 ... (default: best)"
        )
    parser.add_argument(
        "--speed",
        choices=("exact", "fast"),
        default="exact",
        help="fast: 8-bit matrix products on a CPU, bf16 on a GPU; vertices move by 1-2 mm"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        help="refine poses to the predicted 2D keypoints and, in photos, distances to a common "
        "floor (default: with the built-in weights)",
    )
    parser.add_argument(
        "--threshold",
        type=zero_to_one,
        metavar="S",
        help="confidence threshold, 0-1 (default: that of the weights)",
    )


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --input-size and --field-of-view."""
    parser.add_argument(
        "--input-size",
        choices=("fast", "balanced", "full"),
        default="full",
        help="resolution of the network; lower is faster but misses small people"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--field-of-view",
        type=field_of_view,
        metavar="DEGREES",
        help="of photos, across the longer side; changes distances (default: that of the EXIF data,"
        " else of the model)",
    )


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --fps, --start, --seconds, --no-smoothing and --still-camera."""
    parser.add_argument(
        "--fps",
        type=positive_number,
        metavar="N",
        help="videos: process at most N frames per second",
    )
    parser.add_argument(
        "--start",
        type=zero_or_more,
        default=0.0,
        metavar="N",
        help="videos: skip the first N seconds; times in the results count from there (default: 0)",
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        metavar="N",
        help="videos: process N seconds from --start (default: up to the end)",
    )
    parser.add_argument(
        "--no-smoothing",
        action="store_true",
        help="videos: keep the pose and shape of each frame unsmoothed",
    )
    parser.add_argument(
        "--still-camera",
        choices=("auto", "on", "off"),
        default="auto",
        help="videos: put everyone on one floor, where standing feet slide less; auto:"
        " if motion is smoothed and the background does not move (default: %(default)s)",
    )


def positive_number(text: str) -> float:
    """Argument type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def zero_or_more(text: str) -> float:
    """Argument type: a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def positive_integer(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_INTEGER:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def zero_to_one(text: str) -> float:
    """Argument type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def field_of_view(text: str) -> float:
    """Argument type: degrees above 0 and below 180."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of degrees from 0 to 180")
    return value


def user_and_password(text: str) -> tuple[str, str]:
    """Argument type: `USER:PASS`; the password may contain colons."""
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("give a name and a password as USER:PASS")
    return user, password


def host_name(text: str) -> str:
    """Argument type: a host; an IPv6 address may be in brackets."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def port_number(text: str) -> int:
    """Argument type: a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 65535")
    return int(text)


def load_predictor(options: argparse.Namespace) -> AiOSPredictor:
    """Load the weights and body of `add_model_arguments` and log which ones are in use.

    Raises:
        StartError: weights, body or device are not available.
    """
    import torch

    from . import AiOSPredictor, BodyModelError, CheckpointError
    from .descriptions import body_mismatch_text, body_text, speed_text, weights_text

    try:
        if options.device is not None:
            torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StartError(
            f"Device {options.device!r} is not available; use --device cpu."
        ) from error
    try:
        predictor = AiOSPredictor.from_pretrained(
            options.weights, options.body, options.device, options.speed, options.refine
        )
    except (BodyModelError, CheckpointError, OSError) as error:
        raise StartError(str(error)) from error
    _log.info("Weights: %s", weights_text(predictor.weights))
    _log.info("Body: %s", body_text(predictor.body))
    _log.info("Speed: %s", speed_text(predictor.speed))
    _log.info("Refinement to keypoints: %s", "on" if predictor.refine else "off")
    if note := body_mismatch_text(predictor.weights, predictor.body):
        _log.info("%s", note)
    return predictor


def warm_up_renderer() -> None:
    """Initialise the renderer in the background; call after torch is loaded.

    Raises:
        StartError: AIOS_RENDERER is not a known renderer.
    """
    from .render.overlay import warm_up

    try:
        warm_up()
    except ValueError as error:
        raise StartError(f"AIOS_RENDERER: {error}") from error


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --share, --host, --port, --auth and --mcp."""
    parser.add_argument(
        "--share", action="store_true", help="also open a public link, valid for a week"
    )
    parser.add_argument(
        "--host",
        type=host_name,
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        metavar="NAME",
        help="address to listen on; 0.0.0.0 allows other machines (default: %(default)s)",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[name for name in os.environ.get("AIOS_ALLOWED_HOSTS", "").split(",") if name],
        metavar="NAME",
        help="also answer under this host name, as behind a reverse proxy; *.NAME for all names"
        " below it, * for every name; repeat for several",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        metavar="N",
        help=f"port to listen on (default: the first free one from {FIRST_PORT})",
    )
    parser.add_argument(
        "--auth", type=user_and_password, metavar="USER:PASS", help="require this login"
    )
    parser.add_argument(
        "--mcp", action="store_true", help="also serve the Model Context Protocol (MCP)"
    )


def find_port(host: str, wanted: int | None) -> int:
    """Find a free port on `host`.

    Args:
        host: name or address of this machine to listen on.
        wanted: the only port to try; None takes the first free one from `FIRST_PORT`.

    Raises:
        StartError: no port is free, or the host is not this machine.
    """
    ports = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if wanted is None else [wanted]
    for port in ports:
        reason = _bind_error(host, port)
        if reason is None and ":" in host:  # Gradio needs the port on IPv4, too
            reason = _bind_error("127.0.0.1", port)
        if reason is None:
            return port
        if reason.errno != errno.EADDRINUSE:
            text = reason.strerror or str(reason)
            raise StartError(f"Cannot listen on port {port} of {host}: {text}.")
    if wanted is not None:
        raise StartError(
            f"Port {wanted} of {host} is in use: stop the program that uses it or give another."
        )
    raise StartError(f"Ports {ports[0]} to {ports[-1]} of {host} are all in use: give --port.")


def _bind_error(host: str, port: int) -> OSError | None:
    """Error of listening on a port; None if it is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # As servers do: a port in TIME_WAIT counts as free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return error
    return None
