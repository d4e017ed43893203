"""Figures of merit: who is found, and how well their meshes agree with the true ones.

From a picture to a table: `measure_picture` compares `PredictedPeople` with `TruePeople` under a
`Protocol` and gives a `PictureRecord`; `Records` (or a `RecordLog` on disk) collects these;
`summarise` and `sweep` give the figures at any score threshold, `outcome` a row for each person.
`official` figures are those of the public tools with their quirks, `plain` ones what they define.
"""

from .files import (
    LICENSED_FILES,
    LicensedFileError,
    load_smpl_parts,
    load_smplx_parts,
)
from .matching import MODES, Mode
from .outcome import Outcome, outcome
from .parts import BodyParts
from .people import PeopleError, PredictedPeople, TruePeople
from .protocols import AGORA, AGORA_SMPL, PROTOCOLS, VERTICES, Protocol, has_hands_and_face
from .records import PictureRecord, RecordLog, Records, RecordsError, measure_picture
from .smpl import SmplConversion
from .summary import Figures, figures, summarise, sweep
from .tally import Tally, match_greedily, pelvis_aligned_mm

__all__ = [
    "AGORA",
    "AGORA_SMPL",
    "LICENSED_FILES",
    "MODES",
    "PROTOCOLS",
    "VERTICES",
    "BodyParts",
    "Figures",
    "LicensedFileError",
    "Mode",
    "Outcome",
    "PeopleError",
    "PictureRecord",
    "PredictedPeople",
    "Protocol",
    "RecordLog",
    "Records",
    "RecordsError",
    "SmplConversion",
    "Tally",
    "TruePeople",
    "figures",
    "has_hands_and_face",
    "load_smpl_parts",
    "load_smplx_parts",
    "match_greedily",
    "measure_picture",
    "outcome",
    "pelvis_aligned_mm",
    "summarise",
    "sweep",
]
