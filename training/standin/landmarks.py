"""Search for landmark vertices: 21 extra joints, 51 face landmarks, and the face contour.

Only the left side is searched; the right side is its mirror image.
"""

from __future__ import annotations

import numpy as np

from .shape_space import LIPS_EXPRESSION, ShapeSpace
from .smplx_joints import FINGERS, JOINT_INDEX
from .source import BaseMesh

# Pairs (right, left) among the 51 landmarks of the 68-point face without its contour, from 0.
_MIRRORED = (
    [(k, 9 - k) for k in range(5)]
    + [(14, 18), (15, 17)]
    + [(19, 28), (20, 27), (21, 26), (22, 25), (23, 30), (24, 29)]
    + [(31, 37), (32, 36), (33, 35), (41, 39), (42, 38), (43, 47), (44, 46), (50, 48)]
)
_MIDDLE_HALF_WIDTH = 0.012
_CANDIDATES = 8


class LandmarkFinder:
    """Finds landmarks on the template of the base mesh, before decimation."""

    def __init__(
        self,
        mesh: BaseMesh,
        space: ShapeSpace,
        weights: np.ndarray,
        groups: dict[str, np.ndarray],
    ) -> None:
        """Compute masks of body parts.

        Args:
            mesh: the base mesh.
            space: template and joints.
            weights: (N, 55) skinning weights.
            groups: vertex indices by group name.
        """
        self._mirror = mesh.mirror
        self._points, self._weights = space.template, weights
        on_surface = np.zeros(len(mesh.mirror), bool)
        on_surface[np.unique(mesh.quads)] = True
        self._eye = np.zeros_like(on_surface)
        self._eye[groups["helper-l-eye"]] = True
        self._left, self._middle = mesh.is_left & on_surface, mesh.is_middle & on_surface
        self._joints = space.joints
        skin = np.zeros_like(on_surface)
        skin[groups["body"]] = True
        self._head = skin & on_surface & (self._share("head", "jaw") > 0.5)
        self._eye_centre = self._joints[JOINT_INDEX["left_eye"]]
        self._eye_distance = 2 * self._eye_centre[0]
        motion = np.linalg.norm(space.expression_directions[..., LIPS_EXPRESSION], axis=1)
        lips = self._head & (motion > 0.45 * motion[self._head].max())
        self._mouth_height = float(self._points[lips, 1].mean())
        self._nose = self._furthest(
            self._head & self._middle & self._heights(-0.06, -0.015), (0, 0, 1)
        )

    def extra_joints(self) -> dict[str, int]:
        """Base mesh vertices of the extra joints, by their names in the `smplx` package."""
        ears = self._head & self._left & self._heights(-0.05, 0.02)
        ears &= self._points[:, 2] < self._eye_centre[2] - 0.04
        found = {
            "leye": self._furthest(self._eye, (0, 0, 1)),
            "lear": self._furthest(ears, (1, 0, 0)),
        }
        for finger in FINGERS:
            tip = self._left & (self._share(f"left_{finger}3") > 0.5)
            direction = (1, 0, 0.8) if finger == "thumb" else (1, 0, 0)
            found[f"l{finger}"] = self._furthest(tip, direction)
        foot = self._left & (self._share("left_foot", "left_ankle") > 0.5)
        sole = foot & (self._points[:, 1] < self._joints[JOINT_INDEX["left_ankle"], 1] - 0.03)
        found["LBigToe"] = self._furthest(foot, (-0.35, 0, 1))
        found["LSmallToe"] = self._furthest(foot, (1.2, 0, 1))
        found["LHeel"] = self._furthest(sole, (0, -0.3, -1))
        right = {_right(name): self._mirrored(vertex) for name, vertex in found.items()}
        return found | right | {"nose": self._nose}

    def landmarks(self) -> list[int]:
        """51 base mesh vertices of brows, nose, eyes and mouth."""
        found: dict[int, int] = {}
        front = self._head & (self._points[:, 2] > self._joints[JOINT_INDEX["jaw"], 2] + 0.02)
        for number, (x, y) in self._template().items():
            part = self._middle if x == 0 else self._left
            free = front & part
            free[list(found.values())] = False
            found[number] = self._snap(free, x, y)
        for right, left in _MIRRORED:
            found[right] = self._mirrored(found[left])
        return [found[number] for number in range(51)]

    def contour(self) -> list[int]:
        """17 base mesh vertices of the jaw line, from the right ear over the chin to the left."""
        chin_region = self._head & self._middle
        chin_region &= self._points[:, 1] < self._mouth_height - 0.015
        chin_region &= self._points[:, 1] > self._mouth_height - 0.07
        chin = self._furthest(chin_region, (0, -1, 0.6))
        centre, ear = self._points[chin], self._points[self.extra_joints()["lear"]]
        left = []
        for angle in np.radians(np.linspace(10, 80, 8)):
            rise = 1 - np.cos(angle)
            place = np.array(
                [
                    1.05 * self._eye_distance * np.sin(angle),
                    centre[1] + (self._eye_centre[1] - centre[1]) * rise,
                    centre[2] - (centre[2] - ear[2]) * rise,
                ]
            )
            distance = ((self._points - place) ** 2).sum(1)
            left.append(int(np.where(self._head & self._left, distance, np.inf).argmin()))
        return [self._mirrored(v) for v in reversed(left)] + [chin] + left

    def _template(self) -> dict[int, tuple[float, float]]:
        """Frontal positions (x, y) of the middle and left landmarks, metres."""
        unit, (eye_x, eye_y, _) = self._eye_distance, self._eye_centre
        nose_y = self._points[self._nose, 1]
        places = {
            10 + k: (0.0, eye_y + (nose_y - eye_y) * t) for k, t in enumerate((0, 0.33, 0.66, 1))
        }
        for k, x in enumerate((0, 0.11, 0.22)):
            places[16 + k] = (x * unit, nose_y - 0.17 * unit)
        for k, x in enumerate(np.linspace(-0.42, 0.38, 5)):
            arch = 0.04 if 0 < k < 4 else 0.0
            places[5 + k] = (eye_x + x * unit, eye_y + (0.29 + arch) * unit)
        eye = _ellipse((eye_x, eye_y), 0.23 * unit, 0.09 * unit, (180, 120, 60, 0, -60, -120))
        outer = _ellipse(
            (0.0, self._mouth_height), 0.4 * unit, 0.17 * unit, (90, 65, 30, 0, -30, -65, -90)
        )
        inner = _ellipse((0.0, self._mouth_height), 0.3 * unit, 0.05 * unit, (90, 50, 0, -50, -90))
        for first, points in ((25, eye), (34, outer), (45, inner)):
            places |= {first + k: point for k, point in enumerate(points)}
        return places

    def _snap(self, among: np.ndarray, x: float, y: float) -> int:
        """The front-most of the vertices nearest to a frontal position (x, y)."""
        index = np.flatnonzero(among)
        distance = np.hypot(self._points[index, 0] - x, self._points[index, 1] - y)
        near = distance <= max(np.sort(distance)[_CANDIDATES - 1], 0.004)
        front = self._points[index, 2] - 8 * distance
        return int(index[np.where(near, front, -np.inf).argmax()])

    def _share(self, *names: str) -> np.ndarray:
        return self._weights[:, [JOINT_INDEX[name] for name in names]].sum(1)

    def _heights(self, low: float, high: float) -> np.ndarray:
        """(N,) bool mask of heights above the eyes within the limits, metres."""
        height = self._points[:, 1] - self._eye_centre[1]
        return (height > low) & (height < high)

    def _furthest(self, among: np.ndarray, direction: tuple[float, float, float]) -> int:
        index = np.flatnonzero(among)
        return int(index[(self._points[index] @ np.array(direction)).argmax()])

    def _mirrored(self, vertex: int) -> int:
        return int(self._mirror[vertex])


def _right(name: str) -> str:
    """Name of the right counterpart of a left joint."""
    return ("R" if name[0] == "L" else "r") + name[1:]


def _ellipse(
    centre: tuple[float, float], width: float, height: float, angles: tuple[int, ...]
) -> list[tuple[float, float]]:
    """Points of an ellipse at angles in degrees; x is exactly 0 at 90 and -90."""
    points = []
    for angle in angles:
        x = 0.0 if abs(angle) == 90 else width * float(np.cos(np.radians(angle)))
        points.append((centre[0] + x, centre[1] + height * float(np.sin(np.radians(angle)))))
    return points
