"""Boxes for two-stage methods in COCO's form: those of AiOS, the annotated ones, and shifted ones.

A two-stage method takes its people from boxes.  `pictures.json` is a COCO data set (pictures and
annotated boxes); `aios.json`, `annotated.json` and `shifted.json` are COCO results for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aios.geometry.boxes import pairwise_iou

from .answers import Answer
from .metrics import match_greedily

SHIFT = 0.1
"""Of a box's width and height: how far the noise experiment moves it."""
_SEED = 20240609
_PERSON = 1
_FOUND_IOU = 0.5
_LEAST_IOU = 1e-6


def shifted(boxes_xyxy: np.ndarray, share: float, picture: int) -> np.ndarray:
    """Boxes moved by a share of their width and height, left or right and up or down by chance.

    Args:
        boxes_xyxy: (n, 4).
        share: how far.
        picture: number of the picture; chance depends on it alone.
    """
    random = np.random.default_rng([_SEED, picture])
    signs = random.choice([-1.0, 1.0], size=(len(boxes_xyxy), 2))
    extent = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return boxes_xyxy + np.tile(share * signs * extent, 2)


@dataclass
class _Agreement:
    """How boxes agree with the annotated ones."""

    boxes: int = 0
    people: int = 0
    found: int = 0
    overlaps: list[float] = field(default_factory=list)

    def add(self, boxes: np.ndarray, annotated: np.ndarray) -> None:
        """Boxes of one picture, best first."""
        self.boxes += len(boxes)
        self.people += len(annotated)
        iou = pairwise_iou(boxes, annotated)
        overlaps = [float(iou[pair]) for pair in match_greedily(boxes, annotated, _LEAST_IOU)]
        self.overlaps += overlaps
        self.found += sum(overlap >= _FOUND_IOU for overlap in overlaps)

    def figures(self) -> dict[str, float]:
        """Number of boxes, mean IoU of those that overlap their person, recall and precision."""
        return {
            "boxes": self.boxes,
            "mean_iou": float(np.mean(self.overlaps)) if self.overlaps else float("nan"),
            "recall": self.found / self.people if self.people else float("nan"),
            "precision": self.found / self.boxes if self.boxes else float("nan"),
        }


def write_boxes(
    folder: Path, answers: Iterable[Answer], threshold: float, shift: float = SHIFT
) -> dict[str, dict[str, float]]:
    """Write the four files.

    Args:
        folder: made if need be.
        answers: of all pictures.
        threshold: lowest score of a box of AiOS.
        shift: how far annotated boxes are moved, a share of their size.

    Returns:
        How the boxes of AiOS and the shifted ones agree with the annotated ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    results: dict[str, list[dict]] = {"aios": [], "annotated": [], "shifted": []}
    agreement = {name: _Agreement() for name in ("aios", "shifted")}
    for number, answer in enumerate(answers, start=1):
        camera, true = answer.camera, answer.true_boxes_xyxy
        images.append(
            {
                "id": number,
                "file_name": answer.name,
                "width": camera.width,
                "height": camera.height,
            }
        )
        kept = answer.people.select(answer.people.scores >= threshold)
        moved = shifted(true, shift, number)
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
        f"boxes of AiOS, score >= {threshold:g}": agreement["aios"].figures(),
        f"annotated boxes shifted by {100 * shift:g} %": agreement["shifted"].figures(),
    }


def _results(picture: int, boxes_xyxy: np.ndarray, scores: np.ndarray) -> list[dict]:
    """COCO detections: x, y, width, height in pixels."""
    rows = []
    for (x1, y1, x2, y2), score in zip(boxes_xyxy.tolist(), scores.tolist(), strict=True):
        box = [x1, y1, x2 - x1, y2 - y1]
        rows.append({"image_id": picture, "category_id": _PERSON, "bbox": box, "score": score})
    return rows
