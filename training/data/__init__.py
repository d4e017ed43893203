"""Pictures with what is true of them: data sets, their changes, and the mix that training sees."""

from .archive import DataError
from .mixture import (
    DataConfig,
    DrawnScenes,
    Samples,
    Sources,
    TrainBatches,
    load_batches,
    picture_size,
)
from .photo_mix import MIXTURES, PhotoBatches, PhotoConfig, SetShare, open_set
from .photos import PhotoSet
from .sets import DATA_SETS, DataSet

__all__ = [
    "DATA_SETS",
    "MIXTURES",
    "DataConfig",
    "DataError",
    "DataSet",
    "DrawnScenes",
    "PhotoBatches",
    "PhotoConfig",
    "PhotoSet",
    "Samples",
    "SetShare",
    "Sources",
    "TrainBatches",
    "load_batches",
    "open_set",
    "picture_size",
]
