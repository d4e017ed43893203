"""Overfit eight images: `python -m training.tools.overfit --out DIR`.

An end-to-end check of matching, losses, heads, optimizer and averaged weights.  Goal: every person
found, no false positive, and a mean vertex error below 25 mm, after a few minutes of one core.  The
exit code is 1 if the goal is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from aios.body.model import BodyModel
from aios.network.config import ConfigError
from aios.people import People, people_from_output
from aios.resources import STANDIN_BODY

from ..config import named_config
from ..data.batch import Batch, Sample, build_batch
from ..engine.previews import draw_previews
from ..engine.train_config import TrainConfig
from ..engine.trainer import Trainer
from ..evaluation.metrics import DetectionCounts, match_greedily, pelvis_aligned_mm
from ..synthetic.generator import TRAIN_SEED, SceneGenerator
from ..synthetic.surface import BodySurface
from ..targets import Targets

logger = logging.getLogger(__name__)

NUM_IMAGES = 8
THRESHOLD = 0.5
"""Lowest score of a person."""
GOAL_MM = 25.0
_MAX_PEOPLE = 3
_MIN_VISIBLE_SHARE = 0.3


@dataclass(frozen=True)
class CurvePoint:
    """One measurement of the averaged weights."""

    step: int
    cpu_seconds: float
    """Training only, all threads of this process."""
    wall_seconds: float
    loss: float
    f1: float
    mve_mm: float
    """Mean vertex error of the people found, pelvis-aligned; 0 if none is found."""

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        return self.f1 == 1.0 and 0 < self.mve_mm < GOAL_MM


def overfit_samples(side: int, count: int = NUM_IMAGES) -> list[Sample]:
    """First synthetic scenes with one to three people, each at least 30 % visible.

    Args:
        side: pixels of the shorter side; the longer side has 4/3 of it.
        count: number of scenes.
    """
    generator = SceneGenerator((side, side * 4 // 3), BodySurface(STANDIN_BODY), TRAIN_SEED)
    samples: list[Sample] = []
    number = 0
    while len(samples) < count:
        scene = generator.generate(number)
        number += 1
        people = len(scene.targets)
        if 1 <= people <= _MAX_PEOPLE and scene.targets.visible_share.min() >= _MIN_VISIBLE_SHARE:
            samples.append(Sample(scene.image, scene.targets))
    return samples


def measure(trainer: Trainer, batch: Batch) -> dict[str, float | int]:
    """F1 and mean vertex error of the averaged weights, on images of one size."""
    counts = DetectionCounts()
    with torch.no_grad():
        final = trainer.average(batch.images(trainer.config.model.image)).final
    height, width = batch.size_hw
    for index in range(len(batch)):
        people = people_from_output(final, index, width, height)
        people = people.select(people.scores >= THRESHOLD)
        targets = batch.targets.select(batch.image_index == index).to("cpu")
        _compare(counts, people, targets, np.array([width, height]), trainer.body_model)
    return counts.summary()


def _compare(
    counts: DetectionCounts, people: People, targets: Targets, size_wh: np.ndarray, body: BodyModel
) -> None:
    centre, extent = targets.boxes.numpy().reshape(-1, 2, 2).transpose(1, 0, 2) * size_wh
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    pairs = match_greedily(people.boxes_xyxy_px, corners)
    counts.found += len(pairs)
    counts.missed += len(targets) - len(pairs)
    counts.false_positives += len(people) - len(pairs)
    if not pairs:
        return
    parameters = people.smplx_parameters()
    own = body({name: torch.from_numpy(value) for name, value in parameters.items()})
    true = body({name: getattr(targets, name) for name in parameters})
    for slot, person in pairs:
        pelvis = torch.stack([own.joints_3d[slot, 0], true.joints_3d[person, 0]]).numpy()
        vertices = own.vertices[slot].numpy(), true.vertices[person].numpy()
        counts.vertex_errors_mm.append(pelvis_aligned_mm(*vertices, pelvis))


def overfit(config: TrainConfig, folder: Path, every: int) -> list[CurvePoint]:
    """Train on the same eight images in every step.

    Args:
        config: its length in steps; the first stage sets the image size.
        folder: folder of the run.
        every: steps between measurements.

    Returns:
        All measurements.
    """
    trainer = Trainer(config, folder, BodyModel.load())
    side = config.stages[0].side
    scale = side / config.model.image.short_side
    batch = build_batch(overfit_samples(side), config.model.focal_length * scale)
    batch = batch.to(trainer.device)
    curve: list[CurvePoint] = []
    losses: list[float] = []
    cpu = wall = 0.0
    while trainer.progress < 1:
        start = time.process_time(), time.perf_counter()
        losses.append(trainer.train_step([batch], config.stage_at(trainer.progress)))
        cpu += time.process_time() - start[0]
        wall += time.perf_counter() - start[1]
        if trainer.step % every == 0:
            found = measure(trainer, batch)
            loss = sum(losses) / len(losses)
            point = CurvePoint(trainer.step, cpu, wall, loss, found["f1"], found["mve_mm"])
            losses.clear()
            curve.append(point)
            logger.info("F1 %.3f, %.1f mm after %.0f s", point.f1, point.mve_mm, cpu)
    trainer.save()
    shown = draw_previews(trainer.average.module, batch, trainer.body_model)
    trainer.log.add_image(trainer.step, shown)
    trainer.log.close()
    return curve


def draw_curve(curve: Sequence[CurvePoint], path: Path) -> None:
    """Plot F1 and mean vertex error over CPU minutes as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    minutes = [point.cpu_seconds / 60 for point in curve]
    errors = figure.add_subplot()
    found = [(m, p.mve_mm) for m, p in zip(minutes, curve, strict=True) if p.mve_mm]
    errors.plot(*zip(*found, strict=True), color="tab:blue")
    errors.axhline(GOAL_MM, color="tab:blue", linestyle=":", linewidth=1)
    errors.set(xlabel="CPU minutes", yscale="log")
    errors.set_ylabel("mean vertex error, mm (goal dotted)", color="tab:blue")
    scores = errors.twinx()
    scores.plot(minutes, [point.f1 for point in curve], color="tab:orange")
    scores.set_ylim(-0.03, 1.03)
    scores.set_ylabel("F1", color="tab:orange")
    figure.suptitle(f"Overfitting {NUM_IMAGES} synthetic images")
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.tools.overfit", description=__doc__)
    parser.add_argument("--config", default="overfit", help="named run, with variants")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--every", type=int, default=25, help="steps between measurements")
    parser.add_argument("--plot", type=Path, help="PNG of the curve; default: OUT/curve.png")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = named_config(options.config, options.set)
        if not config.steps:
            raise ConfigError("overfitting needs a length in steps: --set steps=N")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    torch.set_num_threads(config.threads)
    curve = overfit(config, options.out, options.every)
    (options.out / "curve.json").write_text(json.dumps([asdict(p) for p in curve], indent=1))
    draw_curve(curve, options.plot or options.out / "curve.png")
    return 0 if curve[-1].reached else 1


if __name__ == "__main__":
    sys.exit(main())
