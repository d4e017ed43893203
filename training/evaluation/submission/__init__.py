"""Files for the AGORA and BEDLAM leaderboards: writing them, and reading them back as judges do.

`write_submission` makes a whole `predictions.zip` from `mesh_entries` or `parameter_entries` of
every picture; `check_submission` says what is wrong with one; `Submission` reads its people, so
that figures can be computed from the very file that is sent.
"""

from .forms import AGORA, AGORA_SMPL, BEDLAM, FORMS, SubmissionError, SubmissionForm
from .read import Submission, check_submission
from .write import (
    MOST_PEOPLE,
    kept_people,
    merge_submissions,
    mesh_entries,
    parameter_entries,
    write_submission,
)

__all__ = [
    "AGORA",
    "AGORA_SMPL",
    "BEDLAM",
    "FORMS",
    "MOST_PEOPLE",
    "Submission",
    "SubmissionError",
    "SubmissionForm",
    "check_submission",
    "kept_people",
    "merge_submissions",
    "mesh_entries",
    "parameter_entries",
    "write_submission",
]
