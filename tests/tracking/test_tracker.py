"""Numbers stay with people: through trembling, crossings and short occlusions."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from aios.tracking.tracker import Tracker, assign, clothes_colors, person_sizes
from tests.helpers.people_makers import make_person, together

FPS = 15.0


def follow(frames, tracker=None, looks=None):
    tracker = tracker or Tracker(0.5)
    return [
        tracker.update(people, index / FPS, None if looks is None else looks[index]).tolist()
        for index, people in enumerate(frames)
    ]


def test_assignment_costs_least():
    random = np.random.default_rng(0)
    for round_ in range(200):
        rows, columns = random.integers(0, 8, 2)
        costs = (
            random.random((rows, columns))
            if round_ % 2
            else random.integers(0, 3, (rows, columns)).astype(float)
        )
        costs[random.random((rows, columns)) < 0.2] = 1e6
        pairs = assign(costs)
        assert len(pairs) == min(rows, columns)
        assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
        reference = costs[linear_sum_assignment(costs)].sum()
        assert sum(costs[pair] for pair in pairs) == pytest.approx(reference)


def test_numbers_do_not_follow_the_order_of_scores():
    random = np.random.default_rng(1)
    frames = []
    for _ in range(20):
        people = [make_person((100 + 120 * i, 150)) for i in range(3)]
        order = random.permutation(3)
        frames.append((order, together(*(people[i] for i in order))))
    numbers = follow([people for _, people in frames])
    names = {}
    for (order, _), found in zip(frames, numbers, strict=True):
        for who, number in zip(order.tolist(), found, strict=True):
            assert names.setdefault(who, number) == number
    assert sorted(names.values()) == [1, 2, 3]


def test_crossing_with_occlusion():
    """Two walk towards each other; the farther one is hidden for 0.6 s while they pass."""
    frames, truth = [], []
    for index in range(60):
        left = make_person((100 + 8 * index, 200), 60, 8.0)
        right = make_person((572 - 8 * index, 200), 50, 10.0)
        hidden = abs(index - 29.5) < 4.6
        frames.append(together(left) if hidden else together(right, left))
        truth.append(["left"] if hidden else ["right", "left"])
    names = {}
    for who, found in zip(truth, follow(frames), strict=True):
        for name, number in zip(who, found, strict=True):
            assert names.setdefault(name, number) == number
    assert sorted(names.values()) == [1, 2]


def test_clothes_decide_where_places_do_not():
    """Both stop while the one behind is hidden, and come out on the other sides."""
    red, blue = np.full(6, 0.2), np.full(6, 0.8)
    meeting = [together(make_person((200, 200)), make_person((260, 200)))] * 5
    hidden = [together(make_person((230, 200)))] * 8
    swapped = [together(make_person((260, 200)), make_person((200, 200)))] * 5
    looks = [np.stack([red, blue])] * 5 + [red[None]] * 8 + [np.stack([red, blue])] * 5
    numbers = follow(meeting + hidden + swapped, looks=looks)
    assert numbers[0] == [1, 2]
    assert all(found == [1] for found in numbers[5:13])
    assert all(found == [1, 2] for found in numbers[13:])


def test_a_short_absence_keeps_the_number_a_long_one_does_not():
    somebody, nobody = together(make_person()), together()
    assert follow([somebody] + [nobody] * 10 + [somebody])[-1] == [1]
    assert follow([somebody] + [nobody] * 30 + [somebody])[-1] == [2]


def test_weak_people_continue_and_never_start():
    weak, strong = together(make_person(score=0.3)), together(make_person(score=0.8))
    tracker = Tracker(0.5)
    assert tracker.lowest_score == 0.25
    assert follow([weak, strong, weak, weak], tracker) == [[0], [1], [1], [1]]
    elsewhere = together(make_person((400, 100), score=0.3))
    assert tracker.update(elsewhere, 0.3).tolist() == [0]


def test_a_person_elsewhere_is_somebody_else():
    frames = [together(make_person()), together(make_person((500, 300)))]
    assert follow(frames) == [[1], [2]]


def test_networks_without_keypoints_are_followed_by_boxes():
    nothing = np.full((17, 2), np.nan)
    frames = [
        together(
            make_person((100 + 5 * i, 100), keypoints_2d_px=nothing),
            make_person((300 - 5 * i, 100), keypoints_2d_px=nothing),
        )
        for i in range(10)
    ]
    assert follow(frames) == [[1, 2]] * 10


def test_nobody_at_all():
    assert follow([together(), together()]) == [[], []]
    assert person_sizes(together()).shape == (0,)


def test_clothes_colors():
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[:, :150] = (255, 0, 0)
    frame[:, 150:] = (0, 0, 255)
    people = together(
        make_person((70, 100), 40),
        make_person((220, 100), 40),
        make_person((-500, 100), 40),
        make_person((70, 100), 40, keypoints_2d_px=np.full((17, 2), np.nan)),
    )
    colors = clothes_colors(frame, people)
    assert np.abs(colors[0] - colors[1]).mean() > 0.2
    np.testing.assert_allclose(colors[0, :3], colors[0, 3:])
    assert np.isnan(colors[2:]).all()
    np.testing.assert_allclose(clothes_colors(frame, people.select(slice(0, 1)))[0], colors[0])
