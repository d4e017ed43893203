"""Synthetic predictions of a photo, for tests of exporters."""

import numpy as np
import torch

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.people import FIELD_SHAPES, People
from aios.prediction import Prediction
from aios.resources import STANDIN_BODY

CAMERA = Camera(1234.5, (160.25, 120.0), 320, 240)


def synthetic_prediction(count, camera=CAMERA):
    """A synthetic prediction of `count` people."""
    random = np.random.default_rng(count)
    fields = {
        name: random.normal(0, 0.2, (count, *shape)).astype(np.float32)
        for name, shape in FIELD_SHAPES.items()
    }
    fields["query_indices"] = np.arange(count) * 7
    fields["keypoint_scores"] = np.ones((count, 17), np.float32)
    fields["scores"] = np.sort(random.uniform(0.3, 1, count).astype(np.float32))[::-1]
    for name in FIELD_SHAPES:
        if name.endswith("_px"):
            fields[name] = fields[name] * 500 + 300
    fields["global_orient"][:, 0] += np.pi
    fields["transl"] += (0, 0, 8)
    people = People(**fields)
    body = BodyModel.load(STANDIN_BODY)
    posed = body({n: torch.from_numpy(v) for n, v in people.smplx_parameters().items()})
    return Prediction(
        people,
        camera,
        posed.vertices.numpy(),
        posed.joints_3d.numpy(),
        body.faces,
        "test weights",
        body.name,
    )
