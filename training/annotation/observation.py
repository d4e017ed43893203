"""Predictions of the teachers for each person of a photo.

The detector runs on two sizes of the photo, and overlapping detections are merged. The other
networks run on crops of each person: body in 2D, body in 2D and 3D (twice, the second time on a
crop from the first result), both hands, and the face.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from aios.geometry.boxes import nms
from aios.geometry.camera import Camera

from .crops import Photo, Region
from .teachers import Teachers

NUM_BODY_3D, NUM_HAND, NUM_FACE = 39, 21, 468
COCO_OF_BODY_3D = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""For each of the 17 COCO keypoints the point of the 3D body network."""
_WRIST, _INDEX, _PINKY = (15, 16), (19, 20), (17, 18)
_DETECTOR_SIDES = (256, 512)
_MAX_OVERLAP = 0.5
_CERTAIN = 0.15
_CROP_MARGIN = 1.25
_PRESENT = 0.3


@dataclass(frozen=True)
class Observation:
    """P people of one photo; float32 arrays, points in pixels of the photo.

    Attributes:
        scores: (P,) of the detector, 0-1.
        boxes_xyxy_px: (P, 4) of the detector.
        detector: (P, 17, 3) COCO keypoints x, y, score by the detector.
        body: (P, 17, 3) the same by the network for one person.
        body_3d: (P, 39, 4) x, y, visibility, presence.
        body_metres: (P, 39, 3) metres about the hips, x right, y down, z away from the camera.
        body_present: (P,) 0-1, presence of a person by the 3D network.
        hands: (P, 2, 21, 2) left, right.
        hands_metres: (P, 2, 21, 3) metres about the wrist, axes as `body_metres`.
        hands_present: (P, 2) 0-1.
        face: (P, 468, 3) x, y, and depth in pixels.
        face_present: (P,) 0-1.
    """

    scores: np.ndarray
    boxes_xyxy_px: np.ndarray
    detector: np.ndarray
    body: np.ndarray
    body_3d: np.ndarray
    body_metres: np.ndarray
    body_present: np.ndarray
    hands: np.ndarray
    hands_metres: np.ndarray
    hands_present: np.ndarray
    face: np.ndarray
    face_present: np.ndarray

    def __len__(self) -> int:
        """Number of people."""
        return len(self.scores)

    def select(self, index: np.ndarray) -> Observation:
        """The people at `index`."""
        return Observation(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


_SHAPES: dict[str, tuple[int, ...]] = {
    "scores": (),
    "boxes_xyxy_px": (4,),
    "detector": (17, 3),
    "body": (17, 3),
    "body_3d": (NUM_BODY_3D, 4),
    "body_metres": (NUM_BODY_3D, 3),
    "body_present": (),
    "hands": (2, NUM_HAND, 2),
    "hands_metres": (2, NUM_HAND, 3),
    "hands_present": (2,),
    "face": (NUM_FACE, 3),
    "face_present": (),
}


def concatenate(observations: list[Observation]) -> Observation:
    """All people of several photos."""
    return Observation(
        **{
            name: np.concatenate(
                [np.zeros((0, *shape), np.float32)] + [getattr(o, name) for o in observations]
            )
            for name, shape in _SHAPES.items()
        }
    )


def observe(image: np.ndarray, teachers: Teachers, min_score: float = 0.2) -> Observation:
    """Run the teachers on all people of a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        teachers: the networks.
        min_score: minimum score of the detector, 0-1.
    """
    photo = Photo(image)
    people = [_look_at(photo, teachers, *found) for found in _detect(photo, teachers, min_score)]
    return concatenate(people)


def camera_of(width: int, height: int) -> Camera:
    """Camera assumed for a photo: the usual field of view of training, without lens data."""
    return Camera(min(width, height) * 3.125, (width / 2, height / 2), width, height)


Detection = tuple[float, np.ndarray, np.ndarray]


def _detect(photo: Photo, teachers: Teachers, min_score: float) -> list[Detection]:
    """Score, box (4,) and keypoints (17, 3) of each person, best first."""
    found: list[Detection] = []
    for side in _DETECTOR_SIDES:
        found += _detect_at(photo, teachers, side)
    found = sorted((each for each in found if each[0] >= min_score), key=lambda each: -each[0])
    boxes = np.array([box for _, box, _ in found]).reshape(-1, 4)
    return [found[index] for index in nms(boxes, _MAX_OVERLAP)]


def _detect_at(photo: Photo, teachers: Teachers, side: int) -> list[Detection]:
    scale = side / max(photo.width, photo.height)
    width, height = (max(round(s * scale), 1) for s in (photo.width, photo.height))
    # The detector needs multiples of 32; padding on the right and below is black.
    padded_wh = np.array([-(-width // 32) * 32, -(-height // 32) * 32])
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((1, padded_wh[1], padded_wh[0], 3), np.uint8)
    canvas[0, :height, :width] = cv2.resize(photo.image, (width, height), interpolation=shrink)
    (rows,) = teachers.people(canvas).values()
    found = []
    to_photo = padded_wh / np.array([width, height]) * np.array([photo.width, photo.height])
    for row in rows[0]:
        keypoints = row[:51].reshape(17, 3)[:, [1, 0, 2]]
        keypoints[:, :2] *= to_photo
        box = row[[52, 51, 54, 53]] * np.tile(to_photo, 2)
        found.append((float(row[55]), box.astype(np.float32), keypoints.astype(np.float32)))
    return found


def _look_at(
    photo: Photo, teachers: Teachers, score: float, box: np.ndarray, keypoints: np.ndarray
) -> Observation:
    body = _look_at_body(photo, teachers, box)
    points, metres, present = _look_in_3d(photo, teachers, box, keypoints)
    hands = [_look_at_hand(photo, teachers, points, side) for side in (0, 1)]
    face, face_present = _look_at_face(photo, teachers, points)
    values = {
        "scores": score,
        "boxes_xyxy_px": box,
        "detector": keypoints,
        "body": body,
        "body_3d": points,
        "body_metres": metres,
        "body_present": present,
        "hands": [hand[0] for hand in hands],
        "hands_metres": [hand[1] for hand in hands],
        "hands_present": [hand[2] for hand in hands],
        "face": face,
        "face_present": face_present,
    }
    return Observation(**{n: np.asarray(v, np.float32)[None] for n, v in values.items()})


def _look_at_body(photo: Photo, teachers: Teachers, box: np.ndarray) -> np.ndarray:
    """(17, 3) COCO keypoints in a crop around the box."""
    side = max(float((box[2:] - box[:2]).max()), 8.0) * _CROP_MARGIN
    region = Region((box[:2] + box[2:]) / 2, side, 0.0)
    (rows,) = teachers.body(photo.crop(region, 256)[None]).values()
    keypoints = rows[0, 0][:, [1, 0, 2]]
    keypoints[:, :2] = region.to_photo(keypoints[:, :2] * 256, 256)
    return keypoints


def _look_in_3d(
    photo: Photo, teachers: Teachers, box: np.ndarray, keypoints: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Points (39, 4), metres (39, 3) and presence; the second pass uses the first one's crop."""
    region = _body_region(keypoints, box)
    points, metres, present = _body_pass(photo, teachers, region)
    own = points[list(COCO_OF_BODY_3D)]
    certain = np.where(own[:, 2] > _PRESENT, 1.0, 0.0)
    region = _body_region(np.column_stack([own[:, :2], certain]), box)
    return _body_pass(photo, teachers, region)


def _body_region(keypoints: np.ndarray, box: np.ndarray) -> Region:
    """The square about the hips that holds all keypoints, hips to shoulders pointing up."""
    points, certain = keypoints[:, :2], keypoints[:, 2] > _CERTAIN
    hips, shoulders = points[11:13].mean(0), points[5:7].mean(0)
    center = (box[:2] + box[2:]) / 2
    if certain[11:13].all():
        center = hips
    elif certain[5:7].all():
        center = shoulders
    up = shoulders - hips
    upright = certain[5:7].all() and certain[11:13].any() and np.hypot(*up) > 1e-3
    angle = float(np.arctan2(up[0], -up[1])) if upright else 0.0
    reach = points[certain] if certain.sum() > 3 else box.reshape(2, 2)
    radius = max(float(np.linalg.norm(reach - center, axis=1).max()), 4.0)
    return Region(center, 2 * radius * _CROP_MARGIN, angle)


def _body_pass(
    photo: Photo, teachers: Teachers, region: Region
) -> tuple[np.ndarray, np.ndarray, float]:
    out = teachers.body_3d(photo.crop(region, 256)[None].astype(np.float32) / 255)
    raw = out["ld_3d"].reshape(NUM_BODY_3D, 5)
    points = np.empty((NUM_BODY_3D, 4), np.float32)
    points[:, :2] = region.to_photo(raw[:, :2], 256)
    points[:, 2:] = 1 / (1 + np.exp(-raw[:, 3:]))
    metres = out["world_3d"].reshape(NUM_BODY_3D, 3).copy()
    metres[:, :2] = metres[:, :2] @ region.rotation.T
    return points, metres, float(out["output_poseflag"].ravel()[0])


def _look_at_hand(
    photo: Photo, teachers: Teachers, body: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Points (21, 2), metres (21, 3) and presence of the left (0) or right (1) hand."""
    wrist, knuckles = body[_WRIST[side], :2], body[[_INDEX[side], _PINKY[side]], :2].mean(0)
    reach = knuckles - wrist
    length = max(float(np.hypot(*reach)), 2.0)
    region = Region(wrist + 1.1 * reach, 4.2 * length, float(np.arctan2(reach[0], -reach[1])))
    points, metres, present = _hand_pass(photo, teachers, region)
    if present > _PRESENT:
        reach = points[9] - points[0]
        low, high = points.min(0), points.max(0)
        side_px = 1.9 * max(float((high - low).max()), 2.0)
        angle = float(np.arctan2(reach[0], -reach[1]))
        points, metres, present = _hand_pass(
            photo, teachers, Region((low + high) / 2, side_px, angle)
        )
    return points, metres, present


def _hand_pass(
    photo: Photo, teachers: Teachers, region: Region
) -> tuple[np.ndarray, np.ndarray, float]:
    out = teachers.hand(photo.crop(region, 224)[None].astype(np.float32) / 255)
    points = region.to_photo(out["Identity:0"].reshape(NUM_HAND, 3)[:, :2], 224)
    metres = out["Identity_3:0"].reshape(NUM_HAND, 3).copy()
    metres[:, :2] = metres[:, :2] @ region.rotation.T
    return points, metres - metres[0], float(out["Identity_1:0"].ravel()[0])


def _look_at_face(photo: Photo, teachers: Teachers, body: np.ndarray) -> tuple[np.ndarray, float]:
    """(468, 3) and presence; the first eleven points of the 3D body network are on the face."""
    points = body[:11, :2]
    eyes = body[5, :2] - body[2, :2]
    span = max(float(np.linalg.norm(points - points.mean(0), axis=1).max()), 2.0)
    region = Region(points.mean(0), 4.0 * span, float(np.arctan2(eyes[1], eyes[0])))
    face, present = _face_pass(photo, teachers, region)
    if present > _PRESENT:
        low, high = face[:, :2].min(0), face[:, :2].max(0)
        eyes = face[263, :2] - face[33, :2]
        region = Region(
            (low + high) / 2,
            1.5 * max(float((high - low).max()), 2.0),
            float(np.arctan2(eyes[1], eyes[0])),
        )
        face, present = _face_pass(photo, teachers, region)
    return face, present


def _face_pass(photo: Photo, teachers: Teachers, region: Region) -> tuple[np.ndarray, float]:
    out = teachers.face(photo.crop(region, 192)[None].astype(np.float32) / 255)
    raw = out["output_mesh"].reshape(NUM_FACE, 3)
    face = np.column_stack([region.to_photo(raw[:, :2], 192), raw[:, 2] * region.side / 192])
    return face.astype(np.float32), float(out["output_faceflag"].ravel()[0])
