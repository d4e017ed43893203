"""Fuzz the photo, video and archive readers: `python -m tests.fuzz --rounds 10000`.

Damages small valid files at random. Readers may return pixels or raise their own error; any other
error is a defect, and the file that causes it is saved.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from aios.media.container import VideoError
from aios.media.photo import PhotoError, read_photo
from aios.media.photo_sources import InputError, items_from_zip
from aios.media.video_reader import VideoReader
from tests.helpers.clips import make_clip
from tests.helpers.image_files import tiff, tiff_page

_PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
_CLIP_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".gif", ".ts", ".mpg", ".wmv", ".flv")


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Valid files: name -> content."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    seeds = {}
    for fmt in _PHOTO_FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, fmt)
        seeds[f"photo.{fmt.lower()}"] = buffer.getvalue()
    planar = tiff_page(pixels.astype(np.uint16) * 257, planar=True)
    seeds["planar.tiff"] = tiff([planar, tiff_page(pixels)])
    for suffix in _CLIP_SUFFIXES:
        rate = 25 if suffix == ".mpg" else 10
        seeds[f"clip{suffix}"] = make_clip(folder / f"clip{suffix}", 4, rate=rate).read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("grün/a.png", seeds["photo.png"])
        file.writestr("b.jpg", seeds["photo.jpeg"])
    seeds["archive.zip"] = archive.getvalue()
    return seeds


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite, cut, repeat or truncate a random part."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        start = int(rng.integers(0, max(len(data), 1)))
        length = int(rng.integers(1, 40))
        kind = rng.integers(0, 4)
        if kind == 0:
            part = rng.integers(0, 256, length).astype(np.uint8).tobytes()
            data[start : start + length] = part
        elif kind == 1:
            del data[start : start + length]
        elif kind == 2:
            data[start:start] = data[start : start + length]
        elif rng.random() < 0.2:
            del data[start:]
    return bytes(data)


def read(path: Path) -> None:
    """Read a file completely by the reader for its name; errors of that reader are expected."""
    try:
        if path.suffix == ".zip":
            with items_from_zip(path) as items:
                for item in items:
                    _read_item(item.read)
        elif path.name.startswith("clip"):
            with VideoReader(path) as reader:
                for _ in reader:
                    pass
        else:
            read_photo(path)
    except (PhotoError, VideoError, InputError) as error:
        assert "\n" not in str(error), error


def _read_item(read_bytes) -> None:  # noqa: ANN001
    try:
        read_photo(read_bytes())
    except PhotoError:
        pass


def fuzz(rounds: int, seed: int, save_to: Path) -> list[str]:
    """Run `rounds` damaged files.

    Args:
        rounds: number of files.
        seed: of the random numbers.
        save_to: folder for files that cause an unexpected error.

    Returns:
        A line for each unexpected error.
    """
    rng = np.random.default_rng(seed)
    defects = []
    with tempfile.TemporaryDirectory() as scratch:
        seeds = make_seeds(Path(scratch))
        names = sorted(seeds)
        for number in range(rounds):
            name = names[number % len(names)]
            path = Path(scratch) / name
            path.write_bytes(damage(seeds[name], rng))
            try:
                read(path)
            except Exception as error:  # any class is a defect
                saved = save_to / f"{seed}_{number}_{name}"
                saved.write_bytes(path.read_bytes())
                defects.append(f"{saved}: {type(error).__name__}: {error}")
    return defects


def main() -> int:
    """Run; returns 1 if a reader failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--save-to", type=Path, default=Path("fuzz"), metavar="DIR")
    options = parser.parse_args()
    options.save_to.mkdir(parents=True, exist_ok=True)
    defects = fuzz(options.rounds, options.seed, options.save_to)
    sys.stdout.write("\n".join([*defects, f"{len(defects)} defects in {options.rounds} files\n"]))
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
