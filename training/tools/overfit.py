"""Learn eight pictures by heart: `python -m training.tools.overfit --out DIR`.

The smallest run in which everything must work: matching, every loss, the heads, the optimiser and
the average of the weights that is measured here.  Goal: everyone found, nobody invented, and
meshes within 25 mm, which takes a few minutes of one core.  The exit code is 1 if it is missed.
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
from ..engine.loop import Trainer
from ..engine.pictures import truth_and_prediction
from ..engine.recipe import TrainConfig
from ..evaluation.metrics import Tally, match_greedily, pelvis_aligned_mm
from ..synthetic.generator import TRAIN_SEED, SceneGenerator
from ..synthetic.surface import BodySurface
from ..targets import Targets

logger = logging.getLogger(__name__)

PICTURES = 8
THRESHOLD = 0.5
"""Score from which a person counts."""
GOAL_MM = 25.0
_MOST_PEOPLE = 3
_LEAST_VISIBLE = 0.3


@dataclass(frozen=True)
class Point:
    """One measurement of the averaged weights."""

    step: int
    cpu_seconds: float
    """Of training alone, all threads of this process."""
    wall_seconds: float
    loss: float
    f1: float
    mve_mm: float
    """Mean vertex error of those found, pelvis on pelvis; 0 while nobody is."""

    @property
    def reached(self) -> bool:
        """Everyone found, nobody invented, meshes near enough."""
        return self.f1 == 1.0 and 0 < self.mve_mm < GOAL_MM


def pictures_to_learn(side: int, count: int = PICTURES) -> list[Sample]:
    """The first synthetic scenes with one to three people, all of them to be seen.

    Args:
        side: pixels of the shorter side; the longer has 4/3 of it.
        count: how many.
    """
    generator = SceneGenerator((side, side * 4 // 3), BodySurface(STANDIN_BODY), TRAIN_SEED)
    samples: list[Sample] = []
    number = 0
    while len(samples) < count:
        scene = generator.generate(number)
        number += 1
        people = len(scene.targets)
        if 1 <= people <= _MOST_PEOPLE and scene.targets.visible_share.min() >= _LEAST_VISIBLE:
            samples.append(Sample(scene.image, scene.targets))
    return samples


def measure(trainer: Trainer, batch: Batch) -> dict[str, float | int]:
    """Figures of the averaged weights on pictures of one size."""
    tally = Tally()
    with torch.no_grad():
        final = trainer.average(batch.images(trainer.config.model.image)).final
    height, width = batch.size_hw
    for index in range(len(batch)):
        people = people_from_output(final, index, width, height)
        people = people.select(people.scores >= THRESHOLD)
        targets = batch.targets.select(batch.image_index == index).to("cpu")
        _compare(tally, people, targets, np.array([width, height]), trainer.body_model)
    return tally.summary()


def _compare(
    tally: Tally, people: People, targets: Targets, size_wh: np.ndarray, body: BodyModel
) -> None:
    centre, extent = targets.boxes.numpy().reshape(-1, 2, 2).transpose(1, 0, 2) * size_wh
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    pairs = match_greedily(people.boxes_xyxy_px, corners)
    tally.found += len(pairs)
    tally.missed += len(targets) - len(pairs)
    tally.invented += len(people) - len(pairs)
    if not pairs:
        return
    parameters = people.smplx_parameters()
    own = body({name: torch.from_numpy(value) for name, value in parameters.items()})
    true = body({name: getattr(targets, name) for name in parameters})
    for slot, person in pairs:
        pelvis = torch.stack([own.joints_3d[slot, 0], true.joints_3d[person, 0]]).numpy()
        vertices = own.vertices[slot].numpy(), true.vertices[person].numpy()
        tally.vertex_errors_mm.append(pelvis_aligned_mm(*vertices, pelvis))


def learn_by_heart(config: TrainConfig, folder: Path, every: int) -> list[Point]:
    """Train on the same eight pictures in every step.

    Args:
        config: with a length in steps; its first stage says how large the pictures are.
        folder: of the run.
        every: steps between two measurements.

    Returns:
        The curve.
    """
    trainer = Trainer(config, folder, BodyModel.load())
    side = config.stages[0].side
    scale = side / config.model.image.short_side
    batch = build_batch(pictures_to_learn(side), config.model.focal_length * scale)
    batch = batch.to(trainer.device)
    curve: list[Point] = []
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
            point = Point(trainer.step, cpu, wall, loss, found["f1"], found["mve_mm"])
            losses.clear()
            curve.append(point)
            logger.info("F1 %.3f, %.1f mm after %.0f s", point.f1, point.mve_mm, cpu)
    trainer.save()
    shown = truth_and_prediction(trainer.average.module, batch, trainer.body_model)
    trainer.journal.picture(trainer.step, shown)
    trainer.journal.close()
    return curve


def draw_curve(curve: Sequence[Point], path: Path) -> None:
    """F1 and mean vertex error over minutes of computing, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    minutes = [point.cpu_seconds / 60 for point in curve]
    errors = figure.add_subplot()
    known = [(m, p.mve_mm) for m, p in zip(minutes, curve, strict=True) if p.mve_mm]
    errors.plot(*zip(*known, strict=True), color="tab:blue")
    errors.axhline(GOAL_MM, color="tab:blue", linestyle=":", linewidth=1)
    errors.set(xlabel="minutes of one core", yscale="log")
    errors.set_ylabel("mean vertex error, mm (goal dotted)", color="tab:blue")
    scores = errors.twinx()
    scores.plot(minutes, [point.f1 for point in curve], color="tab:orange")
    scores.set_ylim(-0.03, 1.03)
    scores.set_ylabel("F1", color="tab:orange")
    figure.suptitle(f"{PICTURES} synthetic pictures learned by heart")
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.tools.overfit", description=__doc__)
    parser.add_argument("--config", default="overfit", help="run, with variants if wanted")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--every", type=int, default=25, help="steps between measurements")
    parser.add_argument("--picture", type=Path, help="PNG of the curve; default: in the folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = named_config(options.config, options.set)
        if not config.steps:
            raise ConfigError("learning by heart needs a length in steps: --set steps=N")
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    torch.set_num_threads(config.threads)
    curve = learn_by_heart(config, options.out, options.every)
    (options.out / "curve.json").write_text(json.dumps([asdict(p) for p in curve], indent=1))
    draw_curve(curve, options.picture or options.out / "curve.png")
    return 0 if curve[-1].reached else 1


if __name__ == "__main__":
    sys.exit(main())
