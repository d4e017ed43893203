"""A still camera is told from a moving one by the background."""

import cv2
import numpy as np
import pytest

from aios.tracking.camera_motion import CameraMotion

SIZE = (360, 640)
NOBODY = np.zeros((0, 4))


def wall(seed=0):
    """A textured background, larger than the picture."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (60, 100, 3)).astype(np.uint8)
    return cv2.resize(small, (1000, 600), interpolation=cv2.INTER_CUBIC)


def seen(frames, boxes=None):
    motion = CameraMotion()
    for index, frame in enumerate(frames):
        motion.add(frame, NOBODY if boxes is None else boxes[index])
    return motion.is_still


def moved(x=0.0, y=0.0, zoom=1.0, noise=0.0, seed=0):
    matrix = np.float64([[zoom, 0, -100 - x], [0, zoom, -100 - y]])
    frame = cv2.warpAffine(wall(), matrix, SIZE[::-1])
    random = np.random.default_rng(seed)
    return np.clip(frame + random.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)


def test_still_camera_with_noise_and_light_trembling():
    random = np.random.default_rng(1)
    frames = [moved(*random.normal(0, 0.5, 2), noise=6, seed=index) for index in range(20)]
    assert seen(frames) is True


@pytest.mark.parametrize(
    "motion",
    [
        lambda index: {"x": 4.0 * index},
        lambda index: {"x": 0.5 * index},
        lambda index: {"zoom": 1 + 0.005 * index},
        lambda index: {"x": 12 * np.sin(index), "y": 8 * np.cos(1.7 * index)},
    ],
    ids=["pan", "slow pan", "zoom", "shaking"],
)
def test_moving_camera(motion):
    assert seen([moved(**motion(index)) for index in range(30)]) is False


def with_people(frame, boxes):
    frame = frame.copy()
    for number, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
        texture = cv2.resize(wall(7 + number), (x1 - x0, y1 - y0))
        frame[y0:y1, x0:x1] = texture
    return frame


def test_people_who_move_are_no_background():
    """They cover more than half of the picture."""
    boxes = [
        np.array([[20 + 3 * i, 10, 260 + 3 * i, 350], [300 + 2 * i, 20, 520 + 2 * i, 350]], float)
        for i in range(20)
    ]
    still = [with_people(moved(), boxes[index]) for index in range(20)]
    panned = [with_people(moved(x=2 * index), boxes[index]) for index in range(20)]
    assert seen(still, boxes) is True
    assert seen(panned, boxes) is False


def test_cut_to_another_scene_is_no_still_camera():
    other = wall(3)[:360, :640]
    assert seen([moved()] * 5 + [other] * 15) is not True


def test_plain_background_is_unknown():
    plain = np.full((*SIZE, 3), 90, np.uint8)
    assert seen([plain] * 10) is None
    assert seen([moved()]) is None
    assert seen([]) is None


def test_tiny_frames_are_accepted():
    assert seen([np.zeros((2, 2, 3), np.uint8)] * 3) is None
