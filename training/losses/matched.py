"""One output of the network beside the people it is matched with."""

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
class Matched:
    """N pairs of a decoder layer's slot and a person."""

    layer: LayerOutput
    pairs: Assignment
    """N of them."""
    people: Targets
    """N, in the same order."""
    masks: Mapping[str, Tensor]
    """(N, K) each, see `validity.annotation_masks`."""

    def predicted(self, name: str) -> Tensor | None:
        """A field of the layer at the pairs: (N, ...), None where the layer has no such thing."""
        value: Tensor | None = getattr(self.layer, name)
        return None if value is None else value[self.pairs.image_index, self.pairs.query_index]

    @cached_property
    def smplx(self) -> SmplxOutput:
        """Fields of shape (N, ...); only for layers that have them."""
        smplx, pairs = self.layer.smplx, self.pairs
        return SmplxOutput(
            **{
                field.name: getattr(smplx, field.name)[pairs.image_index, pairs.query_index]
                for field in fields(SmplxOutput)
            }
        )

    @property
    def whole_body(self) -> bool:
        """False before the last stage: mean hands and a face at rest are posed."""
        return self.layer.stage == "refine_whole_body"

    @property
    def parts(self) -> tuple[str, ...]:
        """Those whose joints are scored."""
        return tuple(SCORED_JOINTS) if self.whole_body else ("body",)
