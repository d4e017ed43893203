"""Page with a tiny network that reports its memory.

Run as `python -m tests.helpers.tiny_server FOLDER`. The first line of the output is the address.
Each line of input is answered with the memory of the process in bytes.
"""

import ctypes
import gc
import os
import sys
from pathlib import Path

import torch

from tests.helpers.served import served, tiny_predictor


def resident_bytes() -> int:
    """Resident memory after garbage collection and trimming."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until the input ends."""
    torch.set_num_threads(1)
    with served(tiny_predictor(), Path(sys.argv[1])) as address:
        _write_line(address)
        for _ in sys.stdin:
            _write_line(str(resident_bytes()))


if __name__ == "__main__":
    main()
