"""Show scenes with their labels drawn: `python -m training.synthetic show --seed 1 --out x.png`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from ..targets import Targets
from .backgrounds import load_backgrounds
from .scenes import SceneGenerator
from .surface import DEFAULT_BODY, BodySurface

_BONES = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12))
_LEFT, _RIGHT, _MIDDLE = (60, 220, 60), (255, 60, 60), (255, 220, 40)
_PARTS = (("left_hand", _LEFT), ("right_hand", _RIGHT), ("face", (60, 160, 255)))


def draw_labels(image: np.ndarray, targets: Targets, scale: int = 2) -> np.ndarray:
    """The picture enlarged, with boxes and keypoints: left green, right red."""
    height, width = image.shape[:2]
    size = np.array([width, height]) * scale
    sheet = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    for person in range(len(targets)):
        _draw_box(sheet, targets.boxes[person].numpy(), size, (255, 255, 255))
        points = (targets.keypoints_2d[person].numpy() * size).astype(int).tolist()
        for first, last in _BONES:
            colour = _LEFT if first % 2 and last % 2 else _RIGHT
            colour = _MIDDLE if first % 2 != last % 2 else colour
            cv2.line(sheet, points[first], points[last], colour, 1, cv2.LINE_AA)
        for number, point in enumerate(points):
            colour = _MIDDLE if number == 0 else (_LEFT if number % 2 else _RIGHT)
            hidden = bool(targets.keypoints_occluded[person, number])
            cv2.circle(sheet, point, 2, colour, 1 if hidden else -1)
        for part, colour in _PARTS:
            if not getattr(targets, f"{part}_box_valid")[person]:
                continue
            _draw_box(sheet, getattr(targets, f"{part}_boxes")[person].numpy(), size, colour)
            tips = getattr(targets, f"{part}_keypoints_2d")[person].numpy() * size
            for point in tips.astype(int).tolist():
                cv2.circle(sheet, point, 1, colour, -1)
    return sheet


def _draw_box(sheet: np.ndarray, box: np.ndarray, size: np.ndarray, colour: tuple) -> None:
    low, high = (box[:2] - box[2:] / 2) * size, (box[:2] + box[2:] / 2) * size
    cv2.rectangle(sheet, low.astype(int).tolist(), high.astype(int).tolist(), colour, 1)


def contact_sheet(generator: SceneGenerator, count: int, *, labels: bool = True) -> np.ndarray:
    """The first `count` scenes in rows of five or fewer."""
    tiles = []
    for index in range(count):
        scene = generator.generate(index)
        shown = scene.targets if labels else Targets.empty()
        tiles.append(draw_labels(scene.image, shown))
    columns = min(5, count)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.synthetic", description=__doc__)
    parser.add_argument("command", choices=["show", "speed"], help="draw a sheet, or time it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("scenes.png"))
    parser.add_argument("--body", type=Path, default=DEFAULT_BODY)
    parser.add_argument("--backgrounds", type=Path, nargs="*", default=[], help="tars of photos")
    parser.add_argument("--plain", action="store_true", help="draw no labels")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    photos = load_backgrounds(options.backgrounds) or None
    size_hw = (options.height, options.width)
    generator = SceneGenerator(size_hw, BodySurface(options.body), options.seed, photos)
    if options.command == "show":
        sheet = contact_sheet(generator, options.count, labels=not options.plain)
        cv2.imwrite(str(options.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        return
    generator.generate(0)
    start, cpu_start, people = time.perf_counter(), time.process_time(), 0
    for index in range(options.count):
        people += len(generator.generate(index).targets)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    sys.stdout.write(
        f"{options.count / seconds:.1f} scenes a second "
        f"({1000 * cpu / options.count:.0f} ms of processor each), "
        f"{people / options.count:.2f} people each, "
        f"{options.threads} thread(s), {size_hw[0]}x{size_hw[1]} px\n"
    )


if __name__ == "__main__":
    main()
