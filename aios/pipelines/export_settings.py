"""Export settings of a predictor."""

from __future__ import annotations

from ..export.settings import ExportSettings
from ..predictor import AiOSPredictor


def export_settings(
    predictor: AiOSPredictor, ground: bool = False, backdrop: bool = False
) -> ExportSettings:
    """Settings for the body and the weights of a predictor; see `ExportSettings`."""
    from_official = predictor.weights.body_convention == "smplx"
    return ExportSettings(predictor.body, from_official, ground, backdrop)
