"""Pictures with what is true of them: data sets, their changes, and the mix that training sees."""

from .mixture import (
    DataConfig,
    DrawnScenes,
    Samples,
    Sources,
    TrainBatches,
    load_batches,
    picture_size,
)

__all__ = [
    "DataConfig",
    "DrawnScenes",
    "Samples",
    "Sources",
    "TrainBatches",
    "load_batches",
    "picture_size",
]
