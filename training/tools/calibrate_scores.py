"""Calibrate the scores of a network: `python -m training.tools.calibrate_scores --weights FILE`.

Predicts people of generated scenes that are neither in training nor in the test set, fits
`aios.network.score_calibration.ScoreCalibration` to whether each is right, and writes the
coefficients, a threshold of 0.5 and the largest overlap into the metadata of FILE. A prediction is
right if it finds a person by the rules of `training.evaluation.metrics.match_greedily`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aios.geometry.boxes import cxcywh_to_xyxy, nms
from aios.network.score_calibration import ScoreCalibration, log_clearness
from aios.people import People
from aios.predictor import AiOSPredictor
from aios.weights.checkpoint import CheckpointError, read_safetensors, save_safetensors
from aios.weights.load import CALIBRATION_KEY

from ..evaluation.metrics import match_greedily
from ..export import update_manifest
from ..synthetic import (
    BENCHMARK_PARTS,
    BENCHMARK_SIZE_HW,
    TEST_SEED,
    BodySurface,
    SceneGenerator,
    SyntheticScene,
)

THRESHOLD = 0.5
_SEED = TEST_SEED + 1_000
"""Textures and poses of the test set, which training never sees, in other scenes."""
_SCENES_AT_ONCE = 8
_LEAST_SCORE = 0.05
"""Predictions with a lower score of the network are left out."""
_DECAY = 1e-3


def calibration_scenes(count: int) -> Iterator[SyntheticScene]:
    """`count` scenes, a third like each part of the test set."""
    body = BodySurface()
    for number, part in enumerate(BENCHMARK_PARTS.values()):
        generator = SceneGenerator(
            BENCHMARK_SIZE_HW, body, _SEED + number, people=part.people, uniform_counts=True
        )
        share = len(range(number, count, len(BENCHMARK_PARTS)))
        for start in range(0, share, _SCENES_AT_ONCE):
            yield from generator.generate_many(range(start, min(start + _SCENES_AT_ONCE, share)))


def labelled(
    people: People, boxes_xyxy: np.ndarray, max_overlap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the regression and whether each person is right.

    Args:
        people: predicted, best score first, with the scores of the network.
        boxes_xyxy: (M, 4) true boxes, pixels.
        max_overlap: people that overlap a better one more are left out.

    Returns:
        (N, 2) class logits and logs of the keypoint scores, (N,) bool.
    """
    people = people.select(people.scores >= _LEAST_SCORE)
    people = people.select(nms(people.boxes_xyxy_px, max_overlap))
    right = np.zeros(len(people), bool)
    pairs = match_greedily(people.boxes_xyxy_px.astype(np.float64), boxes_xyxy)
    right[[predicted for predicted, _ in pairs]] = True
    logits = torch.logit(torch.from_numpy(people.scores).double(), 1e-6)
    clearness = log_clearness(torch.from_numpy(people.keypoint_scores).double())
    return torch.stack([logits, clearness], 1).numpy(), right


def fit(inputs: Tensor, right: Tensor) -> ScoreCalibration:
    """Logistic regression with a slight decay of the weights.

    Args:
        inputs: (N, 2) float64, as from `labelled`.
        right: (N,) float64, 0 or 1.
    """
    coefficients = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = coefficients[0] + inputs @ coefficients[1:]
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, right)
        value = value + _DECAY * coefficients[1:].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)
    return ScoreCalibration(*coefficients.detach().tolist())


def calibrate(weights: Path, scenes: int, max_overlap: float) -> ScoreCalibration:
    """Fit the calibration on generated scenes and write it into the weights.

    Args:
        weights: safetensors file, rewritten.
        scenes: number of scenes.
        max_overlap: largest IoU of two people's boxes, stored in the file.

    Raises:
        CheckpointError: the weights cannot be read or written.
        ValueError: the scores do not tell right people from wrong ones.
    """
    config, state, metadata = read_safetensors(weights)
    metadata.pop(CALIBRATION_KEY, None)
    with tempfile.TemporaryDirectory() as folder:
        uncalibrated = Path(folder) / weights.name
        save_safetensors(uncalibrated, state, config, metadata)
        predictor = AiOSPredictor.from_pretrained(uncalibrated, refine=False)
    inputs, right = [], []
    for scene in calibration_scenes(scenes):
        height, width = scene.image.shape[:2]
        found = predictor.find_candidates(scene.image, min_score=_LEAST_SCORE).people
        boxes = cxcywh_to_xyxy(scene.targets.boxes).double().numpy() * np.tile([width, height], 2)
        values, labels = labelled(found, boxes, max_overlap)
        inputs.append(values)
        right.append(labels)
    found_right = torch.from_numpy(np.concatenate(right)).double()
    try:
        calibration = fit(torch.from_numpy(np.concatenate(inputs)), found_right)
    except ValueError as error:
        raise ValueError(
            f"The scores of {len(found_right)} predicted people do not tell right from wrong ones: "
            "give more --scenes, or train longer."
        ) from error
    metadata |= {
        CALIBRATION_KEY: " ".join(f"{value:.4g}" for value in vars(calibration).values()),
        "threshold": str(THRESHOLD),
        "max_overlap": str(max_overlap),
    }
    save_safetensors(weights, state, config, metadata)
    return calibration


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.tools.calibrate_scores",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", type=Path, required=True, help="safetensors, rewritten")
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument(
        "--max-overlap",
        type=float,
        default=0.6,
        help="drop the lower-scoring of two people whose boxes have a larger IoU",
    )
    options = parser.parse_args(arguments)
    try:
        calibration = calibrate(options.weights, options.scenes, options.max_overlap)
        update_manifest(options.weights)
    except (CheckpointError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{json.dumps(vars(calibration))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
