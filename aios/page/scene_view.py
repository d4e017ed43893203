"""The posed people as one 3-D scene for the browser: one named, coloured node a person."""

from __future__ import annotations

import json
import struct

import numpy as np

from ..render.scene import srgb_to_linear

AROUND_DEGREES, FROM_ABOVE_DEGREES = 90.0, 80.0
"""Where the browser's camera opens, as `gr.Model3D` counts: before the people, a little above."""
_HEADER, _CHUNK = 12, 8
_HALF_VIEW = 0.4
"""Half of what the browser's camera sees across the height of its picture, radians."""
_AIR = 1.15
_LEAST_DISTANCE_M = 1.0


def opening_distance(vertices: np.ndarray) -> float:
    """How far the browser's camera opens from the middle of the scene, to see everyone whole.

    Args:
        vertices: (P, V, 3) metres, camera frame of the photo.

    Returns:
        Metres; enough for a picture that is at least as wide as it is high.
    """
    points = vertices[np.isfinite(vertices).all((1, 2))].reshape(-1, 3)
    if not len(points):
        return _LEAST_DISTANCE_M
    # y and z point the other way in glTF.
    points = (points - (points.min(0) + points.max(0)) / 2) * (1, -1, -1)
    tilt = np.radians(FROM_ABOVE_DEGREES)
    nearer = points @ (0, np.cos(tilt), np.sin(tilt))
    above = points @ (0, np.sin(tilt), -np.cos(tilt))
    aside = np.maximum(np.abs(points[:, 0]), np.abs(above))
    return max(float((nearer + _AIR * aside / np.tan(_HALF_VIEW)).max()), _LEAST_DISTANCE_M)


def restyle_glb(content: bytes, colors: np.ndarray, shown: list[int]) -> bytes:
    """The same scene with some people in other colours or left out.

    The meshes stay as they are; only the description in front of them is rewritten.

    Args:
        content: of `export.prediction_to_glb`, nodes `person_1`, `person_2`, ...
        colors: (P, 3) uint8 sRGB of all people.
        shown: indices of the people that stay.
    """
    length = struct.unpack_from("<I", content, _HEADER)[0]
    document = json.loads(content[_HEADER + _CHUNK : _HEADER + _CHUNK + length])
    names = {f"person_{index + 1}": index for index in range(len(colors))}
    linear = srgb_to_linear(np.asarray(colors) / 255.0)
    for material in document.get("materials", ()):
        color = [*map(float, linear[names[material["name"]]]), 1.0]
        material["pbrMetallicRoughness"]["baseColorFactor"] = color
    nodes = document.get("nodes", [])
    hidden = {
        place
        for place, node in enumerate(nodes)
        if node.get("name") in names and names[node["name"]] not in shown
    }
    for parent in (*nodes, *document["scenes"]):
        for key in ("children", "nodes"):
            if key in parent:
                parent[key] = [place for place in parent[key] if place not in hidden]
                if not parent[key]:  # an empty list would be against the standard
                    del parent[key]
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    rest = content[_HEADER + _CHUNK + length :]
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    return b"glTF" + struct.pack("<II", 2, _HEADER + len(chunk) + len(rest)) + chunk + rest
