"""Candidates of the tiles of a panorama, in the whole photo."""

from dataclasses import replace

import numpy as np
import pytest

from aios import AiOSPredictor
from aios.geometry.camera import Camera
from aios.geometry.tiles import Tile, tiles
from aios.media.photo import read_photo
from aios.people import People
from aios.prediction import Candidates, candidates_of_tiles
from aios.resources import EXAMPLES

pytestmark = pytest.mark.usefixtures("one_thread")


def person(x: float, y: float, score: float, depth: float, view: Camera) -> People:
    """One person of 20 x 40 px around a pixel of a camera."""
    one = {
        name: np.zeros((1, *values.shape[1:]), values.dtype)
        for name, values in vars(People.empty()).items()
    }
    ray = (np.array([x, y]) - view.principal_point) / view.focal_length
    one |= {
        "scores": np.float32([score]),
        "boxes_xyxy_px": np.float32([[x - 10, y - 20, x + 10, y + 20]]),
        "keypoints_2d_px": np.full((1, 17, 2), [x, y], np.float32),
        "transl": np.float32([[*(ray * depth), depth]]),
    }
    return People(**one)


@pytest.mark.parametrize("is_wide", [True, False])
def test_people_keep_their_pixels_and_their_size(is_wide):
    size = (800, 100) if is_wide else (100, 800)
    photo = Camera(4000.0, (size[0] / 2, size[1] / 2), *size)
    part = tiles(*size)[2]
    view = Camera(1000.0, (part.size[0] / 2, part.size[1] / 2), *part.size)
    middle = np.array(part.size) / 2 + (7, 5)
    found = [Candidates(People.empty(), view) for _ in tiles(*size)]
    found[2] = Candidates(person(*middle, 0.9, 5.0, view), view)
    people = candidates_of_tiles(found, tiles(*size), photo).people
    expected = middle + part.origin
    np.testing.assert_allclose(photo.project(people.transl)[0], expected, atol=0.01)
    np.testing.assert_allclose(people.keypoints_2d_px[0, 3], expected)
    np.testing.assert_allclose(people.boxes_xyxy_px[0, :2], expected - (10, 20))
    np.testing.assert_allclose(people.boxes_xyxy_px[0, 2:], expected + (10, 20))
    assert people.transl[0, 2] == pytest.approx(20.0)  # 4 times the focal length
    scale, x, y = people.weak_camera[0]
    np.testing.assert_allclose([x / scale, y / scale, 1 / scale], people.transl[0], rtol=1e-5)


def test_person_in_two_tiles_is_kept_once():
    photo = Camera(4000.0, (400, 50), 800, 100)
    view = Camera(1000.0, (100, 50), 200, 100)
    parts = [Tile((0, 0), (200, 100), (-np.inf, 152)), Tile((100, 0), (200, 100), (148, np.inf))]
    # Both tiles find the first person in their cores, and the second one elsewhere.
    found = [person(149, 50, 0.8, 5.0, view), person(51, 50, 0.9, 5.0, view)]
    elsewhere = [person(190, 50, 0.7, 5.0, view), person(20, 50, 0.6, 5.0, view)]
    candidates = [Candidates(_both(*pair), view) for pair in zip(found, elsewhere, strict=True)]
    result = candidates_of_tiles(candidates, parts, photo)
    assert result.people.scores.tolist() == pytest.approx([0.9])
    assert result.people.query_indices.tolist() == [2]
    assert result.attention is None


def _both(first: People, second: People) -> People:
    values = {
        name: np.concatenate([value, getattr(second, name)]) for name, value in vars(first).items()
    }
    return replace(People(**values), query_indices=np.arange(2))


def test_everyone_in_a_panorama_is_found_in_the_right_size():
    """Built-in weights on one photo side by side several times."""
    predictor = AiOSPredictor.from_pretrained("builtin", device="cpu")
    photo = read_photo(EXAMPLES / "scene_two.jpg")[::2, ::2]
    height, width = photo.shape[:2]
    alone = predictor.predict(photo)
    count = 4 * height // width + 1
    found = predictor.predict(np.tile(photo, (1, count, 1)))
    assert len(found) == count * len(alone)
    copies = np.arange(count)[:, None, None] * [width, 0, width, 0]
    expected = (alone.people.boxes_xyxy_px + copies).reshape(-1, 4)
    # The tiles scale the photo otherwise than the network does alone.
    for box in found.people.boxes_xyxy_px:
        assert np.abs(expected - box).max(1).min() < 0.15 * height
    size = np.ptp(found.vertices[..., 1], 1)
    assert size.max() < 1.3 * np.ptp(alone.vertices[..., 1], 1).max()
    assert size.min() > 0.7 * np.ptp(alone.vertices[..., 1], 1).min()
