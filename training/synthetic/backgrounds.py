"""What is behind people: invented rooms, clutter and textures, or crops of real photographs."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from .appearance import cloth_colour
from .layout import View

Rng = np.random.Generator


def load_backgrounds(archives: Iterable[str | Path], longest_px: int = 320) -> list[np.ndarray]:
    """Read every picture of some tar archives.

    Args:
        archives: tar files of JPEG or PNG pictures.
        longest_px: pictures are shrunk to this long side.

    Returns:
        RGB uint8 HWC pictures.

    Raises:
        ValueError: if a member named like a picture is none.
    """
    pictures = []
    for archive in archives:
        with tarfile.open(archive) as file:
            for member in file:
                if not member.name.lower().endswith((".jpg", ".jpeg", ".png")):
                    continue
                data = file.extractfile(member)
                encoded = np.frombuffer(data.read() if data else b"", np.uint8)
                picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
                if picture is None:
                    raise ValueError(f"{member.name} in {archive} is not a readable picture.")
                scale = min(1.0, longest_px / max(picture.shape[:2]))
                if scale < 1:
                    picture = cv2.resize(
                        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
                    )
                pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return pictures


def draw_background(
    rng: Rng, view: View, size_hw: tuple[int, int], pictures: Sequence[np.ndarray] | None
) -> np.ndarray:
    """(H, W, 3) float32 0-1; from `pictures` in four of five cases if there are any."""
    if pictures and rng.random() < 0.8:
        return _crop(rng, pictures[rng.integers(len(pictures))], size_hw)
    kind = rng.random()
    if kind < 0.6:
        picture = _ground_and_wall(rng, view, size_hw)
    else:
        picture = np.broadcast_to(_gradient(rng, size_hw), (*size_hw, 3)).copy()
    if kind < 0.9:
        _add_things(rng, picture, int(rng.integers(0, 16)))
    noise = _cloud(rng, size_hw) * rng.uniform(0.02, 0.3)
    picture *= 1 + noise[..., None]
    return picture.clip(0, 1, out=picture)


def _crop(rng: Rng, picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """A random window, mirrored half of the time, of about the right aspect."""
    height, width = picture.shape[:2]
    aspect = size_hw[1] / size_hw[0] * np.exp(rng.uniform(-0.2, 0.2))
    tall = min(height, width / aspect) * rng.uniform(0.45, 1.0)
    wide = min(width, tall * aspect)
    top, left = rng.uniform(0, height - tall), rng.uniform(0, width - wide)
    window = picture[int(top) : int(top + tall) + 1, int(left) : int(left + wide) + 1]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    window = cv2.resize(np.ascontiguousarray(window), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return window.astype(np.float32) / 255 * rng.uniform(0.75, 1.15)


def _gradient(rng: Rng, size_hw: tuple[int, int]) -> np.ndarray:
    first, last = cloth_colour(rng) * 0.6 + 0.3, cloth_colour(rng) * 0.6 + 0.3
    steps = np.linspace(0, 1, size_hw[0], dtype=np.float32)[:, None, None]
    return (first * (1 - steps) + last * steps).astype(np.float32)


def _cloud(rng: Rng, size_hw: tuple[int, int]) -> np.ndarray:
    """Smooth noise in octaves, about -1 to 1."""
    total = np.zeros(size_hw, np.float32)
    for cells in (4, 11, 31, 90):
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        total += cv2.resize(grid, size_hw[::-1], interpolation=cv2.INTER_LINEAR) * 0.4
    return total


def _ground_and_wall(rng: Rng, view: View, size_hw: tuple[int, int]) -> np.ndarray:
    """Floor tiles or lawn up to a wall or the sky, under the scene's own camera."""
    height, width = size_hw
    turn = view.rotation.T.astype(np.float32)
    columns = (np.arange(width, dtype=np.float32) + 0.5 - width / 2)[None]
    rows = (np.arange(height, dtype=np.float32) + 0.5 - height / 2)[:, None]
    far = np.float32(view.focal_length)
    east, up, south = (t[0] * columns + (t[1] * rows + t[2] * far) for t in turn)
    wall_m = np.float32(rng.uniform(3.5, 14.0) + view.position[1])
    reach = np.float32(view.position[1]) / np.maximum(-up, 1e-3)
    floor = (reach * -south < wall_m) & (up < 0)
    reach = np.where(floor, reach, wall_m / np.maximum(-south, 1e-3 * far))
    x = reach * east
    z = reach * np.where(floor, south, up)
    tile, ratio = rng.uniform(0.2, 2.5), rng.uniform(0.3, 2.0)
    colours = [cloth_colour(rng) * 0.7 + 0.2 for _ in range(2)]
    picture = np.stack(colours[::-1]).astype(np.float32)[floor.astype(np.int64)]
    scale = np.ones(size_hw, np.float32)
    for surface in (floor, ~floor):
        kind = rng.integers(4)
        if kind == 0:
            continue
        step = np.zeros(size_hw, np.float32)
        if kind != 3:
            step += np.floor(x / tile)
        if kind != 2:
            step += np.floor(z / (tile * ratio))
        odd = (step.clip(-1e6, 1e6).astype(np.int32) & 1).astype(bool) & surface
        scale[odd] = rng.uniform(0.6, 1.3)
    picture *= scale[..., None]
    if rng.random() < 0.5:
        fade = np.exp(reach * np.float32(-far / rng.uniform(8, 60)))[..., None]
        picture = picture * fade + _gradient(rng, size_hw) * (1 - fade)
    return picture.astype(np.float32)


def _add_things(rng: Rng, picture: np.ndarray, count: int) -> None:
    """Flat polygons, discs, bars and limb-like strokes, painted in place."""
    height, width = picture.shape[:2]
    for _ in range(count):
        colour = tuple(float(c) for c in cloth_colour(rng))
        centre = rng.uniform(0, 1, 2) * (width, height)
        size = np.exp(rng.uniform(np.log(0.03), np.log(0.4))) * height
        kind = rng.integers(4)
        if kind == 0:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
            points = centre + size * rng.uniform(0.4, 1, (len(angles), 1)) * np.stack(
                [np.cos(angles), np.sin(angles)], 1
            )
            cv2.fillPoly(picture, [points.astype(np.int32)], colour)
        elif kind == 1:
            low, high = (
                centre - size * rng.uniform(0.2, 1, 2),
                centre + size * rng.uniform(0.2, 1, 2),
            )
            cv2.rectangle(picture, low.astype(int).tolist(), high.astype(int).tolist(), colour, -1)
        elif kind == 2:
            cv2.circle(picture, centre.astype(int).tolist(), int(size / 2) + 1, colour, -1)
        else:
            other = centre + rng.normal(0, size, 2)
            thick = max(1, int(size * rng.uniform(0.03, 0.3)))
            cv2.line(
                picture, centre.astype(int).tolist(), other.astype(int).tolist(), colour, thick
            )
