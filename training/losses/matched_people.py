"""Predictions of one decoder layer beside the people they are matched with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from torch import Tensor

from aios.network.outputs import LayerOutput, SmplxOutput

from ..joints import SCORED_JOINTS
from ..targets import Targets
from .matcher import Assignment


@dataclass(frozen=True)
class MatchedPeople:
    """N matched pairs of a decoder layer."""

    layer: LayerOutput
    pairs: Assignment
    """N pairs."""
    people: Targets
    """N people in the order of `pairs`."""
    masks: Mapping[str, Tensor]
    """(N, K) each, see `validity.annotation_masks`."""

    def predicted(self, name: str) -> Tensor | None:
        """(N, ...) field `name` of the layer at the pairs; None if the layer does not have it."""
        value: Tensor | None = getattr(self.layer, name)
        return None if value is None else value[self.pairs.image_index, self.pairs.query_index]

    @cached_property
    def smplx(self) -> SmplxOutput:
        """SMPL-X parameters at the pairs, fields (N, ...); the layer must have them."""
        smplx, pairs = self.layer.smplx, self.pairs
        return SmplxOutput(
            **{
                field.name: getattr(smplx, field.name)[pairs.image_index, pairs.query_index]
                for field in fields(SmplxOutput)
            }
        )

    @property
    def whole_body(self) -> bool:
        """False before the last stage, where bodies have mean hands and a neutral face."""
        return self.layer.stage == "refine_whole_body"

    @property
    def scored_parts(self) -> tuple[str, ...]:
        """Parts whose joints are scored."""
        return tuple(SCORED_JOINTS) if self.whole_body else ("body",)
