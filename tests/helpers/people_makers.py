"""Synthetic people for tests of tracking and exporters."""

import numpy as np

from aios.people import FIELD_SHAPES, People


def make_person(center=(100.0, 100.0), size=60.0, depth=8.0, score=0.9, **fields):
    """One person at `center` (pixels), `size` pixels wide and twice as high."""
    x, y = center
    box = np.array([x - size / 2, y - size, x + size / 2, y + size], np.float32)
    grid = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 4), np.linspace(0, 1, 5)), -1)
    keypoints = box[:2] + grid.reshape(-1, 2)[:17] * (box[2:] - box[:2])
    values = {
        name: np.zeros((1, *shape), np.int64 if name == "query_indices" else np.float32)
        for name, shape in FIELD_SHAPES.items()
    }
    values["scores"] = np.array([score], np.float32)
    values["keypoint_scores"] = np.ones((1, 17), np.float32)
    values["boxes_xyxy_px"] = box[None]
    values["keypoints_2d_px"] = keypoints[None].astype(np.float32)
    values["transl"] = np.array([[0.0, 0.0, depth]], np.float32)
    for name, value in fields.items():
        values[name] = np.asarray(value, np.float32).reshape(1, *FIELD_SHAPES[name])
    return People(**values)


def together(*people):
    """Concatenate people of one frame."""
    if not people:
        return People.empty()
    return People(
        **{name: np.concatenate([getattr(p, name) for p in people]) for name in FIELD_SHAPES}
    )
