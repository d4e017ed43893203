"""GPU benchmark: `python -m tests.benchmark.gpu`.

Prints, and with `--json` also writes:

* errors and seconds of the attention kernel and of the fused steps of `fast`, against plain code;
* photos per second, one by one and in batches, from pixels in memory to posed people, and peak
  memory;
* seconds per training step with and without the kernel;
* differences on the example photos in millimetres, `fast` to `exact` and GPU to CPU.

The error of a failed part is reported in its place, and the other parts still run.
`--network small --device cpu` runs the same code on any machine.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from aios.accelerate import fused, kernel_attention
from aios.body.model import BodyModel
from aios.network import deformable_attention
from aios.network.config import AiOSConfig
from aios.network.model import AiOS
from aios.network.sampling import Sampling, sample_bilinear
from aios.predictor import AiOSPredictor
from aios.resources import EXAMPLES
from aios.weights.load import WeightsInfo, load_model
from tests.benchmark.difference import difference
from tests.helpers.networks import SMALL
from training.config import named_config
from training.tools.benchmark import measure, synthetic_batch

PEOPLE = 5
PAPER_LEVELS = ((100, 167), (50, 84), (25, 42), (13, 21))
SMALL_LEVELS = ((6, 10), (3, 5))


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    results: dict[str, object] = {"device": name, "torch": torch.__version__}
    for title, part in {
        "kernel": lambda: {kind: _kernel(kind, options) for kind in ("float32", "bfloat16")},
        "steps": lambda: _steps(options),
        "photos": lambda: {speed: _photos(speed, options) for speed in options.speeds},
        "training": lambda: _training(options),
        "differences": lambda: _differences(options),
    }.items():
        results[title] = _attempt(part)
        sys.stdout.write(f"{title}: {json.dumps(results[title], indent=1)}\n")
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default="paper", choices=["paper", "small"])
    parser.add_argument("--speeds", nargs="+", default=["exact", "fast"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--train-batches", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    return parser


def _attempt(part: Callable[[], dict]) -> dict:
    try:
        return part()
    except Exception as reason:
        return {"failed": f"{type(reason).__name__}: {reason}"}


def _seconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median after three warm-up runs; the second captures a CUDA graph."""
    seconds = []
    for _ in range(repeats + 3):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _without_kernel():
    chosen = kernel_attention.kernel_for
    kernel_attention.kernel_for = lambda *_: None
    try:
        yield
    finally:
        kernel_attention.kernel_for = chosen


def _kernel(kind: str, options: argparse.Namespace) -> dict:
    """Attention of one encoder layer: largest relative errors, seconds forward and in all."""
    device = torch.device(options.device)
    levels = PAPER_LEVELS if options.network == "paper" else SMALL_LEVELS
    tokens = sum(h * w for h, w in levels)
    generator = torch.Generator().manual_seed(0)
    shape = (1, tokens, 8, len(levels), 4)
    value = torch.randn(1, tokens, 8, 32, generator=generator).to(device, getattr(torch, kind))
    locations = torch.rand(*shape, 2, generator=generator).mul(1.2).sub(0.1).to(device)
    weights = torch.rand(shape, generator=generator).div(16).to(device)
    inputs = [x.requires_grad_() for x in (value, locations, weights)]
    kernel = kernel_attention.kernel_for(value, Sampling(locations, weights))

    def forward(sample):
        with torch.no_grad():
            return sample(value, levels, Sampling(locations, weights))

    def both(sample):
        result = sample(value, levels, Sampling(locations, weights))
        return result, *torch.autograd.grad(result.float().square().sum(), inputs)

    ways = {"plain": sample_bilinear} | ({"kernel": kernel} if kernel else {})
    found: dict[str, object] = {"kernel used": kernel is not None}
    for name, way in ways.items():
        found[f"{name} forward s"] = _seconds(lambda way=way: forward(way), options.repeats, device)
        found[f"{name} both s"] = _seconds(lambda way=way: both(way), options.repeats, device)
    if kernel:
        names = ("result", "value", "locations", "weights")
        for name, one, other in zip(names, both(kernel), both(sample_bilinear), strict=True):
            error = (one.float() - other.float()).abs().max() / other.float().abs().max()
            found[f"error of {name}"] = float(error)
    return found


