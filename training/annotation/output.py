"""Write annotated photos: HumanData file, table of all people, contact sheet of overlays."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.media.photo import read_photo
from aios.render.overlay import overlay

from ..joints import BODY_JOINTS, FACE_JOINTS, LEFT_HAND_JOINTS, RIGHT_HAND_JOINTS
from .fit import COCO_JOINTS, FACE_POINTS, HAND_JOINTS, Fit
from .fit import FACE_JOINTS as LANDMARKS
from .gates import Gates, Judgement, judge, trusted_hands
from .observation import Observation, camera_of
from .parts import Part

PARAMETERS = (
    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"),
    *("jaw_pose", "betas", "expression", "transl"),
)
_NESTED = {"body_pose": (21, 3), "left_hand_pose": (15, 3), "right_hand_pose": (15, 3)}
_CERTAIN = 0.3
_BOX_MARGIN = 0.08
_PART_MARGIN = 0.2
_ON_SHEET, _SHEET_SIDE, _SHEET_COLUMNS = 24, 320, 6


@dataclass(frozen=True)
class PhotoAnnotation:
    """All people found in one photo.

    Attributes:
        name: path below the common folder.
        camera: assumed for the photo.
        seen: P people.
        fit: of the same people.
        judgement: of the same people.
        hands: (P, 2) bool, hands to train on.
    """

    name: str
    camera: Camera
    seen: Observation
    fit: Fit
    judgement: Judgement
    hands: np.ndarray


def judged_photos(part: Part, gates: Gates) -> list[PhotoAnnotation]:
    """Readable photos of a part, with all people judged."""
    ends = np.cumsum(part.counts)
    photos = []
    for index, name in enumerate(part.names):
        width, height = part.sizes_wh[index].tolist()
        if not width:
            continue
        rows = np.arange(ends[index] - part.counts[index], ends[index])
        seen, fit, camera = part.seen.select(rows), part.fit.select(rows), camera_of(width, height)
        hands = trusted_hands(seen, fit, camera, gates.hands_apart)
        photos.append(
            PhotoAnnotation(name, camera, seen, fit, judge(seen, fit, camera, gates), hands)
        )
    return photos


def write_table(path: Path, photos: Sequence[PhotoAnnotation]) -> None:
    """Write all people with their metrics and the reason for rejection as CSV."""
    figures = [field.name for field in fields(Judgement)]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["photo", "person", "score", *figures])
        table.writeheader()
        for photo in photos:
            for person, row in enumerate(photo.judgement.rows()):
                score = round(float(photo.seen.scores[person]), 4)
                table.writerow({"photo": photo.name, "person": person, "score": score, **row})


def write_humandata(path: Path, photos: Sequence[PhotoAnnotation], flat_hands: bool) -> int:
    """Write one row per kept person; rejected people become regions to ignore.

    People of whom only box and 2D keypoints are kept have `meta/smplx_valid` 0.

    Args:
        path: of the `.npz` file.
        photos: the annotated photos.
        flat_hands: whether hand poses are relative to the flat hand.

    Returns:
        Number of people.
    """
    rows: dict[str, list[np.ndarray]] = {}
    names, ends, ignored, ignored_in = [], [0], [np.zeros((0, 4))], [np.zeros(0, np.int64)]
    for photo in photos:
        written = photo.judgement.kept | photo.judgement.points_only
        kept = np.flatnonzero(written)
        if not len(kept):
            continue
        for key, values in _rows(photo, kept).items():
            rows.setdefault(key, []).append(values)
        others = np.flatnonzero(~written)
        ignored.append(_xywh(photo.seen.boxes_xyxy_px[others]))
        ignored_in.append(np.full(len(others), len(ends) - 1))
        names += [photo.name] * len(kept)
        ends.append(len(names))
    arrays: dict[str, Any] = {"smplx": {}, "meta": {}}
    for key, parts in rows.items():
        group, _, name = key.rpartition("/")
        (arrays[group] if group else arrays)[name] = np.concatenate(parts)
    arrays |= {
        "image_path": np.array(names, dtype=str),
        "frame_range": np.stack([ends[:-1], ends[1:]], 1),
        "ignored_bbox_xywh": np.concatenate(ignored).astype(np.float32),
        "ignored_frame": np.concatenate(ignored_in),
        "misc": {"flat_hand_mean": flat_hands},
        "keypoints2d_smplx_mask": np.ones(144, np.uint8),
        "keypoints3d_cam_mask": np.ones(144, np.uint8),
        "__keypoints_compressed__": np.array(False),
    }
    np.savez_compressed(path, **arrays)
    return len(names)


def _rows(photo: PhotoAnnotation, kept: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the kept people; "group/name" for entries of a dictionary."""
    seen, fit = photo.seen.select(kept), photo.fit.select(kept)
    fitted = photo.judgement.kept[kept]
    hands, face = photo.hands[kept] & fitted[:, None], fit.face_fitted & fitted
    count = len(kept)
    joints_2d = _joints_2d(seen, hands, face)
    confidence = np.zeros((count, 144), np.float32)
    confidence[:, list(BODY_JOINTS)] = 1
    confidence[:, list(LEFT_HAND_JOINTS)] = hands[:, :1]
    confidence[:, list(RIGHT_HAND_JOINTS)] = hands[:, 1:]
    confidence[:, list(FACE_JOINTS)] = face[:, None]
    confidence *= fitted[:, None]
    camera = photo.camera
    around = np.where(
        fitted[:, None],
        _box_around(camera.project(fit.joints_3d), _BOX_MARGIN, np.ones(count, bool))[:, :4],
        _xywh(seen.boxes_xyxy_px),
    )
    rows = {
        "bbox_xywh": np.column_stack([around, np.ones(count)]).astype(np.float32),
        "keypoints2d_smplx": joints_2d,
        "keypoints3d_cam": np.concatenate([fit.joints_3d, confidence[..., None]], -1),
        "meta/height": np.full(count, camera.height),
        "meta/width": np.full(count, camera.width),
        "meta/gender": np.full(count, "neutral"),
        "meta/smplx_valid": fitted.astype(np.uint8),
        "meta/score": seen.scores,
        "lhand_bbox_xywh": _box_around(seen.hands[:, 0], _PART_MARGIN, hands[:, 0]),
        "rhand_bbox_xywh": _box_around(seen.hands[:, 1], _PART_MARGIN, hands[:, 1]),
        "face_bbox_xywh": _box_around(seen.face[..., :2], 0.1, face),
    }
    return rows | {
        f"smplx/{name}": getattr(fit, name).reshape(count, *_NESTED.get(name, (-1,)))
        for name in PARAMETERS
    }


