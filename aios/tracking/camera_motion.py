"""Whether the camera of a video stands still, from the motion of the background in the picture."""

from __future__ import annotations

import cv2
import numpy as np

_SIDE_PX = 320
"""Long side of the frames that are compared."""
_MAX_POINTS, _MIN_POINTS, _MIN_QUALITY, _MIN_GAP_PX = 150, 12, 0.02, 7
_MAX_RETURN_PX = 0.5
"""A point is tracked forwards and backwards; it counts if it returns to within this distance."""
_MAX_SHIFT_PX = 1.3
"""Median shift of the background since the first frame up to which the camera stands still: 0.4 %
of the long side."""
_MIN_KNOWN_SHARE, _MIN_STILL_SHARE = 0.7, 0.95


class CameraMotion:
    """Follows corners of the background from a reference frame to every later frame.

    The reference stays the first frame with enough corners, so that a slow pan is noticed, too.
    """

    def __init__(self) -> None:
        """Start without frames."""
        self._reference: np.ndarray | None = None
        self._points: np.ndarray = np.zeros((0, 1, 2), np.float32)
        self._frames = self._known = self._still = 0

    def add(self, frame: np.ndarray, boxes_xyxy_px: np.ndarray) -> None:
        """Compare the next frame with the reference.

        Args:
            frame: (H, W, 3) uint8 RGB, of the same size as the others.
            boxes_xyxy_px: (P, 4) people, who are no background.
        """
        scale = min(1.0, _SIDE_PX / max(frame.shape[:2]))
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if self._reference is None:
            self._choose_points(gray, boxes_xyxy_px * scale)
            return
        self._frames += 1
        shift = self._shift(gray)
        if shift is not None:
            self._known += 1
            self._still += shift <= _MAX_SHIFT_PX

    @property
    def is_still(self) -> bool | None:
        """Whether the camera stands still; None if the background is too plain to tell."""
        if self._known < max(1, _MIN_KNOWN_SHARE * self._frames):
            # Corners that are soon lost have left the picture.
            return None if self._known == 0 else False
        return self._still >= _MIN_STILL_SHARE * self._known

    def _choose_points(self, gray: np.ndarray, boxes: np.ndarray) -> None:
        mask = np.full(gray.shape, 255, np.uint8)
        for x0, y0, x1, y1 in boxes:
            margin = 0.1 * max(x1 - x0, y1 - y0, 1.0)
            low = np.maximum([x0 - margin, y0 - margin], 0).astype(int)
            high = np.maximum([x1 + margin, y1 + margin], 0).astype(int)
            mask[low[1] : high[1] + 1, low[0] : high[0] + 1] = 0
        points = cv2.goodFeaturesToTrack(gray, _MAX_POINTS, _MIN_QUALITY, _MIN_GAP_PX, mask=mask)
        if points is not None and len(points) >= _MIN_POINTS:
            self._reference, self._points = gray, np.asarray(points)

    def _shift(self, gray: np.ndarray) -> float | None:
        """Median shift of the points, pixels; None if too few of them are found again."""
        assert self._reference is not None
        there, found = _follow(self._reference, gray, self._points)
        back, returned = _follow(gray, self._reference, there)
        errors = np.linalg.norm(back - self._points, axis=-1)[:, 0]
        kept = found & returned & (errors < _MAX_RETURN_PX)
        if kept.sum() < max(_MIN_POINTS / 2, 0.2 * len(kept)):
            return None
        return float(np.median(np.linalg.norm(there - self._points, axis=-1)[kept]))


def _follow(
    start: np.ndarray, end: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 1, 2) of one grey picture in another, and which (N,) are found."""
    guess = np.zeros_like(points)
    there, found, _ = cv2.calcOpticalFlowPyrLK(start, end, points, guess)
    return np.asarray(there), np.asarray(found)[:, 0] > 0
