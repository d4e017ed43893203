"""Export settings of a predictor."""

from __future__ import annotations

from dataclasses import dataclass

from ..export.bone_names import BoneStyle
from ..export.settings import ExportSettings, Extra
from ..predictor import AiOSPredictor


@dataclass(frozen=True)
class ExportChoice:
    """Export options that do not depend on the predictor; see `ExportSettings`."""

    ground: bool = False
    backdrop: bool = False
    bones: BoneStyle = "smplx"
    extras: frozenset[Extra] = frozenset()

    def settings(self, predictor: AiOSPredictor) -> ExportSettings:
        """Settings with the body and the weights of a predictor."""
        from_official = predictor.weights.body_convention == "smplx"
        return ExportSettings(predictor.body, from_official, **vars(self))


DEFAULT_EXPORT = ExportChoice()
"""No options."""
