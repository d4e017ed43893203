"""Sheet of predictions: `python -m training.tools.sheet [PHOTO ...] --out SHEET`.

`--scenes N` adds the first N scenes of each part of the synthetic test set. The pictures of the
README and of the model card are made with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from aios.body.model import BodyModelError
from aios.media.photo import PhotoError, read_photo
from aios.prediction import Prediction
from aios.predictor import AiOSPredictor
from aios.render.overlay import depth_overlay, overlay
from aios.weights.checkpoint import CheckpointError

from ..synthetic import BENCHMARK_PARTS, benchmark_scene

View = Callable[[np.ndarray, Prediction], np.ndarray]

_GAP_PX = 4
_PAPER = 255
_QUALITY = 82


def _overlay(photo: np.ndarray, found: Prediction) -> np.ndarray:
    return overlay(photo, found.vertices, found.faces, found.camera)


def _depth(photo: np.ndarray, found: Prediction) -> np.ndarray:
    return depth_overlay(photo, found.vertices, found.faces, found.camera, found.depth_order)


VIEWS: dict[str, View] = {
    "photo": lambda photo, _: photo,
    "overlay": _overlay,
    "depth": _depth,
}
"""By name: the picture itself, the meshes over it, their order in depth."""


def sheet_of(rows: Sequence[Sequence[np.ndarray]], columns: int, width: int) -> np.ndarray:
    """Groups of pictures on one sheet, each group in one row.

    Args:
        rows: groups of (h, w, 3) uint8 RGB, each of equally many pictures of one size.
        columns: groups beside each other.
        width: pixels of every picture; heights follow.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    groups = []
    for pictures in rows:
        height = max(round(pictures[0].shape[0] * width / pictures[0].shape[1]), 1)
        parts = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
        groups.append(np.concatenate(parts, 1))
    lines = []
    for start in range(0, len(groups), columns):
        line = groups[start : start + columns]
        height = max(group.shape[0] for group in line)
        sheet = np.full((height, (line[0].shape[1] + _GAP_PX) * columns, 3), _PAPER, np.uint8)
        for place, group in enumerate(line):
            x = place * (group.shape[1] + _GAP_PX)
            sheet[: group.shape[0], x : x + group.shape[1]] = group
        lines.append(
            np.pad(sheet[:, :-_GAP_PX], ((0, _GAP_PX), (0, 0), (0, 0)), constant_values=_PAPER)
        )
    return np.concatenate(lines)[:-_GAP_PX]


def _pictures(photos: Sequence[Path], scenes: int) -> Iterator[np.ndarray]:
    for path in photos:
        yield read_photo(path)
    for part in BENCHMARK_PARTS:
        for index in range(scenes):
            yield benchmark_scene(part, index).image


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.tools.sheet", description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--scenes", type=int, default=0, help="of each part of the test set")
    parser.add_argument("--weights", default="builtin")
    parser.add_argument("--threshold", type=float, help="lowest score; default: the weights' own")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["photo", "overlay"])
    parser.add_argument("--columns", type=int, default=1, help="photos beside each other")
    parser.add_argument("--width", type=int, default=320, help="pixels of each picture")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if a photo or the weights cannot be used."""
    options = _parse(arguments)
    total = len(options.photos) + options.scenes * len(BENCHMARK_PARTS)
    if not total:
        sys.stderr.write("name at least one photo, or scenes with --scenes N\n")
        return 1
    rows = []
    try:
        predictor = AiOSPredictor.from_pretrained(options.weights)
        for picture in tqdm(_pictures(options.photos, options.scenes), total=total, disable=None):
            found = predictor.predict(picture, options.threshold)
            rows.append([VIEWS[name](picture, found) for name in options.views])
    except (BodyModelError, CheckpointError, PhotoError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sheet = sheet_of(rows, options.columns, options.width)
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(options.out), bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
        sys.stderr.write(f"{options.out} cannot be written: name a .jpg or .png in a folder\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
