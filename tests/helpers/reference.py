"""Recordings of the released program, and comparison with them.

Recordings are read from `tests/data/`, or from the folder `AIOS_REFERENCE_DIR` with the same
subfolders (`model/`, `losses/`, ...).
"""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np

_DATA = Path(__file__).resolve().parents[2] / "tests" / "data"


def reference_folder(kind: str) -> Path:
    """Folder of the recordings of one kind, e.g. "model"."""
    return Path(os.environ.get("AIOS_REFERENCE_DIR", _DATA)) / kind


def load_recipe() -> ModuleType:
    """Import `seeded.py` of the recording, which derives weights, images and a body from names."""
    path = reference_folder("model") / "seeded.py"
    spec = importlib.util.spec_from_file_location("reference_seeded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_manifest() -> dict[str, list]:
    """Parameters of the released file: name -> (shape, dtype)."""
    path = reference_folder("model") / "state_dict_manifest.json"
    return json.loads(path.read_text())["state_dict"]


class Recording:
    """Arrays of an npz; an array with an entry `NAME#stride` is flattened and subsampled."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.arrays = np.load(path)
        self.prefix = prefix

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.arrays

    def names(self, start: str = "") -> list[str]:
        """Names of arrays below the prefix that begin with `start`, without `NAME#...` entries."""
        whole = self.prefix + start
        return [
            name[len(self.prefix) :]
            for name in self.arrays.files
            if name.startswith(whole) and "#" not in name
        ]

    def assert_close(self, name: str, ours: np.ndarray, tolerance: float) -> None:
        """Compare `ours` with the recorded elements of `name`; `tolerance` is absolute."""
        wanted = self[name].astype(np.float64)
        ours = np.asarray(ours, np.float64)
        if f"{name}#stride" in self:
            assert ours.shape == tuple(self[f"{name}#shape"]), name
            ours = ours.reshape(-1)[:: int(self[f"{name}#stride"])]
        assert ours.shape == wanted.shape, f"{name}: {ours.shape} instead of {wanted.shape}"
        worst = np.abs(ours - wanted).max()
        assert worst <= tolerance, f"{name}: off by {worst:.2e}, allowed {tolerance:.0e}"
