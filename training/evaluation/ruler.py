"""Compares what was predicted in one picture with the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aios.prediction import Prediction

from .answers import Answer
from .benchmarks import Benchmark
from .bodies import Bodies
from .cases import Case, Truth
from .metrics import (
    AGORA_SMPL,
    BodyParts,
    PictureRecord,
    PredictedPeople,
    SmplConversion,
    measure_picture,
)

_MATCHED_JOINTS = 24


class Ruler:
    """Compares one prediction with the truth under all protocols of a benchmark."""

    def __init__(self, benchmark: Benchmark, bodies: Bodies, lists: Path | None) -> None:
        """Read the lists of vertices in `lists`, None in the folder of the body.

        Raises:
            LicensedFileError: one that the benchmark needs is missing.
        """
        self._benchmark = benchmark
        self._parts: BodyParts | None = None
        self._conversion: SmplConversion | None = None
        if AGORA_SMPL in benchmark.protocols:
            self._parts, self._conversion = bodies.smpl(lists)
        elif benchmark.protocols:
            self._parts = bodies.parts(benchmark.parts, lists)

    def measure(
        self, case: Case, prediction: Prediction, truth: Truth | None
    ) -> tuple[Answer, list[PictureRecord]]:
        """What to keep of one picture."""
        camera = prediction.camera
        joints = prediction.joints_3d[:, :_MATCHED_JOINTS].astype(np.float64)
        size, resolution = np.array([camera.width, camera.height]), None
        right, shown = np.zeros((len(prediction), 0), np.int64), np.zeros(0, np.int64)
        boxes, depths, records = np.zeros((0, 4)), np.zeros(0), []
        if truth:
            resolution = np.array(truth.resolution_wh)
            keypoints = prediction.people.keypoints_2d_px * (resolution / size)
            right, shown = truth.keypoints_right(keypoints), truth.keypoints_shown().sum(-1)
            boxes = truth.boxes_xyxy * np.tile(size / resolution, 2)
            depths = truth.depths_m()
            records = self._records(case.name, prediction, truth)
        answer = Answer(
            name=case.name,
            group=case.group,
            people=prediction.people,
            camera=camera,
            joints_2d=camera.project(joints).astype(np.float32),
            keypoints_right=right,
            keypoints_shown=shown,
            true_boxes_xyxy=boxes,
            depths_m=joints[:, 0, 2],
            true_depths_m=depths,
        )
        return answer, records

    def _records(self, name: str, prediction: Prediction, truth: Truth) -> list[PictureRecord]:
        assert self._parts is not None
        people = PredictedPeople.from_prediction(prediction, truth.resolution_wh, self._conversion)

        def in_picture(predictions: np.ndarray, points: np.ndarray) -> np.ndarray:
            moved = points + prediction.people.transl[predictions, None].astype(np.float64)
            pixels = prediction.camera.project(moved)
            size = (prediction.camera.width, prediction.camera.height)
            return ((pixels >= 0) & (pixels < size)).all(-1) & (moved[..., 2] > 0)

        return [
            measure_picture(
                name,
                people,
                truth.people,
                protocol,
                self._parts,
                in_picture if self._benchmark.inside_only else None,
            )
            for protocol in self._benchmark.protocols
        ]
