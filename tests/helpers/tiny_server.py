"""Serves the page with a tiny network; answers each line of its input with its memory in bytes.

Run as `python -m tests.helpers.tiny_server FOLDER`; the first line of the output is the address.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

import torch

from tests.helpers.served import served, tiny_predictor


def resident_bytes() -> int:
    """Memory of this process, after everything that can be given back was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until the input ends."""
    torch.set_num_threads(1)
    with served(tiny_predictor(), Path(sys.argv[1])) as address:
        _say(address)
        for _ in sys.stdin:
            _say(str(resident_bytes()))


if __name__ == "__main__":
    main()
