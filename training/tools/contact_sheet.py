"""Contact sheet of predictions: `python -m training.tools.contact_sheet [PHOTO ...] --out IMAGE`.

`--scenes N` adds the first N scenes of each part of the synthetic test set, `--scene` single ones,
as the evaluation names them.  The images of the README and of the model card are made with it.
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
_BACKGROUND = 255
_JPEG_QUALITY = 82


def _overlay(photo: np.ndarray, found: Prediction) -> np.ndarray:
    return overlay(photo, found.vertices, found.faces, found.camera)


def _depth(photo: np.ndarray, found: Prediction) -> np.ndarray:
    return depth_overlay(photo, found.vertices, found.faces, found.camera, found.joints_3d[:, 0, 2])


VIEWS: dict[str, View] = {
    "photo": lambda photo, _: photo,
    "overlay": _overlay,
    "depth": _depth,
}
"""By name: the image itself, the meshes over it, the meshes colored by depth."""


def build_contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], columns: int, width: int
) -> np.ndarray:
    """Arrange groups of images on one sheet.

    Args:
        rows: groups of (h, w, 3) uint8 RGB; all groups have the same number of images, and the
            images of a group have one size.
        columns: groups beside each other.
        width: pixels of every image; heights keep the aspect.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    groups = []
    for images in rows:
        height = max(round(images[0].shape[0] * width / images[0].shape[1]), 1)
        parts = [cv2.resize(i, (width, height), interpolation=cv2.INTER_AREA) for i in images]
        groups.append(np.concatenate(parts, 1))
    lines = []
    for start in range(0, len(groups), columns):
        line = groups[start : start + columns]
        height = max(group.shape[0] for group in line)
        sheet = np.full((height, (line[0].shape[1] + _GAP_PX) * columns, 3), _BACKGROUND, np.uint8)
        for column, group in enumerate(line):
            x = column * (group.shape[1] + _GAP_PX)
            sheet[: group.shape[0], x : x + group.shape[1]] = group
        lines.append(
            np.pad(sheet[:, :-_GAP_PX], ((0, _GAP_PX), (0, 0), (0, 0)), constant_values=_BACKGROUND)
        )
    return np.concatenate(lines)[:-_GAP_PX]


def _images(photos: Sequence[Path], scenes: Sequence[tuple[str, int]]) -> Iterator[np.ndarray]:
    for path in photos:
        yield read_photo(path)
    for part, index in scenes:
        yield benchmark_scene(part, index).image


def _scene(text: str) -> tuple[str, int]:
    """Part and index of "group/00012"."""
    part, _, index = text.partition("/")
    if part not in BENCHMARK_PARTS or not index.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no scene, for example group/00012")
    return part, int(index)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.tools.contact_sheet", description=__doc__
    )
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument(
        "--scenes", type=int, default=0, help="scenes of each part of the synthetic test set"
    )
    parser.add_argument(
        "--scene",
        nargs="+",
        type=_scene,
        default=[],
        metavar="PART/INDEX",
        help="scenes of the synthetic test set, for example group/00012",
    )
    parser.add_argument("--weights", default="builtin")
    parser.add_argument(
        "--threshold", type=float, help="lowest score; default: that of the weights"
    )
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=["photo", "overlay"])
    parser.add_argument("--columns", type=int, default=1, help="groups beside each other")
    parser.add_argument("--width", type=int, default=320, help="pixels of each image")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if a photo or the weights cannot be used."""
    options = _parse(arguments)
    first = [(part, index) for part in BENCHMARK_PARTS for index in range(options.scenes)]
    scenes = [*first, *options.scene]
    total = len(options.photos) + len(scenes)
    if not total:
        sys.stderr.write("give at least one photo, --scenes N or --scene PART/INDEX\n")
        return 1
    rows = []
    try:
        predictor = AiOSPredictor.from_pretrained(options.weights)
        for image in tqdm(_images(options.photos, scenes), total=total, disable=None):
            found = predictor.predict(image, options.threshold)
            rows.append([VIEWS[name](image, found) for name in options.views])
    except (BodyModelError, CheckpointError, PhotoError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sheet = build_contact_sheet(rows, options.columns, options.width)
    bgr = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(options.out), bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        sys.stderr.write(
            f"{options.out} cannot be written: give a .jpg or .png in an existing folder\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
