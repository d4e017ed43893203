"""Pictures with what is true of them: data sets, their changes, and the mixes that training sees.

What is named here are data sets; `mixture`, which reads cached scenes too, is imported by its own
name, for `python -m training.data.cache` must not find its module imported already.
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
