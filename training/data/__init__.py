"""Training data: annotated data sets, augmentation, and mixtures for training.

`mixture`, which also reads cached scenes, is not imported here: `python -m training.data.cache`
would run a module that is already imported.
"""

from .archive import DataError
from .photo_mix import MIXTURES, PhotoBatches, PhotoConfig, SetShare, open_set
from .photos import PhotoSet
from .sets import DATA_SETS, DataSet

__all__ = [
    "DATA_SETS",
    "MIXTURES",
    "DataError",
    "DataSet",
    "PhotoBatches",
    "PhotoConfig",
    "PhotoSet",
    "SetShare",
    "open_set",
]
