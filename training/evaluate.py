"""Measure weights: `python -m training.evaluate synthetic --weights FILE`.

Scenes are drawn from a seed that training never sees.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from aios.body_model import BodyModel
from aios.people import Prediction
from aios.predictor import AiOSPredictor

from .batch import Sample
from .metrics import Tally, count_keypoints, match_greedily, pelvis_aligned_mm
from .synthetic.backgrounds import load_backgrounds
from .synthetic.scenes import TEST_SEED, SceneGenerator
from .synthetic.surface import DEFAULT_BODY, BodySurface
from .targets import Targets

_SIZE_HW = (360, 480)
_LEAST_VISIBLE = 0.1
_BODY_JOINTS = 22
_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 16))


def held_out_scenes(limit: int, photos: list[np.ndarray] | None) -> Iterator[Sample]:
    """The first `limit` scenes of the test seed, 480 x 360."""
    generator = SceneGenerator(_SIZE_HW, BodySurface(DEFAULT_BODY), TEST_SEED, photos)
    for index in range(limit):
        scene = generator.generate(index)
        yield Sample(scene.image, scene.targets)


def true_vertices(targets: Targets, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (G, V, 3) and joints (G, 144, 3) of the annotated bodies."""
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    parameters = {name: getattr(targets, name) for name in (*names, "betas", "expression")}
    posed = body(parameters)
    return posed.vertices.numpy(), posed.joints_3d.numpy()


def add_picture(
    tally: Tally,
    prediction: Prediction,
    targets: Targets,
    size_wh: tuple[int, int],
    body: BodyModel,
) -> None:
    """Compare one prediction with the truth; people hardly visible are neither asked nor wrong."""
    scale = np.array(size_wh, float)
    boxes = targets.boxes.numpy()
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    corners *= np.tile(scale, 2)
    asked = targets.visible_share.numpy() >= _LEAST_VISIBLE
    pairs = match_greedily(prediction.people.boxes_xyxy_px, corners)
    partner = {person: index for index, person in pairs}
    ignored = sum(not asked[person] for person in partner)
    found = [person for person in partner if asked[person]]
    tally.found += len(found)
    tally.missed += int(asked.sum()) - len(found)
    tally.invented += len(prediction.people) - len(found) - ignored
    keypoints = targets.keypoints_2d.numpy() * scale
    visible = targets.keypoints_visible.numpy()
    for person in np.flatnonzero(asked).tolist():
        index = partner.get(person)
        points = None if index is None else prediction.people.keypoints_2d_px[index]
        count_keypoints(tally, points, keypoints[person], visible[person], corners[person])
    known = [p for p in found if bool(targets.smplx_valid[p])]
    if not known:
        return
    vertices, joints = true_vertices(targets.select(torch.tensor(known)), body)
    for row, person in enumerate(known):
        index = partner[person]
        own = prediction.joints_3d[index]
        pelvis = np.stack([own[0], joints[row, 0]])
        tally.joint_errors_mm.append(
            pelvis_aligned_mm(own[:_BODY_JOINTS], joints[row, :_BODY_JOINTS], pelvis)
        )
        tally.vertex_errors_mm.append(
            pelvis_aligned_mm(prediction.vertices[index], vertices[row], pelvis)
        )


def evaluate_synthetic(
    predictor: AiOSPredictor,
    samples: list[Sample],
    thresholds: tuple[float, ...] = _THRESHOLDS,
) -> dict[str, dict[str, float | int]]:
    """Figures for each score threshold, as text keys."""
    tallies = {threshold: Tally() for threshold in thresholds}
    for sample in samples:
        height, width = sample.picture.shape[:2]
        everyone = predictor.predict(sample.picture, min(thresholds))
        for threshold, tally in tallies.items():
            prediction = first_people(everyone, int((everyone.people.scores >= threshold).sum()))
            add_picture(tally, prediction, sample.targets, (width, height), predictor.body)
    return {str(threshold): tally.summary() for threshold, tally in tallies.items()}


def first_people(prediction: Prediction, count: int) -> Prediction:
    """The `count` people with the best scores."""
    return replace(
        prediction,
        people=prediction.people.select(slice(count)),
        vertices=prediction.vertices[:count],
        joints_3d=prediction.joints_3d[:count],
    )


def _line(name: str, figures: dict[str, float | int]) -> str:
    shown = ", ".join(
        f"{key} {value:.3f}"
        if key in ("f1", "precision", "recall", "pck")
        else f"{key} {value:.0f}"
        for key, value in figures.items()
    )
    return f"threshold {name}: {shown}\n"


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("what", choices=["synthetic"])
    parser.add_argument("--weights", default="builtin", help="builtin or a file")
    parser.add_argument("--limit", type=int, default=100, help="number of scenes")
    parser.add_argument("--threshold", type=float, help="default: several, to choose from")
    parser.add_argument("--real", type=Path, help="folder with backgrounds_*.tar to stand before")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    archives = sorted(options.real.glob("backgrounds_*.tar")) if options.real else []
    photos = load_backgrounds(archives) or None
    predictor = AiOSPredictor.from_pretrained(options.weights)
    samples = list(held_out_scenes(options.limit, photos))
    thresholds = _THRESHOLDS if options.threshold is None else (options.threshold,)
    figures = evaluate_synthetic(predictor, samples, thresholds)
    for name, values in figures.items():
        sys.stdout.write(_line(name, values))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
