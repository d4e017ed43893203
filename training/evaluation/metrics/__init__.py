"""Detection and mesh metrics: who is found, and how well the meshes match the ground truth.

`measure_image` compares `PredictedPeople` with `TruePeople` under a `Protocol` and returns an
`ImageRecord`; `Records` (or a `RecordLog` on disk) collects them; `summarise` and `sweep` compute
the metrics at any score threshold, `outcome` returns one row per person.  Mode `official`
reproduces the public evaluation programs with their quirks, mode `plain` applies the definitions.
"""

from .detection_counts import DetectionCounts, match_greedily, pelvis_aligned_mm
from .licensed_files import (
    LICENSED_FILES,
    LicensedFileError,
    load_smpl_parts,
    load_smplx_parts,
)
from .matching import MODES, Mode
from .outcome import Outcome, outcome
from .parts import BodyParts
from .person_arrays import PeopleError, PredictedPeople, TruePeople
from .protocols import AGORA, AGORA_SMPL, PROTOCOLS, VERTICES, Protocol
from .records import ImageRecord, RecordLog, Records, RecordsError, measure_image
from .smpl import SmplConversion
from .summary import MetricValues, outcome_metrics, summarise, sweep

__all__ = [
    "AGORA",
    "AGORA_SMPL",
    "LICENSED_FILES",
    "MODES",
    "PROTOCOLS",
    "VERTICES",
    "BodyParts",
    "DetectionCounts",
    "ImageRecord",
    "LicensedFileError",
    "MetricValues",
    "Mode",
    "Outcome",
    "PeopleError",
    "PredictedPeople",
    "Protocol",
    "RecordLog",
    "Records",
    "RecordsError",
    "SmplConversion",
    "TruePeople",
    "load_smpl_parts",
    "load_smplx_parts",
    "match_greedily",
    "measure_image",
    "outcome",
    "outcome_metrics",
    "pelvis_aligned_mm",
    "summarise",
    "sweep",
]
