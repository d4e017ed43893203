"""Measure training speed: `python -m training.tools.benchmark`.

Whole steps (network, matching, losses, backward pass, AdamW) on made-up pictures: seconds a step,
pictures a second and most memory in use, for each batch size, with the attention among people as
it is ("fast") and with one dense mask over all tokens as the released program has it ("plain").
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
from functools import lru_cache
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from aios.body.model import BodyModel
from aios.network.config import ConfigError
from aios.network.model import AiOS
from aios.network.queries import LOCATE, TokenLayout

from ..config import named_config
from ..data.batch import Batch, Sample, build_batch
from ..engine.distributed import device
from ..engine.loop import Trainer
from ..engine.recipe import TrainConfig
from .overfit import pictures_to_learn

_SCENE_SIDE = 240
_WARM_UP = 2


@dataclass(frozen=True)
class Measurement:
    """What one setting costs."""

    device: str
    precision: str
    attention: str
    size_wh: tuple[int, int]
    batch: int
    seconds_a_step: float
    """Median."""
    processor_seconds: float
    """The same of all threads of the CPU: what counts where others work on it too."""
    pictures_a_second: float
    memory_gb: float
    """Most in use at once: of the GPU by tensors, on a CPU of the whole process so far."""


def made_up_batch(count: int, size_wh: tuple[int, int], focal_length: float) -> Batch:
    """Synthetic scenes enlarged to a size; what is on them does not change the time of a step."""
    samples = [
        Sample(cv2.resize(sample.picture, size_wh), sample.targets)
        for sample in pictures_to_learn(_SCENE_SIDE, count)
    ]
    return build_batch(samples, focal_length)


def use_plain_attention(model: AiOS) -> None:
    """Mask a dense attention over all tokens instead of attending in blocks, in place.

    The numbers stay the same.
    """
    for index in range(len(model.decoder.layers)):
        attention = model.decoder.layers[index].self_attn
        attention._among_people = _attend_densely  # type: ignore[union-attr]


def _attend_densely(q: Tensor, k: Tensor, v: Tensor, layout: TokenLayout) -> Tensor:
    """Each (B, H, P * T, C) -> (B, H, P * T, C)."""
    if layout is LOCATE:
        return F.scaled_dot_product_attention(q, k, v)
    people = q.shape[2] // layout.num_tokens
    allowed = _allowed(people, layout.num_tokens, layout.box_tokens, q.device)
    return F.scaled_dot_product_attention(q, k, v, allowed)


@lru_cache(maxsize=4)
def _allowed(people: int, tokens: int, boxes: tuple[int, ...], where: torch.device) -> Tensor:
    person = torch.arange(people, device=where).repeat_interleave(tokens)
    box = torch.zeros(tokens, dtype=torch.bool, device=where)
    box[list(boxes)] = True
    box = box.repeat(people)
    return (person[:, None] == person) | (box[:, None] & box)


def measure(
    config: TrainConfig, attention: str, batch: Batch, size_wh: tuple[int, int], steps: int
) -> Measurement:
    """Time `steps` steps after two that warm up."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder), BodyModel.load())
        if attention == "plain":
            use_plain_attention(trainer.learner.model)
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
        trainer.journal.close()
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
        round(_most_memory(own) / 1e9, 2),
    )


def _wait_for(own: torch.device) -> None:
    if own.type == "cuda":
        torch.cuda.synchronize(own)


def _most_memory(own: torch.device) -> float:
    if own.type == "cuda":
        return float(torch.cuda.max_memory_allocated(own))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.tools.benchmark", description=__doc__)
    parser.add_argument("--config", default="released_phase1", help="run, with variants if wanted")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--size", type=int, nargs=2, default=[1333, 800], metavar=("W", "H"))
    parser.add_argument("--precision", nargs="+", default=["bf16"])
    parser.add_argument("--attention", nargs="+", default=["fast", "plain"])
    parser.add_argument("--steps", type=int, default=10, help="timed ones, of each setting")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser


def _settings(options: argparse.Namespace) -> list[tuple[TrainConfig, str, int]]:
    """Every combination asked for; anything wrong is said before the first is measured."""
    unknown = sorted(set(options.attention) - {"fast", "plain"})
    if unknown:
        raise ConfigError(f"--attention is fast or plain, not {', '.join(unknown)}")
    settings = []
    for precision in options.precision:
        config = named_config(options.config, [f"precision={precision}", "pictures_every=0"])
        # One batch is one step, and no line of figures falls into the time.
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
        batch = made_up_batch(count, size_wh, config.model.focal_length).to(device())
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
        f" batch {one.batch}: {one.seconds_a_step} s a step"
        f" ({one.processor_seconds} s of processors),"
        f" {one.pictures_a_second} pictures a second, {one.memory_gb} GB\n"
    )


if __name__ == "__main__":
    sys.exit(main())
