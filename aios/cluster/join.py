"""Prepare this process for Ray, and check that a cluster can be joined."""

from __future__ import annotations

import argparse
import os
import re
import socket

from ..cli import StartError

LOCAL, AUTO = "local", "auto"
_HOST_AND_PORT = re.compile(r"(\[[^\]]+\]|[^:/\[\]]+):(\d{1,5})")
_CONNECT_SECONDS = 10.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # By default workers of a local cluster yield to every other program of the machine.
    "RAY_worker_niceness": "0",
    # Ray reports each lost worker in paragraphs; they are counted here.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def cluster_address(text: str) -> str:
    """Argument type: "local", "auto" or HOST:PORT."""
    if text in (LOCAL, AUTO) or _HOST_AND_PORT.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError("give local, auto or HOST:PORT, such as 10.0.0.1:6379")


def prepare_ray(address: str) -> None:
    """Set the environment of Ray and check that an existing cluster answers.

    Call this before ray is imported. Ray itself waits for a cluster for minutes.

    Args:
        address: see `ray_cluster`; "local" is not checked.

    Raises:
        StartError: no cluster runs on this machine, or none answers at `address`.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        return
    found = _address_of_this_machine() if address == AUTO else address
    match = _HOST_AND_PORT.fullmatch(found)
    if match is None:
        raise StartError(f"The address of the cluster in RAY_ADDRESS is not HOST:PORT: {found}.")
    try:
        port = int(match[2])
        with socket.create_connection((match[1].strip("[]"), port), _CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise StartError(
            f"No Ray cluster answers at {found}: check the address, its port (6379 unless"
            " another was given to ray start) and the network."
        ) from error


def _address_of_this_machine() -> str:
    """Address that Ray finds for "auto"."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        return str(canonicalize_bootstrap_address_or_die(AUTO))
    except ConnectionError as error:
        raise StartError(
            "No Ray cluster runs on this machine: start one with ray start --head, or give"
            " --address HOST:PORT or --address local."
        ) from error
    except ValueError as error:
        raise StartError(f"The address of the cluster in RAY_ADDRESS is wrong: {error}.") from error
