"""Input boxes for two-stage methods in COCO format: of AiOS, annotated, and shifted.

`pictures.json` is a COCO data set (images and annotated boxes); `aios.json`, `annotated.json` and
`shifted.json` are COCO detection results for it (AiOS, Table 7).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aios.geometry.boxes import pairwise_iou

from .metrics import match_greedily
from .prediction_records import PredictionRecord

SHIFT = 0.1
"""Default shift of the noise experiment, as a share of the box size."""
_SEED = 20240609
_PERSON = 1
_FOUND_IOU = 0.5
_MIN_OVERLAP = 1e-6


def shift_boxes(boxes_xyxy: np.ndarray, share: float, image: int) -> np.ndarray:
    """Shift boxes by a share of their width and height, with random signs.

    Args:
        boxes_xyxy: (n, 4).
        share: of width and height.
        image: index of the image, the random seed.
    """
    random = np.random.default_rng([_SEED, image])
    signs = random.choice([-1.0, 1.0], size=(len(boxes_xyxy), 2))
    extent = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return boxes_xyxy + np.tile(share * signs * extent, 2)


@dataclass
class _BoxAgreement:
    """Running sums of the agreement of boxes with the annotated ones."""

    boxes: int = 0
    people: int = 0
    found: int = 0
    overlaps: list[float] = field(default_factory=list)

    def add(self, boxes: np.ndarray, annotated: np.ndarray) -> None:
        """Add the boxes of one image, best score first."""
        self.boxes += len(boxes)
        self.people += len(annotated)
        iou = pairwise_iou(boxes, annotated)
        overlaps = [float(iou[pair]) for pair in match_greedily(boxes, annotated, _MIN_OVERLAP)]
        self.overlaps += overlaps
        self.found += sum(overlap >= _FOUND_IOU for overlap in overlaps)

    def metrics(self) -> dict[str, float]:
        """Number of boxes, mean IoU of matched boxes, recall and precision at IoU 0.5."""
        return {
            "boxes": self.boxes,
            "mean_iou": float(np.mean(self.overlaps)) if self.overlaps else float("nan"),
            "recall": self.found / self.people if self.people else float("nan"),
            "precision": self.found / self.boxes if self.boxes else float("nan"),
        }


def write_coco_boxes(
    folder: Path, predictions: Iterable[PredictionRecord], threshold: float, shift: float = SHIFT
) -> dict[str, dict[str, float]]:
    """Write the four files.

    Args:
        folder: created if missing.
        predictions: of all images.
        threshold: score threshold of the boxes of AiOS.
        shift: shift of the annotated boxes, as a share of their size.

    Returns:
        Agreement of the boxes of AiOS and of the shifted boxes with the annotated ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    results: dict[str, list[dict]] = {"aios": [], "annotated": [], "shifted": []}
    agreement = {name: _BoxAgreement() for name in ("aios", "shifted")}
    for number, record in enumerate(predictions, start=1):
        camera, true = record.camera, record.true_boxes_xyxy
        images.append(
            {
                "id": number,
                "file_name": record.name,
                "width": camera.width,
                "height": camera.height,
            }
        )
        kept = record.people.select(record.people.scores >= threshold)
        moved = shift_boxes(true, shift, number)
        ones = np.ones(len(true))
        results["aios"] += _results(number, kept.boxes_xyxy_px, kept.scores)
        results["annotated"] += _results(number, true, ones)
        results["shifted"] += _results(number, moved, ones)
        for box in _results(number, true, ones):
            del box["score"]
            area = box["bbox"][2] * box["bbox"][3]
            annotations.append(box | {"id": len(annotations) + 1, "area": area, "iscrowd": 0})
        agreement["aios"].add(kept.boxes_xyxy_px, true)
        agreement["shifted"].add(moved, true)
    data_set = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": _PERSON, "name": "person"}],
    }
    (folder / "pictures.json").write_text(json.dumps(data_set))
    for name, found in results.items():
        (folder / f"{name}.json").write_text(json.dumps(found))
    return {
        f"boxes of AiOS, score >= {threshold:g}": agreement["aios"].metrics(),
        f"annotated boxes shifted by {100 * shift:g} %": agreement["shifted"].metrics(),
    }


def _results(image: int, boxes_xyxy: np.ndarray, scores: np.ndarray) -> list[dict]:
    """COCO detections, boxes as x, y, width, height in pixels."""
    rows = []
    for (x1, y1, x2, y2), score in zip(boxes_xyxy.tolist(), scores.tolist(), strict=True):
        box = [x1, y1, x2 - x1, y2 - y1]
        rows.append({"image_id": image, "category_id": _PERSON, "bbox": box, "score": score})
    return rows