def _steps(options: argparse.Namespace) -> dict:
    """Fused steps of `fast` for a batch: seconds and largest relative error."""
    device = torch.device(options.device)
    levels = PAPER_LEVELS if options.network == "paper" else SMALL_LEVELS
    shape = (options.batch, sum(h * w for h, w in levels))
    noise, half = fused.noise, torch.bfloat16
    tokens, update = noise(*shape, 256).to(device), noise(*shape, 256).to(device, half)
    norm = torch.nn.LayerNorm(256).requires_grad_(False).to(device)
    linear = torch.nn.Linear(256, 2048).requires_grad_(False).to(device, half)
    maps, shortcut = (
        noise(options.batch, 256, 2 * levels[0][0], 2 * levels[0][1])
        .to(device, half)
        .contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    bias = noise(256).to(device)
    ways = {
        "norm": (
            lambda: fused.add_norm(tokens, update, norm)[0],
            lambda: fused.plain_add_norm(tokens, update, norm)[0],
        ),
        "feed-forward": (
            lambda: fused.linear_relu(update, linear),
            lambda: fused.plain_linear_relu(update, linear),
        ),
        # In place: runs accumulate, so the results are not compared.
        "maps": (
            lambda: fused.add_relu_(maps, bias, shortcut),
            lambda: fused.plain_add_relu_(maps, bias, shortcut),
        ),
    }
    found: dict[str, object] = {}
    for name, (step, plain) in ways.items():
        if name != "maps":
            one, other = step().float(), plain().float()
            found[f"{name}, error"] = float((one - other).abs().max() / other.abs().max())
        found[f"{name} s"] = _seconds(step, options.repeats, device)
        found[f"{name}, plain s"] = _seconds(plain, options.repeats, device)
    return found


def _predictor(speed: str, options: argparse.Namespace) -> AiOSPredictor:
    """Predictor with random weights and sampling locations spread like those of trained weights."""
    config = AiOSConfig() if options.network == "paper" else SMALL
    model = AiOS(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, deformable_attention.DeformableAttention):
                module.sampling_offsets.bias.normal_(0, 3, generator=generator)
    info = WeightsInfo("file", "random weights", Path("random"), False, "smplx", 0.0)
    return AiOSPredictor(model, info, BodyModel.load(), options.device, speed)


def _photos(speed: str, options: argparse.Namespace) -> dict:
    """Photos per second and peak memory, with five posed people per photo."""
    device = torch.device(options.device)
    predictor = _predictor(speed, options)
    image = predictor.model.config.image
    shape = (image.short_side, image.long_side, 3)
    photo = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    many = [photo] * options.batch
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found: dict[str, object] = {"speed in use": predictor.speed, "input": shape[:2]}
    for name, count, run in (
        ("alone", 1, lambda: predictor.predict(photo, 0.0, PEOPLE)),
        (
            "batch",
            len(many),
            lambda: predictor.predict_batch(many, 0.0, PEOPLE, batch_size=len(many)),
        ),
    ):
        seconds = _seconds(run, options.repeats, device)
        found[f"{name}: photos a second"] = count / seconds
        if device.type == "cuda":
            found[f"{name}: peak GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def _training(options: argparse.Namespace) -> dict:
    """Seconds per training step with and without the kernel, bf16 for the paper's network."""
    paper = options.network == "paper"
    precision = "bf16" if paper else "float32"
    name = "released_phase1" if paper else "tiny"
    config = named_config(name, [f"precision={precision}", "preview_every=0"])
    config = dataclasses.replace(config, effective_batch=0, log_every=1_000_000)
    size_wh = (1333, 800) if paper else (96, 64)
    steps = min(options.repeats, 10)
    found: dict[str, object] = {}
    for count in options.train_batches:
        synthetic = synthetic_batch(count, size_wh, config.model.focal_length)
        batch = synthetic.to(torch.device(options.device))
        fast = measure(config, "fast", batch, size_wh, steps)
        with _without_kernel():
            plain = measure(config, "fast", batch, size_wh, steps)
        found[f"batch {count}, with kernel"] = dataclasses.asdict(fast)
        found[f"batch {count}, without"] = dataclasses.asdict(plain)
        found[f"batch {count}, ratio"] = plain.seconds_per_step / fast.seconds_per_step
    return found


def _differences(options: argparse.Namespace) -> dict:
    """Differences of the built-in weights on the example photos, see `difference`."""
    photos = sorted(EXAMPLES.glob("*.jpg"))

    def builtin(device: str, speed: str) -> AiOSPredictor:
        loaded = load_model("builtin")
        return AiOSPredictor(loaded.model, loaded.weights, BodyModel.load(), device, speed)

    exact = builtin(options.device, "exact")
    found = {}
    for speed in options.speeds:
        if speed != "exact":
            found[f"{speed} from exact"] = difference(exact, builtin(options.device, speed), photos)
    return found | {"exact from the CPU": difference(builtin("cpu", "exact"), exact, photos)}


if __name__ == "__main__":
    main()
