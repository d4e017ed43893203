"""Measure training speed: `python -m training.tools.benchmark`.

Times whole steps (network, matching, losses, backward pass, AdamW) on synthetic images: seconds per
step, images per second and peak memory for each batch size, with the block-sparse attention among
people ("fast") and with one dense mask over all tokens as in the released program ("plain").
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import torch

from aios.body.model import BodyModel
from aios.network.config import ConfigError
from aios.network.model import AiOS
from aios.network.person_attention import PersonAttention

from ..config import named_config
from ..data.batch import Batch, Sample, build_batch
from ..engine.distributed import device
from ..engine.train_config import TrainConfig
from ..engine.trainer import Trainer
from .overfit import overfit_samples

_SCENE_SIDE = 240
_WARM_UP = 2


@dataclass(frozen=True)
class Measurement:
    """Cost of one setting."""

    device: str
    precision: str
    attention: str
    size_wh: tuple[int, int]
    batch: int
    seconds_per_step: float
    """Median."""
    processor_seconds: float
    """Median CPU time per step over all threads; independent of other load on the machine."""
    images_per_second: float
    memory_gb: float
    """Peak: tensors on the GPU, or the whole process so far on a CPU."""


def synthetic_batch(count: int, size_wh: tuple[int, int], focal_length: float) -> Batch:
    """Synthetic scenes resized to a size; their content hardly changes the time of a step."""
    samples = [
        Sample(cv2.resize(sample.picture, size_wh), sample.targets)
        for sample in overfit_samples(_SCENE_SIDE, count)
    ]
    return build_batch(samples, focal_length)


def use_dense_attention(model: AiOS) -> None:
    """Replace blockwise person attention by the plain network's dense mask, in place.

    The results stay the same.
    """
    config = model.config
    for layer in model.decoder.layers:
        fast = layer.self_attn
        plain = PersonAttention(config.hidden_dim, config.num_heads, config.self_attention)
        plain.in_proj_weight, plain.in_proj_bias = fast.in_proj_weight, fast.in_proj_bias
        plain.out_proj = fast.out_proj
        layer.self_attn = plain


def measure(
    config: TrainConfig, attention: str, batch: Batch, size_wh: tuple[int, int], steps: int
) -> Measurement:
    """Time `steps` steps after `_WARM_UP` steps."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder), BodyModel.load())
        if attention == "plain":
            use_dense_attention(trainer.learner.model)
        own, stage = trainer.device, config.stages[-1]
        if own.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds, processor = [], []
        for _ in range(_WARM_UP + steps):
            _wait_for(own)
            start = time.perf_counter(), time.process_time()
            trainer.train_step([batch], stage)
            _wait_for(own)
            seconds.append(time.perf_counter() - start[0])
            processor.append(time.process_time() - start[1])
        trainer.log.close()
    median = statistics.median(seconds[_WARM_UP:])
    name = torch.cuda.get_device_name(own) if own.type == "cuda" else "CPU"
    return Measurement(
        name,
        config.precision,
        attention,
        size_wh,
        len(batch),
        round(median, 4),
        round(statistics.median(processor[_WARM_UP:]), 4),
        round(len(batch) / median, 2),
        round(_peak_memory_bytes(own) / 1e9, 2),
    )


def _wait_for(own: torch.device) -> None:
    if own.type == "cuda":
        torch.cuda.synchronize(own)


def _peak_memory_bytes(own: torch.device) -> float:
    if own.type == "cuda":
        return float(torch.cuda.max_memory_allocated(own))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.tools.benchmark", description=__doc__)
    parser.add_argument("--config", default="released_phase1", help="named run, with variants")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--size", type=int, nargs=2, default=[1333, 800], metavar=("W", "H"))
    parser.add_argument("--precision", nargs="+", default=["bf16"])
    parser.add_argument("--attention", nargs="+", default=["fast", "plain"])
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each setting")
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    return parser


def _settings(options: argparse.Namespace) -> list[tuple[TrainConfig, str, int]]:
    """All combinations of the options; raises before anything is measured."""
    unknown = sorted(set(options.attention) - {"fast", "plain"})
    if unknown:
        raise ConfigError(f"--attention must be fast or plain, not {', '.join(unknown)}")
    settings = []
    for precision in options.precision:
        config = named_config(options.config, [f"precision={precision}", "preview_every=0"])
        # One batch is one step; no log line is written during a timed step.
        config = replace(config, effective_batch=0, log_every=1_000_000)
        settings += [(config, a, b) for a in options.attention for b in options.batch]
    return settings


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    size_wh = (options.size[0], options.size[1])
    try:
        settings = _settings(options)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found = []
    for config, attention, count in settings:
        batch = synthetic_batch(count, size_wh, config.model.focal_length).to(device())
        try:
            found.append(measure(config, attention, batch, size_wh, options.steps))
        except torch.cuda.OutOfMemoryError:
            sys.stdout.write(f"{config.precision} {attention} batch {count}: not enough memory\n")
            torch.cuda.empty_cache()
            continue
        sys.stdout.write(_line(found[-1]))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    return 0


def _line(one: Measurement) -> str:
    width, height = one.size_wh
    return (
        f"{one.device}, {one.precision}, {one.attention} attention, {width} x {height},"
        f" batch {one.batch}: {one.seconds_per_step} s per step"
        f" ({one.processor_seconds} s CPU time),"
        f" {one.images_per_second} images per second, {one.memory_gb} GB\n"
    )


if __name__ == "__main__":
    sys.exit(main())
