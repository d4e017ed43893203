"""Submission files of the AGORA and BEDLAM leaderboards: writing, reading and checking them.

`write_submission` writes `predictions.zip` from the `mesh_entries` or `parameter_entries` of every
image; `check_submission` lists its errors; `Submission` reads its people, so that metrics can be
computed from the submitted file.
"""

from .forms import AGORA, AGORA_SMPL, BEDLAM, FORMS, SubmissionError, SubmissionForm
from .read import Submission, check_submission
from .write import (
    MAX_PEOPLE,
    kept_people,
    mesh_entries,
    parameter_entries,
    write_submission,
)

__all__ = [
    "AGORA",
    "AGORA_SMPL",
    "BEDLAM",
    "FORMS",
    "MAX_PEOPLE",
    "Submission",
    "SubmissionError",
    "SubmissionForm",
    "check_submission",
    "kept_people",
    "mesh_entries",
    "parameter_entries",
    "write_submission",
]
