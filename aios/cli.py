"""What the command lines have in common: which network and body, checked word by word."""

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

if TYPE_CHECKING:
    from .predictor import AiOSPredictor

_log = logging.getLogger(__name__)

FIRST_PORT, PORTS_TRIED = 7860, 100
_M_ARENA_MAX = -8  # of malloc.h


class StartError(Exception):
    """Why the program cannot start; the message is one sentence for a person."""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def configure_threads_and_malloc() -> None:
    """Let threads sleep and share one heap; to be called before torch is imported.

    A thread of torch that spins keeps a core from the thread it waits for wherever others want the
    cores too, and a browser is enough for that; one that sleeps at once wakes too late for the
    next of many short pieces of work.  So it spins for some microseconds: on cores that do nothing
    else the paper's network takes a tenth less time, on busy ones the same.

    Where each thread has a heap of its own (glibc), each keeps what was given back to it: a tenth
    of a gigabyte with the paper's network.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):  # not every Linux has glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --weights, --body, --device, --speed and --threshold."""
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
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 ... (default: best)")
    parser.add_argument(
        "--speed",
        choices=("exact", "fast"),
        default="exact",
        help="fast: large products in 8 bits on a CPU, moves people by a millimetre or two"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=zero_to_one,
        metavar="S",
        help="lowest score, 0-1 (default: the weights')",
    )


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --fps, --seconds and --no-smoothing."""
    parser.add_argument(
        "--fps", type=above_zero, metavar="N", help="of a video, at most N frames a second"
    )
    parser.add_argument(
        "--seconds", type=above_zero, metavar="N", help="of a video, the first N seconds"
    )
    parser.add_argument(
        "--no-smoothing",
        action="store_true",
        help="leave people of a video as each frame has them",
    )


def above_zero(text: str) -> float:
    """A number above 0, as an argument type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def zero_to_one(text: str) -> float:
    """A number from 0 to 1, as an argument type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def user_and_password(text: str) -> tuple[str, str]:
    """`USER:PASS`, as an argument type; the password may hold colons."""
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("give a name and a password as USER:PASS")
    return user, password


def port_number(text: str) -> int:
    """A TCP port, as an argument type."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 65535")
    return int(text)


def load_predictor(options: argparse.Namespace) -> AiOSPredictor:
    """What `add_model_arguments` asks for; logs which weights and body these are.

    Raises:
        StartError: weights, body or device cannot be had.
    """
    import torch

    from . import AiOSPredictor, BodyModelError, CheckpointError
    from .descriptions import body_mismatch_text, body_text, speed_text, weights_text

    try:
        if options.device is not None:
            torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StartError(f"There is no device {options.device!r} here: try cpu.") from error
    try:
        predictor = AiOSPredictor.from_pretrained(
            options.weights, options.body, options.device, options.speed
        )
    except (BodyModelError, CheckpointError, OSError) as error:
        raise StartError(str(error)) from error
    _log.info("Weights: %s", weights_text(predictor.weights))
    _log.info("Body: %s", body_text(predictor.body))
    _log.info("Speed: %s", speed_text(predictor.speed))
    if note := body_mismatch_text(predictor.weights, predictor.body):
        _log.info("%s", note)
    return predictor


def warm_up_renderer() -> None:
    """Let whoever draws here get ready in the background, when torch is loaded.

    Raises:
        StartError: AIOS_RENDERER names none.
    """
    from .render.overlay import warm_up

    try:
        warm_up()
    except ValueError as error:
        raise StartError(f"AIOS_RENDERER: {error}") from error


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --share, --host, --port, --auth and --mcp."""
    parser.add_argument("--share", action="store_true", help="also open a public link for a week")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        metavar="NAME",
        help="where to listen; 0.0.0.0 answers other machines too (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        metavar="N",
        help=f"where to listen (default: the first free one from {FIRST_PORT})",
    )
    parser.add_argument(
        "--auth", type=user_and_password, metavar="USER:PASS", help="ask visitors for these"
    )
    parser.add_argument("--mcp", action="store_true", help="also serve MCP, for assistants")


def find_port(host: str, wanted: int | None) -> int:
    """A port that is free on `host`.

    Args:
        host: name or address of this machine to listen on.
        wanted: this one and no other; None takes the first free one from `FIRST_PORT`.

    Raises:
        StartError: none is free, or the host is not this machine.
    """
    ports = range(FIRST_PORT, FIRST_PORT + PORTS_TRIED) if wanted is None else [wanted]
    for port in ports:
        reason = _why_not(host, port)
        if reason is None:
            return port
        if reason.errno != errno.EADDRINUSE:
            text = reason.strerror or str(reason)
            raise StartError(f"Cannot listen on port {port} of {host}: {text}.")
    if wanted is not None:
        raise StartError(f"Port {wanted} of {host} is taken: stop what uses it or give another.")
    raise StartError(f"Ports {ports[0]} to {ports[-1]} of {host} are all taken: give --port.")


def _why_not(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # As servers do: a port in its last seconds after another server counts as free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return error
    return None
