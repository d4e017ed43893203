"""Show scenes with their labels drawn, film one of them, or time them.

`python -m training.synthetic show --seed 1 --out x.png`, `... film --first 3 --out x.mp4`,
`... speed`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from aios.media.video_writer import VideoWriter
from aios.resources import STANDIN_BODY

from .backgrounds import load_backgrounds
from .benchmark import BENCHMARK_PARTS, benchmark_scene
from .scenes import Scene, SceneGenerator
from .show import contact_sheet
from .surface import BodySurface
from .world import MOST_PEOPLE, SceneWorld, stack_photos

_FRAMES_A_SECOND = 15
_WARM_UP = 4
"""Batches: a GPU records the second of each kind, see `aios.accelerate.cuda_graphs`."""


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.synthetic", description=__doc__)
    parser.add_argument("command", choices=list(_COMMANDS), help="what to do")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--people", type=int, nargs=2, default=(0, MOST_PEOPLE), help="range")
    parser.add_argument("--part", choices=BENCHMARK_PARTS, help="show scenes of the test set")
    parser.add_argument("--out", type=Path, default=Path("scenes.png"))
    parser.add_argument("--body", type=Path, default=STANDIN_BODY)
    parser.add_argument("--real", type=Path, help="folder with backgrounds_*.tar to stand before")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the film")
    parser.add_argument("--plain", action="store_true", help="draw no labels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="scenes drawn at once")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(arguments)


def _photos(options: argparse.Namespace) -> list[np.ndarray]:
    archives = sorted(options.real.glob("backgrounds_*.tar")) if options.real else []
    return load_backgrounds(archives)


def _show(options: argparse.Namespace) -> None:
    numbers = range(options.first, options.first + options.count)
    if options.part:
        scenes = [benchmark_scene(options.part, index) for index in numbers]
    else:
        scenes = _generated(options, numbers)
    sheet = contact_sheet(scenes, labels=not options.plain)
    cv2.imwrite(str(options.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def _generated(options: argparse.Namespace, numbers: range) -> list[Scene]:
    generator = SceneGenerator(
        (options.height, options.width),
        BodySurface(options.body, options.device),
        options.seed,
        _photos(options),
        tuple(options.people),
    )
    scenes = []
    for start in range(0, len(numbers), options.batch):
        scenes += generator.generate_many(numbers[start : start + options.batch])
    return scenes


def _world(options: argparse.Namespace) -> SceneWorld:
    return SceneWorld(
        (options.height, options.width),
        BodySurface(options.body, options.device),
        options.seed,
        stack_photos(_photos(options)),
        tuple(options.people),
    )


def _speed(options: argparse.Namespace) -> None:
    world = _world(options)
    wait = torch.cuda.synchronize if torch.device(options.device).type == "cuda" else (lambda: None)
    for number in range(_WARM_UP):
        world.draw(range(number * options.batch, (number + 1) * options.batch))
    wait()
    start, cpu_start, people, scenes = time.perf_counter(), time.process_time(), 0, 0
    while scenes < options.count:
        drawn = world.draw(range(options.first + scenes, options.first + scenes + options.batch))
        scenes += options.batch
        people += len(drawn.targets()[1])
    wait()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    sys.stdout.write(
        f"{scenes / seconds:.1f} scenes a second "
        f"({1000 * cpu / scenes:.0f} ms of processor each), "
        f"{people / scenes:.2f} people each, {options.threads} thread(s), "
        f"{options.height}x{options.width} px, batches of {options.batch}, {options.device}\n"
    )


def _film(options: argparse.Namespace) -> None:
    if options.width % 2 or options.height % 2:
        sys.exit("The pictures of a film need an even width and height.")
    count = max(int(options.seconds * _FRAMES_A_SECOND), 1)
    times = [number / _FRAMES_A_SECOND for number in range(count)]
    frames = _world(options).film(options.first, times)
    with VideoWriter(options.out, options.width, options.height, _FRAMES_A_SECOND) as video:
        for time_s, frame in zip(times, frames, strict=True):
            video.write(frame.permute(1, 2, 0).contiguous().cpu().numpy(), time_s)
        video.close(len(times) / _FRAMES_A_SECOND)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    _COMMANDS[options.command](options)


_COMMANDS = {"show": _show, "film": _film, "speed": _speed}

if __name__ == "__main__":
    main()
