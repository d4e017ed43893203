"""Track numbers stay with people through jitter, crossings and short occlusions."""

import numpy as np
import pytest

from aios.tracking.tracker import Tracker, clothes_colors, person_sizes
from tests.helpers.people_makers import make_person, together

FPS = 15.0


def track(frames, tracker=None, colors=None):
    tracker = tracker or Tracker(0.5)
    return [
        tracker.update(people, index / FPS, None if colors is None else colors[index]).tolist()
        for index, people in enumerate(frames)
    ]


def test_numbers_do_not_depend_on_the_order_of_people():
    random = np.random.default_rng(1)
    frames = []
    for _ in range(20):
        people = [make_person((100 + 120 * i, 150)) for i in range(3)]
        order = random.permutation(3)
        frames.append((order, together(*(people[i] for i in order))))
    numbers = track([people for _, people in frames])
    names = {}
    for (order, _), found in zip(frames, numbers, strict=True):
        for who, number in zip(order.tolist(), found, strict=True):
            assert names.setdefault(who, number) == number
    assert sorted(names.values()) == [1, 2, 3]


def test_numbers_survive_a_crossing_with_occlusion():
    """Two people walk towards each other; the farther one is hidden for 0.6 s as they pass."""
    frames, truth = [], []
    for index in range(60):
        left = make_person((100 + 8 * index, 200), 60, 8.0)
        right = make_person((572 - 8 * index, 200), 50, 10.0)
        hidden = abs(index - 29.5) < 4.6
        frames.append(together(left) if hidden else together(right, left))
        truth.append(["left"] if hidden else ["right", "left"])
    names = {}
    for who, found in zip(truth, track(frames), strict=True):
        for name, number in zip(who, found, strict=True):
            assert names.setdefault(name, number) == number
    assert sorted(names.values()) == [1, 2]


def test_colors_resolve_an_ambiguous_position():
    """Both people stop while the farther one is hidden, and reappear with swapped positions."""
    red, blue = np.full(6, 0.2), np.full(6, 0.8)
    meeting = [together(make_person((200, 200)), make_person((260, 200)))] * 5
    hidden = [together(make_person((230, 200)))] * 8
    swapped = [together(make_person((260, 200)), make_person((200, 200)))] * 5
    colors = [np.stack([red, blue])] * 5 + [red[None]] * 8 + [np.stack([red, blue])] * 5
    numbers = track(meeting + hidden + swapped, colors=colors)
    assert numbers[0] == [1, 2]
    assert all(found == [1] for found in numbers[5:13])
    assert all(found == [1, 2] for found in numbers[13:])


def test_short_gap_keeps_the_number_and_long_gap_does_not():
    one, empty = together(make_person()), together()
    assert track([one] + [empty] * 10 + [one])[-1] == [1]
    assert track([one] + [empty] * 30 + [one])[-1] == [2]


def test_weak_detections_continue_tracks_and_never_start_them():
    weak, strong = together(make_person(score=0.3)), together(make_person(score=0.8))
    tracker = Tracker(0.5)
    assert tracker.lowest_score == 0.25
    assert track([weak, strong, weak, weak], tracker) == [[0], [1], [1], [1]]
    elsewhere = together(make_person((400, 100), score=0.3))
    assert tracker.update(elsewhere, 0.3).tolist() == [0]


def test_distant_detection_starts_a_new_track():
    frames = [together(make_person()), together(make_person((500, 300)))]
    assert track(frames) == [[1], [2]]


def test_boxes_are_tracked_without_keypoints():
    nothing = np.full((17, 2), np.nan)
    frames = [
        together(
            make_person((100 + 5 * i, 100), keypoints_2d_px=nothing),
            make_person((300 - 5 * i, 100), keypoints_2d_px=nothing),
        )
        for i in range(10)
    ]
    assert track(frames) == [[1, 2]] * 10


def test_empty_frames():
    assert track([together(), together()]) == [[], []]
    assert person_sizes(together()).shape == (0,)


def test_clothes_colors_of_visible_parts():
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


@pytest.mark.parametrize("gap_s", [1.2, 2.0, 8.0, 3600.0])
def test_patience_is_in_frames_below_one_frame_a_second(gap_s):
    """Slide shows, time lapse, slow webcams and screen recordings with pauses."""
    two, empty = together(make_person(), make_person((400, 100))), together()
    tracker = Tracker(0.5)

    def numbers(frames):
        return [tracker.update(people, next(times)).tolist() for people in frames]

    times = iter(np.arange(20) * gap_s)
    assert numbers([two] * 4) == [[1, 2]] * 4
    assert numbers([empty, empty, two])[-1] == [1, 2]
    assert numbers([empty] * 3 + [two])[-1] == [3, 4]


def test_distance_to_a_track_does_not_grow_without_limit():
    near, far = make_person((100, 100)), make_person((1900, 100))
    tracker = Tracker(0.5)
    assert tracker.update(together(near), 0.0).tolist() == [1]
    assert tracker.update(together(far), 60.0).tolist() == [2]
