"""Preview synthetic scenes with their labels, render one as a video, or measure generation speed.

`python -m training.synthetic preview --seed 1 --out x.png`, `... video --first 3 --out x.mp4`,
`... speed`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from aios.media.video_writer import VideoWriter
from aios.resources import STANDIN_BODY

from .background_photos import load_backgrounds
from .batch_generator import MAX_PEOPLE, SceneBatchGenerator, stack_photos
from .benchmark import BENCHMARK_PARTS, benchmark_scene
from .generator import TEST_SEED, SceneGenerator, SyntheticScene
from .mocap import MOCAP_VARIABLE, MocapConfig, MocapLibrary, load_mocap
from .preview import contact_sheet
from .surface import BodySurface

_FRAME_RATE = 15
_WARM_UP = 4
"""Batches before timing; CUDA graphs are captured in the second batch of each size."""


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.synthetic", description=__doc__)
    parser.add_argument("command", choices=list(_COMMANDS), help="action")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="index of the first scene")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument(
        "--people",
        type=int,
        nargs=2,
        default=(0, MAX_PEOPLE),
        help="per scene, range",
    )
    parser.add_argument("--part", choices=BENCHMARK_PARTS, help="preview this part of the test set")
    parser.add_argument("--out", type=Path, default=Path("scenes.png"))
    parser.add_argument("--body", type=Path, default=STANDIN_BODY)
    parser.add_argument("--real", type=Path, help="folder with backgrounds_*.tar (photos)")
    parser.add_argument("--mocap", default=os.environ.get(MOCAP_VARIABLE), help="folder of packs")
    parser.add_argument("--mocap-share", type=float, default=MocapConfig.share, help="of people")
    parser.add_argument("--mocap-restricted", action="store_true", help="use clips of any licence")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the video")
    parser.add_argument("--plain", action="store_true", help="do not draw labels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="scenes per batch")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(arguments)


def _background_photos(options: argparse.Namespace) -> list[np.ndarray]:
    archives = sorted(options.real.glob("backgrounds_*.tar")) if options.real else []
    return load_backgrounds(archives)


def _mocap(options: argparse.Namespace) -> MocapLibrary | None:
    if options.seed >= TEST_SEED:
        return None
    return load_mocap(MocapConfig(options.mocap, options.mocap_share, options.mocap_restricted))


def _preview(options: argparse.Namespace) -> None:
    numbers = range(options.first, options.first + options.count)
    if options.part:
        scenes = [benchmark_scene(options.part, index) for index in numbers]
    else:
        scenes = _generated(options, numbers)
    sheet = contact_sheet(scenes, labels=not options.plain)
    cv2.imwrite(str(options.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def _generated(options: argparse.Namespace, numbers: range) -> list[SyntheticScene]:
    generator = SceneGenerator(
        (options.height, options.width),
        BodySurface(options.body, options.device),
        options.seed,
        _background_photos(options),
        tuple(options.people),
        mocap=_mocap(options),
    )
    scenes = []
    for start in range(0, len(numbers), options.batch):
        scenes += generator.generate_many(numbers[start : start + options.batch])
    return scenes


def _batch_generator(options: argparse.Namespace) -> SceneBatchGenerator:
    return SceneBatchGenerator(
        (options.height, options.width),
        BodySurface(options.body, options.device),
        options.seed,
        stack_photos(_background_photos(options)),
        tuple(options.people),
        mocap=_mocap(options),
    )


def _speed(options: argparse.Namespace) -> None:
    generator = _batch_generator(options)
    on_gpu = torch.device(options.device).type == "cuda"
    synchronize = torch.cuda.synchronize if on_gpu else (lambda: None)
    for number in range(_WARM_UP):
        generator.generate(range(number * options.batch, (number + 1) * options.batch))
    synchronize()
    start, cpu_start, people, scenes = time.perf_counter(), time.process_time(), 0, 0
    while scenes < options.count:
        first = options.first + scenes
        batch = generator.generate(range(first, first + options.batch))
        scenes += options.batch
        people += len(batch.targets()[1])
    synchronize()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    sys.stdout.write(
        f"{scenes / seconds:.1f} scenes/s "
        f"({1000 * cpu / scenes:.0f} ms CPU per scene), "
        f"{people / scenes:.2f} people per scene, {options.threads} thread(s), "
        f"{options.height}x{options.width} px, batch size {options.batch}, {options.device}\n"
    )


def _video(options: argparse.Namespace) -> None:
    if options.width % 2 or options.height % 2:
        sys.exit("A video needs an even --width and --height.")
    count = max(int(options.seconds * _FRAME_RATE), 1)
    times = [number / _FRAME_RATE for number in range(count)]
    frames = _batch_generator(options).video_frames(options.first, times)
    with VideoWriter(options.out, options.width, options.height, _FRAME_RATE) as video:
        for time_s, frame in zip(times, frames, strict=True):
            video.write(frame.permute(1, 2, 0).contiguous().cpu().numpy(), time_s)
        video.close(len(times) / _FRAME_RATE)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    try:
        _COMMANDS[options.command](options)
    except ValueError as error:
        sys.exit(str(error))


_COMMANDS = {"preview": _preview, "video": _video, "speed": _speed}

if __name__ == "__main__":
    main()
