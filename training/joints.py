"""Groups of the 144 SMPL-X joints that are scored, and left-right pairs."""

from __future__ import annotations

BODY_JOINTS = (
    *(0, 1, 2, 4, 5, 7, 8, 12, 16, 17, 18, 19, 20, 21),
    *(60, 61, 62, 63, 64, 65, 59, 58, 57, 56, 55),
)
"""25 joints of the body: pelvis, limbs, neck, feet, ears, eyes, nose."""
LEFT_HAND_JOINTS = (37, 38, 39, 66, *range(25, 28), 67, *range(28, 31), 68)
LEFT_HAND_JOINTS += (*range(34, 37), 69, *range(31, 34), 70)
"""20 joints: thumb, index, middle, ring and pinky, each from root to tip."""
RIGHT_HAND_JOINTS = (52, 53, 54, 71, *range(40, 43), 72, *range(43, 46), 73)
RIGHT_HAND_JOINTS += (*range(49, 52), 74, *range(46, 49), 75)
"""20 joints in the order of the left hand."""
FACE_JOINTS = (22, 15, 57, 56, *range(76, 144))
"""72 points: jaw, head, eyes, landmarks, contour."""

SCORED_JOINTS = {
    "body": BODY_JOINTS,
    "left_hand": LEFT_HAND_JOINTS,
    "right_hand": RIGHT_HAND_JOINTS,
    "face": FACE_JOINTS,
}
"""By part; the body includes ears, eyes and nose, and the face includes the eyes too."""
PART_ROOTS = {"body": 0, "left_hand": 20, "right_hand": 21, "face": 12}
"""Pelvis, wrists and neck: origins of the `*_joints_3d_local` losses."""

_MIRRORED_PAIRS = (
    # Skeleton: legs, shoulders and arms, eyeballs; then the fingers.
    *((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21), (23, 24)),
    *zip(range(25, 40), range(40, 55), strict=True),
    # Eyes, ears, feet, finger tips.
    *((56, 57), (58, 59), (60, 63), (61, 64), (62, 65)),
    *zip(range(66, 71), range(71, 76), strict=True),
    # Landmarks: brows, nostrils, eyes, outer and inner mouth, contour.
    *((k, 161 - k) for k in range(76, 81)),
    *((90, 94), (91, 93)),
    *((95, 104), (96, 103), (97, 102), (98, 101), (99, 106), (100, 105)),
    *((107, 113), (108, 112), (109, 111), (114, 118), (115, 117)),
    *((119, 123), (120, 122), (124, 126)),
    *((k, 270 - k) for k in range(127, 135)),
)


def _swap(count: int, pairs: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    order = list(range(count))
    for first, second in pairs:
        order[first], order[second] = second, first
    return tuple(order)


JOINTS_MIRROR = _swap(144, _MIRRORED_PAIRS)
"""Joint k of a mirrored person is joint `JOINTS_MIRROR[k]` of the original person."""
KEYPOINTS_MIRROR = _swap(17, tuple((k, k + 1) for k in range(1, 17, 2)))
"""The same for the 17 body keypoints."""
FACE_MIRROR = _swap(6, ((3, 5),))
"""The same for the 6 keypoints of the face."""
BODY_POSE_MIRROR = _swap(
    21,
    tuple(
        (a - 1, b - 1)
        for a, b in ((1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21))
    ),
)
"""The same for the 21 joints of `body_pose`."""
