"""Decoding processes that wait, hang or crash on photos of certain names."""

import pytest

from aios.media import decoder

_WORK = """
import os, sys, time
sys.path[:] = sys.argv[1:]
from aios.media import decoder
from aios.media.photo import PhotoError
read = decoder.read_noted_photo

def read_noted_photo(source):
    name = os.path.basename(source) if isinstance(source, str) else ""
    if name.startswith("hanging"):
        time.sleep(600)
    if name.startswith("crashing"):
        os.abort()
    if name.startswith("waiting"):
        print("a library writes to standard output")
        open(source + ".started", "w").close()
        while not os.path.exists(source + ".go"):
            time.sleep(0.01)
    if name.startswith("writing"):
        try:
            with open(source + ".written", "w") as file:
                file.write("x")
        except OSError as error:
            raise PhotoError(f"{name} cannot be read: {error.strerror}.")
    return read(source)

decoder.read_noted_photo = read_noted_photo
decoder.serve()
"""


def odd_decoders(patch: pytest.MonkeyPatch) -> None:
    """Start processes in which "hanging*" never ends, "crashing*" aborts, "writing*" writes
    to a file, and "waiting*" creates a file "waiting*.started" and waits for "waiting*.go"."""
    decoder.close_idle()
    patch.setattr(decoder, "_SERVE", _WORK)
