"""How fast the program is and how much memory it takes: `python -m tests.benchmark`.

Random weights, as speed does not depend on values, and 5 people a photo.  Each size runs in
processes of its own: one for the time of every part and the peak memory, one in which the network
and its readable twin (`tests/twin.py`) take turns, so that both meet the same load of the machine.
Where other work runs, `--threads 1` and the ratio of CPU seconds are what can be trusted.
"""

import argparse
import dataclasses
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("image", "backbone", "encoder", "decoder", "people", "body", "picture")
PHOTOS_WH = {"800": (1920, 1152), "512": (1920, 1152), "builtin": (1680, 1200)}
PEOPLE = 5
APP_SECONDS = 60


def main() -> None:
    options = _parser().parse_args()
    if options.child:
        kind, size = options.child
        sys.stdout.write(json.dumps(CHILDREN[kind](size, options.threads, options.repeats)))
        return
    load, cores = os.getloadavg()[0], os.cpu_count()
    sys.stdout.write(
        f"{options.threads} threads, {cores} cores, load before the start {load:.1f}\n"
    )
    results: dict[str, dict] = {}
    for size in options.sizes:
        results[size] = _child("parts", size, options) | _child("ratio", size, options)
        _write_sizes(results)
    others = {
        "overlay gl": _child("overlay", "gl", options),
        "overlay software": _child("overlay", "software", options),
        "python -m aios --help": _best(_seconds_of_help, options.repeats),
        "python app.py until the page answers": _seconds_until_app(),
    }
    _write_others(others)
    if options.json:
        options.json.write_text(json.dumps({"sizes": results, "others": others}, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(PHOTOS_WH), choices=list(PHOTOS_WH))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser


def _child(kind: str, size: str, options: argparse.Namespace) -> dict:
    command = [sys.executable, "-m", "tests.benchmark", "--child", kind, size]
    command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return json.loads(done.stdout)


# --- what runs in a process of its own


def _predictor(size: str, fold: bool = True):
    """Official or built-in sizes, sampling places scattered as those of trained weights are."""
    import torch

    from aios.body_model import BodyModel
    from aios.config import BUILTIN_CONFIG, AiOSConfig, ImageConfig
    from aios.model import AiOS
    from aios.predictor import AiOSPredictor
    from aios.weights import WeightsInfo

    official = AiOSConfig()
    config = {
        "800": official,
        "512": dataclasses.replace(official, image=ImageConfig(512, 853)),
        "builtin": BUILTIN_CONFIG,
    }[size]
    model = AiOS(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "sampling_offsets"):
                module.sampling_offsets.bias.normal_(0, 3, generator=generator)
    weights = WeightsInfo("file", "random weights", Path("random"), False, "smplx", 0.0)
    if not fold:
        model.fold_batch_norm = lambda: None
    return AiOSPredictor(model, weights, BodyModel.load(), "cpu")


def _photo(size: str) -> np.ndarray:
    width, height = PHOTOS_WH[size]
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


class _Clock:
    """Seconds of named parts, by the name; modules are timed by hooks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = 0.0

    def call(self, name: str, function: Callable, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        self._add(name, start)
        return result

    def watch(self, name: str, module) -> None:
        def start(*_) -> None:
            self._started = time.perf_counter()

        module.register_forward_pre_hook(start)
        module.register_forward_hook(lambda *_: self._add(name, self._started))

    def _add(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def measure_parts(size: str, threads: int, repeats: int) -> dict:
    """Median seconds of each part and peak memory of the whole process."""
    import torch

    from aios.image import batch_images, prepare_photo
    from aios.people import people_from_output
    from aios.predictor import Candidates
    from aios.render import overlay

    torch.set_num_threads(threads)
    predictor, photo = _predictor(size), _photo(size)
    height, width = photo.shape[:2]
    model, runs = predictor.model, []
    clock = _Clock()
    for name, modules in {
        "backbone": (model.backbone, model.level_projections),
        "encoder": (model.encoder,),
        "decoder": (model.proposals, model.decoder),
    }.items():
        for module in modules:
            clock.watch(name, module)
    camera = predictor.find_candidates(photo).camera
    for _ in range(repeats):
        clock.seconds = {}
        with torch.inference_mode():
            pixels = clock.call("image", prepare_photo, photo, model.config.image)
            output = model(batch_images([pixels]))
            people = clock.call("people", people_from_output, output.final, 0, width, height)
        found = clock.call("body", predictor.assemble, Candidates(people, camera), 0.0, PEOPLE)
        clock.call("picture", overlay, photo, found.vertices, found.faces, camera)
        runs.append(clock.seconds)
    parts = {part: statistics.median(run[part] for run in runs) for part in PARTS}
    total = statistics.median(sum(run.values()) for run in runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    shape = "x".join(map(str, pixels.shape[1:]))
    return {"input": shape, "parts": parts, "total": total, "peak_gb": peak}


def measure_ratio(size: str, threads: int, repeats: int) -> dict:
    """Image to posed people by the program and by the twin, in turns."""
    import torch

    from aios.image import batch_images, prepare_photo

    from . import twin

    torch.set_num_threads(threads)
    fast, slow = _predictor(size), _predictor(size, fold=False)
    photo = _photo(size)
    images = batch_images([prepare_photo(photo, fast.model.config.image)])
    names = ("fast", "twin", "fast_cpu", "twin_cpu")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            times = [(time.perf_counter(), time.process_time())]
            fast.assemble(next(fast._run(images, [photo.shape[:2]], False)), 0.0, PEOPLE)
            times.append((time.perf_counter(), time.process_time()))
            twin.forward(slow.model, images, body=slow.body)
            times.append((time.perf_counter(), time.process_time()))
            if repeat:  # the first turn warms up
                spent = np.diff(times, axis=0).T.flatten()
                for name, value in zip(names, spent.tolist(), strict=True):
                    seconds[name].append(value)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [t / f for f, t in zip(seconds["fast"], seconds["twin"], strict=True)]
    cpu_ratio = medians["twin_cpu"] / medians["fast_cpu"]
    return medians | {"ratio": statistics.median(ratios), "cpu_ratio": cpu_ratio}


def measure_overlay(renderer: str, threads: int, repeats: int) -> dict:
    """Best seconds for 5 people over 1280 x 720, after a first picture."""
    import torch

    from aios.body_model import BodyModel
    from aios.camera import Camera
    from aios.render import overlay

    torch.set_num_threads(threads)
    body = BodyModel.load()
    transl = torch.tensor([[1.1 * (i - 2), 0.0, 5.0 + 0.4 * i] for i in range(PEOPLE)])
    upright = torch.tensor([[torch.pi, 0.0, 0.0]]).expand(PEOPLE, 3)
    posed = body({"global_orient": upright, "transl": transl})
    vertices = posed.vertices.numpy()
    camera = Camera(1000.0, (640.0, 360.0), 1280, 720)
    photo = np.full((720, 1280, 3), 90, np.uint8)
    start = time.perf_counter()
    overlay(photo, vertices, body.faces, camera, renderer=renderer)
    first = time.perf_counter() - start

    def once() -> float:
        start = time.perf_counter()
        overlay(photo, vertices, body.faces, camera, renderer=renderer)
        return time.perf_counter() - start

    return {"first": first, "seconds": _best(once, repeats + 2)}


CHILDREN = {"parts": measure_parts, "ratio": measure_ratio, "overlay": measure_overlay}


# --- whole programs


def _best(measure: Callable[[], float], repeats: int) -> float:
    return min(measure() for _ in range(repeats))


def _seconds_of_help() -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "aios", "--help"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _seconds_until_app() -> float | None:
    """Of the built-in sizes; None where there is no app or it does not come up."""
    if not (ROOT / "app.py").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.safetensors"
        _save_random_weights(weights)
        port = str(_free_port())
        command = [sys.executable, "app.py", "--port", port, "--weights", str(weights)]
        start = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        app = subprocess.Popen(command, cwd=ROOT, **quiet)
        try:
            while time.perf_counter() - start < APP_SECONDS and app.poll() is None:
                if _answers(f"http://127.0.0.1:{port}/"):
                    return time.perf_counter() - start
                time.sleep(0.05)
            return None
        finally:
            app.terminate()
            app.wait()


def _save_random_weights(path: Path) -> None:
    from aios.checkpoint import save_own
    from aios.config import BUILTIN_CONFIG
    from aios.model import AiOS

    save_own(path, AiOS(BUILTIN_CONFIG).state_dict(), BUILTIN_CONFIG)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


# --- tables


def _write_sizes(results: dict[str, dict]) -> None:
    size, result = list(results.items())[-1]
    if "failed" in result:
        sys.stdout.write(f"\n{size}: {result['failed']}\n")
        return
    sys.stdout.write(f"\n{size}, network input {result['input']}, seconds per photo\n")
    for part in PARTS:
        sys.stdout.write(f"  {part:12}{result['parts'][part]:8.3f}\n")
    sys.stdout.write(f"  {'total':12}{result['total']:8.3f}\n")
    sys.stdout.write(f"  peak memory {result['peak_gb']:.2f} GB\n")
    sys.stdout.write(
        f"  network and bodies {result['fast']:.2f} s, readable twin {result['twin']:.2f} s: "
        f"{result['ratio']:.2f} times as fast\n"
        f"  CPU seconds {result['fast_cpu']:.2f} and {result['twin_cpu']:.2f}: "
        f"{result['cpu_ratio']:.2f} times\n"
    )
    sys.stdout.flush()


def _write_others(others: dict[str, dict | float | None]) -> None:
    sys.stdout.write(f"\nseconds (overlay: {PEOPLE} people, 1280x720)\n")
    for name, value in others.items():
        if isinstance(value, dict):
            text = value.get("failed") or f"{value['seconds']:.3f} (first {value['first']:.3f})"
        else:
            text = "not there" if value is None else f"{value:.2f}"
        sys.stdout.write(f"  {name:38}{text}\n")


if __name__ == "__main__":
    main()
