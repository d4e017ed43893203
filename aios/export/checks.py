"""Check of predictions before they are written."""

from __future__ import annotations

import numpy as np

from ..prediction import Prediction


class ExportError(ValueError):
    """A prediction that cannot be written; the message is one sentence for a person."""


def check_finite(prediction: Prediction) -> None:
    """Raise ExportError if a value of the prediction is not finite."""
    people = vars(prediction.people)
    arrays = {**people, "vertices": prediction.vertices, "joints_3d": prediction.joints_3d}
    arrays["camera"] = prediction.camera.intrinsics
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ExportError(f"{name} has a value that is not finite, so nothing was written")
