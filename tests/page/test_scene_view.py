"""Initial camera of the 3D view."""

import numpy as np

from aios.page.scene_view import POLAR_DEGREES, initial_distance


def test_everyone_fits_into_the_initial_view():
    rng = np.random.default_rng(0)
    for reach in ((0.3, 0.9, 0.2), (4, 1, 0.5), (1, 1, 12)):
        people = rng.uniform(-1, 1, (3, 400, 3)) * reach + (0.5, -2, 20)
        distance = initial_distance(people)
        points = people.reshape(-1, 3) - (people.min((0, 1)) + people.max((0, 1))) / 2
        # Camera frame -> glTF (y up) -> camera above, looking down at the center.
        points = points * (1, -1, -1)
        down = np.radians(90 - POLAR_DEGREES)
        forward = np.array([0, -np.sin(down), -np.cos(down)])
        up = np.array([0, np.cos(down), -np.sin(down)])
        depth = distance + points @ forward
        projected = np.stack([points[:, 0], points @ up], 1) / depth[:, None] / np.tan(0.4)
        assert depth.min() > 0
        assert 0.8 < np.abs(projected).max() < 0.9
    assert initial_distance(np.zeros((0, 8, 3))) == initial_distance(np.full((1, 8, 3), np.nan))
