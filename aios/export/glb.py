"""Binary glTF 2.0 files: a builder for the JSON document and its binary buffer."""

from __future__ import annotations

import io
import json
from typing import Any, BinaryIO, Literal

import numpy as np

from ..render.scene import srgb_to_linear

ElementType = Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT4"]

FLOAT, USHORT, UINT = 5126, 5123, 5125
"""Component types of glTF accessors."""
VERTEX_TARGET, INDEX_TARGET = 34962, 34963
"""Buffer view targets of glTF: vertex attributes and triangle indices."""

_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_BYTES = {FLOAT: 4, USHORT: 2, UINT: 4}
_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8


class GlbBuilder:
    """A glTF document with one binary buffer.

    Entries are appended with `add`; arrays with `add_array`; space for arrays that are written
    later with `reserve` and `offset`.

    Attributes:
        document: the JSON document without `buffers`.
        size: bytes of the buffer.
    """

    def __init__(self) -> None:
        """Create a document with one empty scene."""
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "aios-demo"},
            "scene": 0,
            "scenes": [{"name": "people"}],
        }
        self.size = 0
        self._contents: list[tuple[int, bytes]] = []

    def add(self, section: str, **entry: Any) -> int:  # noqa: ANN401 - JSON values
        """Append an entry to a list of the document, such as "nodes"; returns its index."""
        entries = self.document.setdefault(section, [])
        entries.append(entry)
        return len(entries) - 1

    def add_root(self, node: int) -> None:
        """Make a node a root of the scene."""
        self.document["scenes"][0].setdefault("nodes", []).append(node)

    def add_array(self, values: np.ndarray, element: ElementType, target: int | None = None) -> int:
        """Append an array to the buffer; returns the index of its accessor.

        Args:
            values: (n, width) or, for "SCALAR", (n,) float32, uint16 or uint32.
            element: type of the n elements.
            target: `VERTEX_TARGET` or `INDEX_TARGET`, where it applies.
        """
        component = {"f4": FLOAT, "u2": USHORT, "u4": UINT}[values.dtype.str[1:]]
        accessor = self.reserve(len(values), element, component, target)
        little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._contents.append((self.offset(accessor), little_endian.tobytes()))
        if element == "VEC3":
            self.set_bounds(accessor, values.min(0), values.max(0))
        return accessor

    def reserve(
        self,
        count: int,
        element: ElementType,
        component: int = FLOAT,
        target: int | None = None,
    ) -> int:
        """Reserve space for `count` elements; returns the index of the accessor."""
        view = self._reserve_bytes(count * _WIDTHS[element] * _BYTES[component])
        if target is not None:
            self.document["bufferViews"][view]["target"] = target
        return self.add(
            "accessors", bufferView=view, componentType=component, count=count, type=element
        )

    def set_bounds(self, accessor: int, low: np.ndarray, high: np.ndarray) -> None:
        """Set the minimum and maximum of an accessor, each with one value per component."""
        bounds = {"min": np.asarray(low, float).tolist(), "max": np.asarray(high, float).tolist()}
        self.document["accessors"][accessor].update(bounds)

    def offset(self, accessor: int) -> int:
        """Byte offset of an accessor in the buffer."""
        view = self.document["accessors"][accessor]["bufferView"]
        return int(self.document["bufferViews"][view]["byteOffset"])

    def add_image(self, content: bytes, mime_type: str) -> int:
        """Embed an encoded image; returns its index."""
        view = self._reserve_bytes(len(content))
        self._contents.append((self.document["bufferViews"][view]["byteOffset"], content))
        return self.add("images", bufferView=view, mimeType=mime_type)

    def add_material(self, name: str, color: np.ndarray) -> int:
        """Append a matte material; returns its index.

        Args:
            name: of the material.
            color: (3,) uint8 sRGB.
        """
        linear = srgb_to_linear(np.asarray(color, np.float32) / 255.0).tolist()
        surface = {
            "baseColorFactor": [*linear, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        }
        return self.add("materials", name=name, pbrMetallicRoughness=surface)

    def write(self, file: BinaryIO) -> int:
        """Write the file; reserved space is filled with zeros.

        Returns:
            Position of the buffer in the file.
        """
        document = dict(self.document)
        if self.size:
            document["buffers"] = [{"byteLength": self.size}]
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        start = _HEADER_BYTES + _CHUNK_HEADER_BYTES + len(text)
        total = start
        if self.size:
            start += _CHUNK_HEADER_BYTES
            total = start + self.size
        file.write(b"glTF" + _uint32(2, total, len(text)) + b"JSON" + text)
        if self.size:
            file.write(_uint32(self.size) + b"BIN\0")
        for offset, content in self._contents:
            file.seek(start + offset)
            file.write(content)
        file.truncate(total)
        return start

    def to_bytes(self) -> bytes:
        """Return the file as bytes."""
        file = io.BytesIO()
        self.write(file)
        # Unlike a file on disk, `truncate` never lengthens a BytesIO: pad the last array.
        content = file.getvalue()
        return content.ljust(int.from_bytes(content[8:12], "little"), b"\0")

    def _reserve_bytes(self, size: int) -> int:
        view = self.add("bufferViews", buffer=0, byteOffset=self.size, byteLength=size)
        self.size += size + -size % 4
        return view


def _uint32(*values: int) -> bytes:
    return np.array(values, "<u4").tobytes()