def _joints_2d(seen: Observation, hands: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(P, 144, 3) x, y, confidence of the points predicted by the teachers."""
    joints = np.zeros((len(seen), 144, 3), np.float32)
    for side in (0, 1):
        columns = list(HAND_JOINTS[side])
        joints[:, columns, :2] = seen.hands[:, side]
        joints[:, columns, 2] = hands[:, side, None]
    joints[:, list(LANDMARKS), :2] = seen.face[:, list(FACE_POINTS), :2]
    joints[:, list(LANDMARKS), 2] = face[:, None]
    # Last: wrists come from the body network.
    joints[:, list(COCO_JOINTS), :2] = seen.body[..., :2]
    joints[:, list(COCO_JOINTS), 2] = seen.body[..., 2] > _CERTAIN
    return joints


def _box_around(points: np.ndarray, margin: float, valid: np.ndarray) -> np.ndarray:
    """(P, 5) x, y, w, h around points (P, K, 2), enlarged by `margin` of its sides, and 0 or 1."""
    low, high = points.min(1), points.max(1)
    grow = margin / 2 * (high - low)
    corners = np.concatenate([low - grow, high + grow], 1)
    return np.column_stack([_xywh(corners), valid]).astype(np.float32)


def _xywh(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def write_sheet(
    path: Path, root: Path, photos: Sequence[PhotoAnnotation], body: BodyModel, seed: int = 0
) -> None:
    """Write overlays of randomly chosen photos with kept people; nothing if there are none."""
    candidates = [photo for photo in photos if photo.judgement.kept.any()]
    if not candidates:
        return
    chosen = np.random.default_rng(seed).permutation(len(candidates))[:_ON_SHEET]
    tiles = [_tile(root, candidates[index], body) for index in sorted(chosen)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % _SHEET_COLUMNS)
    lines = [
        np.concatenate(tiles[start : start + _SHEET_COLUMNS], 1)
        for start in range(0, len(tiles), _SHEET_COLUMNS)
    ]
    cv2.imwrite(str(path), np.concatenate(lines)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


def _tile(root: Path, photo: PhotoAnnotation, body: BodyModel) -> np.ndarray:
    """(S, S, 3) uint8 RGB."""
    fit = photo.fit.select(np.flatnonzero(photo.judgement.kept))
    with torch.no_grad():
        posed = body({name: torch.from_numpy(getattr(fit, name)) for name in PARAMETERS})
    image = read_photo(root / photo.name)
    # OpenGL (Mesa) and TensorFlow each load an LLVM, and crash in one process.
    vertices = posed.vertices.numpy()
    drawn = overlay(image, vertices, body.faces, photo.camera, renderer="software")
    scale = _SHEET_SIDE / max(drawn.shape[:2])
    small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((_SHEET_SIDE, _SHEET_SIDE, 3), 255, np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small[:_SHEET_SIDE, :_SHEET_SIDE]
    return tile
