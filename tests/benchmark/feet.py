"""Slide of feet before and after tracks of a still camera are put on one floor.

`python -m tests.benchmark.feet` poses synthetic people with planted feet, adds errors like those of
a network, smooths them like a video, and compares with the truth. Figures are means over clips of
one to four people who walk across, walk towards the camera and stand.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from aios.body.joint_names import JOINTS_3D_NAMES
from aios.body.model import BodyModel
from aios.resources import STANDIN_BODY
from aios.tracking.contacts import FOOT_POINTS
from aios.tracking.floor import BODY_POINTS, FeetTrack, ground_tracks
from aios.tracking.smoothing import PersonFilter
from tests.helpers.people_makers import make_person
from tests.helpers.walks import Scene, Walk, disturbed, joints, sole_clearance, walk

_FEET = [JOINTS_3D_NAMES.index(name) for name in FOOT_POINTS]
_BODY = [JOINTS_3D_NAMES.index(name) for name in BODY_POINTS]
_SCENES = (Scene(1.5, 8.0), Scene(0.6, 0.0), Scene(3.0, 20.0))
_WALKS = (
    ("across", (-1.0, 5.0), 90.0, 1.0),
    ("towards", (0.5, 7.0), 0.0, 0.8),
    ("standing", (1.5, 6.0), 20.0, 0.0),
    ("away", (-1.5, 5.0), 160.0, 1.1),
)


@dataclass(frozen=True)
class Figures:
    """Means over clips, before and after.

    Attributes:
        slide: speed of planted points, metres per second.
        picture: distance of body points from their true places in the picture, percent of the
            height of the person there.
        distance: error of the pelvis along the optical axis, metres.
        height: of planted points above the true floor, absolute error in metres.
    """

    slide: tuple[float, float]
    picture: tuple[float, float]
    distance: tuple[float, float]
    height: tuple[float, float]


def measure(body: BodyModel, people: int, clips: int) -> Figures:
    """Measure clips of each scene with the first `people` walks."""
    found = []
    for scene in _SCENES:
        motions = [walk(body, scene, *how) for _, *how in _WALKS[:people]]
        for seed in range(clips):
            random = np.random.default_rng(seed)
            tracks = [_track(body, _smoothed(disturbed(body, one, random))) for one in motions]
            moves = ground_tracks(tracks).translations
            for motion, track, moved in zip(motions, tracks, moves, strict=True):
                before = _errors(body, scene, motion, track, np.zeros_like(moved))
                found.append([before, _errors(body, scene, motion, track, moved)])
    means = np.mean(found, 0)
    return Figures(*((float(a), float(b)) for a, b in means.T))


def _smoothed(motion: Walk) -> Walk:
    smooth = PersonFilter()
    people = [
        smooth(make_person(**{name: rows[index] for name, rows in motion.parameters.items()}), time)
        for index, time in enumerate(motion.times.tolist())
    ]
    parameters = {
        name: np.concatenate([getattr(one, name) for one in people]) for name in motion.parameters
    }
    return Walk(motion.times, parameters, motion.planted)


def _track(body: BodyModel, motion: Walk) -> FeetTrack:
    points = joints(body, motion.parameters)
    return FeetTrack(motion.times, points[:, _FEET], sole_clearance(body, _FEET), points[:, _BODY])


def _errors(
    body: BodyModel, scene: Scene, motion: Walk, track: FeetTrack, moved: np.ndarray
) -> list[float]:
    """Slide, picture, distance and height of a track after a translation (T, 3)."""
    feet, points = track.feet + moved[:, None], track.body + moved[:, None]
    true = joints(body, motion.parameters)
    planted = np.repeat(motion.planted[:-1] & motion.planted[1:], 2, axis=1)
    speeds = np.linalg.norm(np.diff(feet, axis=0), axis=-1) / np.diff(motion.times)[:, None]
    size = np.ptp(_in_picture(true)[..., 1], axis=1)[:, None]
    shifts = np.linalg.norm(_in_picture(points) - _in_picture(true[:, _BODY]), axis=-1) / size
    pelvis = BODY_POINTS.index("pelvis")
    distance = np.abs(points[:, pelvis, 2] - true[:, 0, 2]).mean()
    height = np.abs((feet - true[:, _FEET])[:-1][planted] @ scene.up).mean()
    return [speeds[planted].mean(), 100 * shifts.mean(), distance, height]


def _in_picture(points: np.ndarray) -> np.ndarray:
    return points[..., :2] / points[..., 2:]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.feet", description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="of each scene and number of people")
    options = parser.parse_args()
    body = BodyModel.load(STANDIN_BODY)
    sys.stdout.write("people  slide m/s      picture %      distance m     height m\n")
    for people in range(1, len(_WALKS) + 1):
        figures = measure(body, people, options.clips)
        pairs = [figures.slide, figures.picture, figures.distance, figures.height]
        columns = "  ".join(f"{before:5.3f}->{after:5.3f}" for before, after in pairs)
        sys.stdout.write(f"{people:6}  {columns}\n")


if __name__ == "__main__":
    main()
