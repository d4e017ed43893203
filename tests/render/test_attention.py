"""Attention figures: positions, strength, and input outside the image."""

import numpy as np
import pytest

from aios.render.attention import (
    REFERENCE,
    SAMPLE,
    draw_heatmap,
    draw_people_matrix,
    draw_sampling_points,
    draw_token_matrix,
    image_grid,
)
from aios.render.colors import person_colors

PHOTO = np.full((200, 300, 3), 128, np.uint8)


def near(picture, color, tolerance=40):
    return (np.abs(picture.astype(int) - color) <= tolerance).all(-1)


def test_reference_is_green_and_sampling_points_are_red():
    box = np.array([0.5, 0.5, 0.4, 0.6])
    locations, weights = np.array([[0.1, 0.1], [0.9, 0.9]]), np.array([0.9, 0.1])
    picture = draw_sampling_points(PHOTO, box, locations, weights)
    assert near(picture[100, 150], REFERENCE)
    assert (
        near(picture[100, 88:93], REFERENCE, 70).any()
        and near(picture[38:43, 110], REFERENCE, 70).any()
    )
    red = near(picture, SAMPLE, 90)
    assert red[20, 30] and not red[:, 60:240].any()
    strong, weak = picture[20, 30].astype(int), picture[180, 270].astype(int)
    assert strong[0] - strong[1] > weak[0] - weak[1] > 20
    assert (PHOTO == 128).all()


def test_disc_size_increases_with_attention():
    box = np.array([0.5, 0.02, 0.01, 0.01])
    amounts = np.linspace(0.05, 1.0, 5)
    sizes = []
    for index in range(5):
        locations = np.stack([np.linspace(0.1, 0.9, 5), np.full(5, 0.5)], -1)
        picture = draw_sampling_points(np.zeros((400, 600, 3), np.uint8), box, locations, amounts)
        x = round(locations[index, 0] * 600)
        sizes.append((picture[180:220, x - 20 : x + 20, 0] > 40).sum())
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]


@pytest.mark.parametrize("coordinate", [-5.0, 1.2, 60000.0])
def test_points_outside_the_image_are_invisible(coordinate):
    box = np.array([coordinate, coordinate, 0.2, 9.0])
    locations = np.array([[coordinate, 0.5], [0.5, coordinate]])
    picture = draw_sampling_points(PHOTO, box, locations, np.array([0.5, 0.5]))
    assert not near(picture, SAMPLE, 60).any()
    image = draw_sampling_points(PHOTO, box, np.zeros((0, 2)), np.zeros(0))
    heat = draw_heatmap(PHOTO, locations, np.array([0.5, 0.5]))
    np.testing.assert_array_equal(heat, draw_heatmap(PHOTO, np.zeros((0, 2)), np.zeros(0)))
    assert image.shape == PHOTO.shape


def test_heat_map_is_bright_at_attended_locations():
    locations = np.concatenate([np.full((9, 2), 0.25), [[0.75, 0.75]]])
    picture = draw_heatmap(PHOTO, locations, np.ones(10))
    warmth = picture[..., 0].astype(int) - picture[..., 1]
    assert warmth[44:52, 72:80].max() > 100 and warmth[50, 225] == 0
    assert 20 < warmth[150:156, 225:231].max() < 100
    assert picture[48, 75].sum() > picture[150, 225].sum()
    np.testing.assert_array_equal(picture, draw_heatmap(PHOTO, locations, np.full(10, 7.0)))


def test_people_matrix_has_a_block_per_pair():
    own = np.zeros((2, 5, 5), np.float16)
    others = np.zeros((2, 2, 2, 2), np.float16)
    others[1, 0, 0, 1] = 0.5
    dark = draw_people_matrix(own, np.zeros_like(others), (0, 3), ["1", "2"], person_colors(2))
    lit = draw_people_matrix(own, others, (0, 3), ["1", "2"], person_colors(2))
    assert dark.shape == lit.shape
    changed = (dark != lit).any(-1)
    rows, columns = np.nonzero(changed[:, : dark.shape[1] - 74])
    assert len(rows)
    # Third of four rows and second column: below and left of the centre.
    assert rows.min() > dark.shape[0] / 2 and columns.max() < dark.shape[1] / 2


def test_attention_within_a_person_is_on_the_diagonal():
    own = np.zeros((2, 5, 5), np.float16)
    others = np.zeros((2, 2, 2, 2), np.float16)
    dark = draw_people_matrix(own, others, (0, 3), ["1", "2"], person_colors(2))
    own[0, 3, 0] = 0.3
    lit = draw_people_matrix(own, others, (0, 3), ["1", "2"], person_colors(2))
    rows, columns = np.nonzero((dark != lit).any(-1)[:, : dark.shape[1] - 74])
    assert columns.max() < dark.shape[1] / 2 and rows.max() < 0.66 * dark.shape[0]


@pytest.mark.parametrize("count", [1, 5, 30])
def test_matrices_of_any_size_fit_900_pixels(count):
    own, others = np.ones((count, 39, 39)) / 39, np.zeros((count, 4, count, 4))
    names = [str(index + 1) for index in range(count)]
    picture = draw_people_matrix(own, others, (0, 18, 25, 32), names, person_colors(count))
    assert max(picture.shape) < 900
    assert max(draw_token_matrix(own[0], tuple(f"token {t}" for t in range(39))).shape) < 900


def test_image_grid_contains_all_images():
    parts = [np.full((40, 60 + 10 * k, 3), 50 * (k + 1), np.uint8) for k in range(3)]
    sheet = image_grid([(f"picture {k}", part) for k, part in enumerate(parts)])
    for k, part in enumerate(parts):
        assert (sheet == 50 * (k + 1)).all(-1).sum() >= part.shape[0] * part.shape[1]
