"""Comparison of the prediction for one image with its ground truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aios.prediction import Prediction

from .benchmarks import Benchmark
from .bodies import Bodies
from .metrics import (
    AGORA_SMPL,
    BodyParts,
    ImageRecord,
    PredictedPeople,
    SmplConversion,
    measure_image,
)
from .prediction_records import PredictionRecord
from .samples import EvaluationSample, GroundTruth

_MATCHED_JOINTS = 24


class Evaluator:
    """Compares predictions with ground truth under all protocols of a benchmark."""

    def __init__(self, benchmark: Benchmark, bodies: Bodies, lists: Path | None) -> None:
        """Read the vertex lists in `lists`; None reads them from the folder of the body.

        Raises:
            LicensedFileError: a required list is missing.
        """
        self._benchmark = benchmark
        self._parts: BodyParts | None = None
        self._conversion: SmplConversion | None = None
        if AGORA_SMPL in benchmark.protocols:
            self._parts, self._conversion = bodies.smpl(lists)
        elif benchmark.protocols:
            self._parts = bodies.parts(benchmark.parts, lists)

    def compare(
        self, sample: EvaluationSample, prediction: Prediction, truth: GroundTruth | None
    ) -> tuple[PredictionRecord, list[ImageRecord]]:
        """Build the records of one image: the prediction, and one comparison per protocol."""
        camera = prediction.camera
        joints = prediction.joints_3d[:, :_MATCHED_JOINTS].astype(np.float64)
        size = np.array([camera.width, camera.height])
        right, shown = np.zeros((len(prediction), 0), np.int64), np.zeros(0, np.int64)
        boxes, depths, records = np.zeros((0, 4)), np.zeros(0), []
        if truth:
            resolution = np.array(truth.resolution_wh)
            keypoints = prediction.people.keypoints_2d_px * (resolution / size)
            right, shown = truth.keypoints_right(keypoints), truth.keypoints_shown().sum(-1)
            boxes = truth.boxes_xyxy * np.tile(size / resolution, 2)
            depths = truth.depths_m()
            records = self._records(sample.name, prediction, truth)
        predicted = PredictionRecord(
            name=sample.name,
            group=sample.group,
            people=prediction.people,
            camera=camera,
            joints_2d=camera.project(joints).astype(np.float32),
            keypoints_right=right,
            keypoints_shown=shown,
            true_boxes_xyxy=boxes,
            depths_m=joints[:, 0, 2],
            true_depths_m=depths,
        )
        return predicted, records

    def _records(self, name: str, prediction: Prediction, truth: GroundTruth) -> list[ImageRecord]:
        assert self._parts is not None
        people = PredictedPeople.from_prediction(prediction, truth.resolution_wh, self._conversion)

        def in_image(predictions: np.ndarray, points: np.ndarray) -> np.ndarray:
            moved = points + prediction.people.transl[predictions, None].astype(np.float64)
            pixels = prediction.camera.project(moved)
            size = (prediction.camera.width, prediction.camera.height)
            return ((pixels >= 0) & (pixels < size)).all(-1) & (moved[..., 2] > 0)

        return [
            measure_image(
                name,
                people,
                truth.people,
                protocol,
                self._parts,
                in_image if self._benchmark.inside_only else None,
            )
            for protocol in self._benchmark.protocols
        ]
