"""Quality limits for fitted people, and the reasons for rejection."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from aios.geometry.camera import Camera

from .fit import COCO_JOINTS, Fit
from .observation import COCO_OF_BODY_3D, Observation

KEPT = ""
_CERTAIN = 0.3
_FEWEST_POINTS = 3
_LIMBS = slice(5, 17)


@dataclass(frozen=True)
class Gates:
    """Limits; a person outside any of them is rejected.

    Attributes:
        score: minimum score of the detector.
        side_px: minimum of the longer box side, pixels.
        keypoints: minimum number of confident keypoints of shoulders, arms, hips and legs.
        present: minimum presence by the 3D network.
        error: maximum mean distance of the fit to the confident keypoints, in box sides.
        disagreement: maximum median distance between the two body networks, in box sides.
        hands_apart: maximum distance between fitted and detected wrist for a hand to be kept, in
            box sides.
        detector_apart: maximum median distance between the keypoints of detector and body
            network, in box sides, for a person to be kept without the fit.
    """

    score: float = 0.3
    side_px: float = 48.0
    keypoints: int = 5
    present: float = 0.5
    error: float = 0.05
    disagreement: float = 0.12
    hands_apart: float = 0.08
    detector_apart: float = 0.08


@dataclass(frozen=True)
class Judgement:
    """Metrics of P people, and the reason for rejection (empty for kept people).

    Attributes:
        side_px: (P,) longer side of the box.
        certain: (P,) number of confident keypoints of trunk and limbs.
        error: (P,) mean distance of the fitted joints to confident keypoints, in box sides.
        disagreement: (P,) median distance between the two body networks, in box sides.
        torso_cosine: (P,) cosine between the hip-to-shoulder directions of fit and keypoints.
        upright: (P,) orientation of the fitted torso: 1 upright in the image, -1 upside down.
        reasons: (P,) text.
        points_only: (P,) bool, True for rejected people whose box and 2D keypoints are good, such
            as heads and shoulders.
    """

    side_px: np.ndarray
    certain: np.ndarray
    error: np.ndarray
    disagreement: np.ndarray
    torso_cosine: np.ndarray
    upright: np.ndarray
    reasons: np.ndarray
    points_only: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """(P,) bool."""
        return self.reasons == KEPT

    def rows(self) -> list[dict[str, float | str]]:
        """Rows of the table, one per person."""
        names = [field.name for field in fields(self)]
        columns = [getattr(self, name) for name in names]
        return [
            {
                name: str(value) if name == "reasons" else round(float(value), 4)
                for name, value in zip(names, values, strict=True)
            }
            for values in zip(*columns, strict=True)
        ]


def judge(seen: Observation, fit: Fit, camera: Camera, gates: Gates | None = None) -> Judgement:
    """Judge the people of one photo.

    Args:
        seen: P people.
        fit: of the same people.
        camera: of the photo.
        gates: the limits.
    """
    gates = gates or Gates()
    count = len(seen)
    boxes, keypoints = seen.boxes_xyxy_px, seen.body
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(1), 1.0) if count else np.zeros(0)
    certain = keypoints[..., 2] > _CERTAIN
    projected = camera.project(fit.joints_3d[:, list(COCO_JOINTS)])
    error = _mean(np.linalg.norm(projected - keypoints[..., :2], axis=-1), certain) / side
    other = seen.body_3d[:, list(COCO_OF_BODY_3D), :2]
    apart = np.linalg.norm(other - keypoints[..., :2], axis=-1)
    apart = np.where(certain, apart, np.nan)[:, _LIMBS]
    empty = ~np.isfinite(apart).any(1)
    apart[empty] = np.inf
    disagreement = np.nanmedian(apart, axis=1) / side
    up_fit, up_seen = _torso(projected), _torso(keypoints[..., :2])
    figures = {
        "side_px": side,
        "certain": certain[:, _LIMBS].sum(1),
        "error": error,
        "disagreement": disagreement,
        "torso_cosine": (up_fit * up_seen).sum(1),
        "upright": -up_fit[:, 1],
    }
    tests = (
        (seen.scores < gates.score, "low score"),
        (side < gates.side_px, "too small"),
        (figures["certain"] < gates.keypoints, "too few certain keypoints"),
        (seen.body_present < gates.present, "not seen by the 3D network"),
        (disagreement > gates.disagreement, "networks disagree"),
        (error > gates.error, "fit misses the keypoints"),
        ((figures["torso_cosine"] < 0) & certain[:, [5, 6, 11, 12]].all(1), "torso reversed"),
        (figures["upright"] < -0.5, "torso upside down"),
        (fit.joints_3d[:, :55, 2].min(1, initial=np.inf) < 0.1, "behind the camera"),
    )
    reasons = np.full(count, KEPT, dtype=object)
    for failed, reason in reversed(tests):
        reasons[failed] = reason
    points_only = (
        (reasons != KEPT)
        & (seen.scores >= gates.score)
        & (side >= gates.side_px)
        & (certain.sum(1) >= _FEWEST_POINTS)
        & (_detector_distance(seen, certain) / side < gates.detector_apart)
    )
    return Judgement(**figures, reasons=reasons.astype(str), points_only=points_only)


def _detector_distance(seen: Observation, certain: np.ndarray) -> np.ndarray:
    """(P,) median distance in pixels between certain keypoints of both networks."""
    apart = np.linalg.norm(seen.detector[..., :2] - seen.body[..., :2], axis=-1)
    apart = np.where(certain, apart, np.nan)
    apart[~certain.any(1)] = np.inf
    return np.nanmedian(apart, axis=1)


def trusted_hands(seen: Observation, fit: Fit, camera: Camera, limit: float) -> np.ndarray:
    """(P, 2) bool, True for fitted hands near the wrist of the hand network."""
    wrists = camera.project(fit.joints_3d[:, [20, 21]])
    apart = np.linalg.norm(wrists - seen.hands[:, :, 0], axis=-1)
    side = (seen.boxes_xyxy_px[:, 2:] - seen.boxes_xyxy_px[:, :2]).max(1, initial=1.0)
    return fit.hands_fitted & (apart < limit * side[:, None])


def _mean(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(P,) means over the used entries of each row; infinite where there is none."""
    count = used.sum(1)
    total = np.where(used, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _torso(points: np.ndarray) -> np.ndarray:
    """(P, 2) unit vectors from the middle of the hips to the middle of the shoulders."""
    up = points[:, 5:7].mean(1) - points[:, 11:13].mean(1)
    return up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-6)
