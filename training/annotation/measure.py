"""Measure the annotator: `python -m training.annotation.measure --models DIR`.

`--scenes N` compares with the exact bodies of the first N scenes of each part of the synthetic
test set: people found, joint errors of the body (MPJPE aligned at the hips, PA-MPJPE) and of hands
aligned at the wrist. `--photos DIR` compares with the keypoints in `DIR/truth.json`: F1 and PCK@0.1
of keypoints and of the fitted body, as in `python -m training.evaluate photos`. Both before and
after the gates.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from aios.body.model import BodyModel
from aios.geometry.boxes import cxcywh_to_xyxy
from aios.people import FIELD_SHAPES, People
from aios.pipelines.processes import ProcessStartError
from aios.prediction import Prediction

from ..data import DataError
from ..evaluation.annotated_photos import PhotoCounts, read_photo_annotations
from ..evaluation.metrics import match_greedily
from ..evaluation.metrics.alignment import procrustes
from ..synthetic import BENCHMARK_PARTS, benchmark_scene
from .fit import HAND_JOINTS
from .gates import Gates
from .observers import Observers
from .output import PARAMETERS, PhotoAnnotation, judged_photos
from .parts import annotate
from .teachers import PACKAGE, TeacherError

_log = logging.getLogger(__name__)
_NUM_BODY, _HIPS = 22, [1, 2]
_MATCH_IOU = 0.5
_MM = 1000
Truth = tuple[np.ndarray, np.ndarray]
"""Boxes (G, 4) xyxy in pixels and joints (G, 144, 3) in metres of one scene."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns 0, or 2 if files are missing."""
    parser = argparse.ArgumentParser(prog="python -m training.annotation.measure")
    parser.add_argument("--models", type=Path, required=True, help=f"folder of {PACKAGE}")
    parser.add_argument("--scenes", type=int, default=0, help="scenes of each part of the test set")
    parser.add_argument("--photos", type=Path, help="folder with photos and truth.json")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    body = BodyModel.load()
    try:
        observers = Observers(options.models, options.processes)
        with observers, tempfile.TemporaryDirectory() as folder:
            if options.scenes:
                _measure_scenes(Path(folder), options.scenes, observers, body)
            if options.photos:
                _measure_photos(options.photos, observers, body)
    except (TeacherError, ProcessStartError, DataError) as error:
        _log.error("%s", error)
        return 2
    return 0


def _measure_scenes(folder: Path, count: int, observers: Observers, body: BodyModel) -> None:
    for part in BENCHMARK_PARTS:
        names, truth = [], []
        for index in range(count):
            scene = benchmark_scene(part, index)
            names.append(f"{part}_{index:04d}.png")
            cv2.imwrite(str(folder / names[-1]), cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
            values = {name: getattr(scene.targets, name).float() for name in PARAMETERS}
            with torch.no_grad():
                joints = body.joints(values).numpy()
            size = np.tile(scene.image.shape[1::-1], 2)
            truth.append((cxcywh_to_xyxy(scene.targets.boxes).numpy() * size, joints))
        annotated = annotate(names, folder, observers, body)
        photos = judged_photos(annotated, Gates())
        for title, gated in (("all", False), ("kept", True)):
            _log.info("%s, %s: %s", part, title, scene_figures(photos, truth, gated))


def scene_figures(photos: Sequence[PhotoAnnotation], truth: Sequence[Truth], gated: bool) -> str:
    """Errors of the people found in scenes, as one line.

    Args:
        photos: the annotated scenes.
        truth: of the same scenes.
        gated: count kept people only.
    """
    errors, hands = [], []
    for photo, (boxes, joints) in zip(photos, truth, strict=True):
        chosen = np.flatnonzero(photo.judgement.kept) if gated else np.arange(len(photo.seen))
        chosen = chosen[np.argsort(-photo.seen.scores[chosen], kind="stable")]
        for row, true in match_greedily(photo.seen.boxes_xyxy_px[chosen], boxes, _MATCH_IOU):
            found, wanted = photo.fit.joints_3d[chosen[row]], joints[true]
            body = [points[:_NUM_BODY] - points[_HIPS].mean(0) for points in (found, wanted)]
            errors.append((_distance(*body), _distance(procrustes(*body), body[1])))
            for side in np.flatnonzero(photo.hands[chosen[row]]):
                columns = list(HAND_JOINTS[side])
                pair = [points[columns] - points[columns[0]] for points in (found, wanted)]
                hands.append(_distance(*pair))
    total = sum(len(boxes) for boxes, _ in truth)
    if not errors:
        return f"0 of {total} people"
    mpjpe, aligned_error = np.array(errors).T * _MM
    text = (
        f"{len(errors)} of {total} people, MPJPE {mpjpe.mean():.0f} mm (median "
        f"{np.median(mpjpe):.0f}), PA-MPJPE {aligned_error.mean():.0f} mm (median "
        f"{np.median(aligned_error):.0f})"
    )
    return f"{text}, {len(hands)} hands {_MM * np.mean(hands):.0f} mm" if hands else text


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second, axis=-1).mean())


def _measure_photos(photos: Path, observers: Observers, body: BodyModel) -> None:
    annotations = read_photo_annotations(photos / "truth.json")
    names = [annotation.name for annotation in annotations]
    found = judged_photos(annotate(names, photos, observers, body), Gates())
    for title, gated in (("all", False), ("kept", True)):
        counts = PhotoCounts(0.0)
        for annotation, photo in zip(annotations, found, strict=True):
            counts.add(annotation, as_prediction(photo, body, gated))
        metrics = counts.metrics()
        _log.info(
            "photos, %s: F1 %.3f, PCK@0.1 %.3f, of the fitted body %.3f",
            *(title, metrics["f1"], metrics["pck"], metrics["mesh_pck"]),
        )


def as_prediction(photo: PhotoAnnotation, body: BodyModel, gated: bool) -> Prediction:
    """Convert an annotated photo to a `Prediction` without meshes.

    Args:
        photo: the photo.
        body: the fitted body.
        gated: kept people only.
    """
    chosen = np.flatnonzero(photo.judgement.kept) if gated else np.arange(len(photo.seen))
    seen, fit = photo.seen.select(chosen), photo.fit.select(chosen)
    values = {
        name: np.zeros((len(chosen), *shape), np.float32) for name, shape in FIELD_SHAPES.items()
    }
    values |= {name: getattr(fit, name) for name in PARAMETERS}
    values |= {
        "scores": seen.scores,
        "boxes_xyxy_px": seen.boxes_xyxy_px,
        "keypoints_2d_px": seen.body[..., :2],
        "keypoint_scores": seen.body[..., 2],
    }
    return Prediction(
        people=People(**values),
        camera=photo.camera,
        vertices=np.zeros((len(chosen), 0, 3), np.float32),
        joints_3d=fit.joints_3d,
        faces=body.faces,
        weights="annotator",
        body=body.name,
    )


if __name__ == "__main__":
    sys.exit(main())
