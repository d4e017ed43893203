"""Benchmark on photos with 2D annotation: detection, keypoints, projected mesh, and close-ups.

The annotation is one JSON file, a dictionary from the file name of each photo to

    {"width": W, "height": H, "people": [
        {"box_xyxy_px": [x1, y1, x2, y2],
         "keypoints_2d_px": [[x, y, visible], ... 17 in COCO order],
         "ignore": false}, ...]}

in pixels of the upright photo (EXIF orientation applied); `visible` is 0 or 1.  A person with
`ignore` is neither required nor wrong to find.

Rules:

* Detection: predictions at or above the score threshold are taken best score first; each finds the
  free person whose box it overlaps most, if the IoU is at least 0.5.  A prediction that finds no
  one is a false positive unless its IoU with an ignored person is at least 0.5.
* PCK@0.1: share of the visible keypoints of all people that are not ignored, predicted within 0.1
  of the longer side of the annotated box.  Every keypoint of a missed person counts as wrong.
* Mesh PCK@0.1: the same for the 17 COCO points of the posed body, projected by the camera.
* Upper bodies: crops of the photos in which head and shoulders of one person fill the image (see
  `close_up_windows`).  A crop counts as found if a predicted box has an IoU of at least 0.5 with
  the part of the person's box inside the crop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aios.geometry.boxes import pairwise_iou
from aios.media.photo import read_photo
from aios.network.config import BODY_KEYPOINT_JOINTS
from aios.prediction import Prediction
from aios.predictor import AiOSPredictor

from ..data import DataError
from .metrics import match_greedily

PCK_SHARE = 0.1
"""Tolerance of a keypoint, in longer sides of the annotated box."""
MATCH_IOU = 0.5
CLOSE_UP_SHARES = (0.6, 0.4)
"""Sizes of the head-and-shoulders box in a close-up, in sides of the crop: one crop each."""
_MIN_CLOSE_UP_PX = 24.0
"""Head-and-shoulders boxes with a shorter longer side are too coarse for a close-up."""
_NUM_KEYPOINTS = 17
_HEAD = slice(0, 5)
_SHOULDERS = slice(5, 7)
_FOREHEAD = 0.5
"""Distance from the eyes to the top of the head, in shoulder widths."""


@dataclass(frozen=True)
class PhotoAnnotation:
    """The n annotated people of one photo, in pixels of the upright photo."""

    name: str
    """File name."""
    size_wh: tuple[int, int]
    boxes_xyxy: np.ndarray
    """(n, 4) float64."""
    keypoints_2d: np.ndarray
    """(n, 17, 2) float64, COCO order."""
    visible: np.ndarray
    """(n, 17) bool."""
    ignore: np.ndarray
    """(n,) bool: neither required nor wrong to find."""


def read_photo_annotations(path: Path) -> list[PhotoAnnotation]:
    """Read an annotation file; photos in the order of their names.

    Raises:
        DataError: the file is missing or not in the form of the module docstring.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a JSON file ({error})") from error
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} should be a dictionary from photo names to annotations")
    return [_annotation(path, name, content[name]) for name in sorted(content)]


def _annotation(path: Path, name: str, record: Mapping[str, Any]) -> PhotoAnnotation:
    try:
        people = record["people"]
        keypoints = np.array([one["keypoints_2d_px"] for one in people], np.float64)
        keypoints = keypoints.reshape(len(people), _NUM_KEYPOINTS, 3)
        boxes = np.array([one["box_xyxy_px"] for one in people], np.float64)
        return PhotoAnnotation(
            name=name,
            size_wh=(int(record["width"]), int(record["height"])),
            boxes_xyxy=boxes.reshape(len(people), 4),
            keypoints_2d=keypoints[..., :2],
            visible=keypoints[..., 2] > 0,
            ignore=np.array([bool(one["ignore"]) for one in people], bool),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: the annotation of {name} is not in the form that "
            f"training/evaluation/README.md describes ({type(error).__name__}: {error})"
        ) from error


@dataclass
class PhotoCounts:
    """Sums over photos at one score threshold."""

    threshold: float
    found: int = 0
    missed: int = 0
    false_positives: int = 0
    keypoints: int = 0
    """Visible keypoints of all people that are not ignored."""
    keypoints_right: int = 0
    mesh_points_right: int = 0
    crops: int = 0
    crops_found: int = 0

    def add(self, annotation: PhotoAnnotation, prediction: Prediction) -> None:
        """Count one photo; people below the threshold are left out here."""
        kept = prediction.people.scores >= self.threshold
        order = np.argsort(-prediction.people.scores[kept], kind="stable")
        chosen = np.flatnonzero(kept)[order]
        boxes = prediction.people.boxes_xyxy_px[chosen].astype(np.float64)
        required = ~annotation.ignore
        pairs = match_greedily(boxes, annotation.boxes_xyxy[required], MATCH_IOU)
        self.found += len(pairs)
        self.missed += int(required.sum()) - len(pairs)
        unmatched = np.delete(boxes, [prediction for prediction, _ in pairs], axis=0)
        ignored = pairwise_iou(unmatched, annotation.boxes_xyxy[annotation.ignore]) >= MATCH_IOU
        self.false_positives += int((~ignored.any(1)).sum())
        visible = annotation.visible[required]
        self.keypoints += int(visible.sum())
        predicted, person = np.array(pairs, np.int64).reshape(-1, 2).T
        predicted = chosen[predicted]
        wanted = annotation.keypoints_2d[required][person]
        corners = annotation.boxes_xyxy[required][person]
        limit = PCK_SHARE * (corners[:, 2:] - corners[:, :2]).max(1, initial=0)
        joints = prediction.joints_3d[predicted][:, list(BODY_KEYPOINT_JOINTS)]
        mesh_points = prediction.camera.project(joints.astype(np.float64))
        keypoints = prediction.people.keypoints_2d_px[predicted]
        for name, points in (("keypoints_right", keypoints), ("mesh_points_right", mesh_points)):
            near = np.linalg.norm(points - wanted, axis=-1) <= limit[:, None]
            setattr(self, name, getattr(self, name) + int((near & visible[person]).sum()))

    def add_close_up(self, box_xyxy: np.ndarray, prediction: Prediction) -> None:
        """Count one crop; `box_xyxy` (4,) is the person's box inside the crop, its pixels."""
        people = prediction.people.select(prediction.people.scores >= self.threshold)
        self.crops += 1
        overlap = pairwise_iou(people.boxes_xyxy_px, box_xyxy[None])
        self.crops_found += bool((overlap >= MATCH_IOU).any())

    def metrics(self) -> dict[str, float | int]:
        """Metrics by name; shares are 0-1, 0 where nothing is annotated."""
        predicted, people = self.found + self.false_positives, self.found + self.missed
        return {
            "threshold": self.threshold,
            "people": people,
            "f1": 2 * self.found / max(predicted + people, 1),
            "precision": self.found / max(predicted, 1),
            "recall": self.found / max(people, 1),
            "pck": self.keypoints_right / max(self.keypoints, 1),
            "mesh_pck": self.mesh_points_right / max(self.keypoints, 1),
            "upper_bodies": self.crops,
            "upper_bodies_found": self.crops_found,
        }


def close_up_windows(
    annotation: PhotoAnnotation,
) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Crops in which head and shoulders of one person fill the image.

    For each person who is not ignored, with a visible head keypoint and both shoulders visible:
    the box around the visible head keypoints and the shoulders, extended upwards by half the
    shoulder width for the skull, is the head-and-shoulders box.  A crop is the square with the
    same centre in which the longer side of that box takes one of `CLOSE_UP_SHARES`, moved into
    the photo and cut to it where the photo is smaller.

    Yields:
        Index of the person and the crop as x1, y1, x2, y2 in whole pixels.
    """
    size = np.array(annotation.size_wh)
    for index in np.flatnonzero(~annotation.ignore).tolist():
        visible = annotation.visible[index]
        if not (visible[_HEAD].any() and visible[_SHOULDERS].all()):
            continue
        points = annotation.keypoints_2d[index, : _SHOULDERS.stop][visible[: _SHOULDERS.stop]]
        low, high = points.min(0), points.max(0)
        left, right = annotation.keypoints_2d[index, _SHOULDERS]
        low[1] -= _FOREHEAD * np.linalg.norm(left - right)
        extent = float((high - low).max())
        if extent < _MIN_CLOSE_UP_PX:
            continue
        for share in CLOSE_UP_SHARES:
            sides = np.minimum(round(extent / share), size)
            corner = np.clip(np.rint((low + high - sides) / 2), 0, size - sides).astype(int)
            yield index, (*corner.tolist(), *(corner + sides).tolist())


def evaluate_photos(
    annotations: Sequence[PhotoAnnotation],
    images: Path,
    predictor: AiOSPredictor,
    thresholds: Sequence[float] = (),
) -> list[dict[str, float | int]]:
    """Predict all photos and close-ups once.

    Args:
        annotations: of the photos.
        images: folder of the photos.
        predictor: to be evaluated.
        thresholds: score thresholds; empty takes that of the weights.

    Returns:
        The metrics of `PhotoCounts.metrics` for each threshold.

    Raises:
        PhotoError: a photo cannot be read.
        DataError: a photo does not have the annotated size.
    """
    counts = [PhotoCounts(value) for value in thresholds or (predictor.weights.threshold,)]
    lowest = min(one.threshold for one in counts)
    for annotation in annotations:
        image = read_photo(images / annotation.name)
        height, width = image.shape[:2]
        if (width, height) != annotation.size_wh:
            raise DataError(
                f"{images / annotation.name} is {width} x {height} pixels, but annotated as "
                f"{annotation.size_wh[0]} x {annotation.size_wh[1]}"
            )
        prediction = predictor.predict(image, lowest)
        for one in counts:
            one.add(annotation, prediction)
        for person, (x1, y1, x2, y2) in close_up_windows(annotation):
            prediction = predictor.predict(np.ascontiguousarray(image[y1:y2, x1:x2]), lowest)
            corners = annotation.boxes_xyxy[person].reshape(2, 2)
            box = np.clip(corners - (x1, y1), 0, (x2 - x1, y2 - y1)).reshape(4)
            for one in counts:
                one.add_close_up(box, prediction)
    return [one.metrics() for one in counts]
