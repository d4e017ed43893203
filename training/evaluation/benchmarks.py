"""The benchmarks: what is measured, by whose rules, and where the data are to be had.

Source: the paper's tables and the specification, EVAL 2 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..data import DATA_SETS
from .metrics import AGORA, AGORA_SMPL, VERTICES, Protocol
from .submission import AGORA as AGORA_FORM
from .submission import AGORA_SMPL as AGORA_SMPL_FORM
from .submission import BEDLAM as BEDLAM_FORM
from .submission import SubmissionForm

Kind = Literal["humandata", "dataframes", "folder", "synthetic"]
Part = Literal["body", "hands", "face", "j14"]

_AGORA_SITE = "https://agora.is.tue.mpg.de (free registration)"
_BEDLAM_SITE = "https://bedlam.is.tue.mpg.de (free registration)"
_ALL_PARTS: tuple[Part, ...] = ("body", "hands", "face")
_HANDS_AND_FACE: tuple[Part, ...] = ("hands", "face")
_WITH_J14: tuple[Part, ...] = ("hands", "face", "j14")
_AGORA_WH = (3840, 2160)
SWEEP = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Score thresholds at which every run is summed up for plots, beside its own."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    kind: Kind
    """How its truth is stored."""
    data: str
    """Where its annotations are below the folder of all data: of "humandata" the name in
    `DATA_SETS`; otherwise a folder of data frames or pictures."""
    source: str
    """Where the data are to be had."""
    thresholds: tuple[float, ...] = ()
    """Score thresholds of the paper; none takes the one that the weights come with."""
    protocols: tuple[Protocol, ...] = ()
    """What is measured, the headline first; nothing where only a leaderboard knows the truth."""
    parts: tuple[Part, ...] = ()
    """Licensed lists of vertices that this takes."""
    images: tuple[str, ...] = ()
    """Where its pictures may lie below the folder of all data; the first that exists is taken."""
    only: tuple[str, ...] = ()
    """Pictures count whose name has one of these in it; all where there is none."""
    resolution_wh: tuple[int, int] | None = None
    """Pixels of the annotation, whatever the size of the pictures."""
    gendered: bool = True
    """Annotated shapes belong to the body of the annotated gender, not to the neutral one."""
    inside_only: bool = False
    """Only vertices count that the predicted camera sees inside the picture."""
    sure_joints: bool = False
    """2D joints weigh as surely as they are annotated when a prediction is assigned."""
    forms: tuple[SubmissionForm, ...] = ()
    """Submission files that are written."""
    upload: str = ""
    """Where to hand them in."""

    @property
    def headline(self) -> Protocol:
        """The protocol of the first figures.

        Raises:
            ValueError: the truth is known to a leaderboard alone.
        """
        if not self.protocols:
            raise ValueError(f"{self.name} has no annotations to measure against.")
        return self.protocols[0]


_ROWS = (
    Benchmark(
        name="agora-val",
        title="AGORA validation, SMPL-X",
        kind="dataframes",
        data="agora/dataframes/smplx",
        source=f"'Camera dataframes with SMPL-X joints and vertices', validation, {_AGORA_SITE}",
        thresholds=(0.1,),
        protocols=(AGORA, VERTICES),
        parts=_ALL_PARTS,
        images=("agora/3840x2160/validation", "agora/1280x720/validation"),
        only=("bfh", "smplx"),
        resolution_wh=_AGORA_WH,
        forms=(AGORA_FORM,),
    ),
    Benchmark(
        name="agora-test",
        title="AGORA test",
        kind="folder",
        data="agora/3840x2160/test",
        source=f"the test images, {_AGORA_SITE}",
        thresholds=(0.5, 0.3),
        forms=(AGORA_FORM, AGORA_SMPL_FORM),
        upload="the evaluation page of https://agora.is.tue.mpg.de (a track for each body)",
    ),
    Benchmark(
        name="agora-smpl",
        title="AGORA validation, SMPL",
        kind="dataframes",
        data="agora/dataframes/smpl",
        source=f"'Camera dataframes with SMPL joints and vertices', validation, {_AGORA_SITE}",
        thresholds=(0.5, 0.3),
        protocols=(AGORA_SMPL,),
        images=("agora/3840x2160/validation", "agora/1280x720/validation"),
        resolution_wh=_AGORA_WH,
        forms=(AGORA_SMPL_FORM,),
    ),
    Benchmark(
        name="bedlam-val",
        title="BEDLAM validation",
        kind="humandata",
        data="bedlam",
        source=DATA_SETS["bedlam"].source,
        thresholds=(0.7,),
        protocols=(AGORA,),
        parts=_ALL_PARTS,
        images=("bedlam/val_images", "bedlam/validation_images"),
        gendered=False,
        forms=(BEDLAM_FORM,),
    ),
    Benchmark(
        name="bedlam-test",
        title="BEDLAM test",
        kind="folder",
        data="bedlam/test_images",
        source=f"the test images, {_BEDLAM_SITE}",
        thresholds=(0.7,),
        forms=(BEDLAM_FORM,),
        upload="the leaderboard of https://bedlam.is.tue.mpg.de",
    ),
    Benchmark(
        name="ehf",
        title="EHF",
        kind="humandata",
        data="ehf",
        source=DATA_SETS["ehf"].source,
        thresholds=(0.5,),
        protocols=(VERTICES,),
        parts=_WITH_J14,
    ),
    Benchmark(
        name="ubody",
        title="UBody, intra-scene",
        kind="humandata",
        data="ubody",
        source=DATA_SETS["ubody"].source,
        thresholds=(0.5,),
        protocols=(VERTICES,),
        parts=_WITH_J14,
        gendered=False,
        inside_only=True,
        sure_joints=True,
    ),
    Benchmark(
        name="arctic",
        title="ARCTIC validation",
        kind="humandata",
        data="arctic",
        source=DATA_SETS["arctic"].source,
        thresholds=(0.5,),
        protocols=(VERTICES,),
        parts=_HANDS_AND_FACE,
    ),
    Benchmark(
        name="egobody",
        title="EgoBody, egocentric",
        kind="humandata",
        data="egobody",
        source=DATA_SETS["egobody"].source,
        thresholds=(0.5,),
        protocols=(VERTICES,),
        parts=_HANDS_AND_FACE,
    ),
    Benchmark(
        name="synthetic",
        title="Synthetic people",
        kind="synthetic",
        data="",
        source="made on the fly",
        protocols=(AGORA, VERTICES),
        parts=(*_ALL_PARTS, "j14"),
    ),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ROWS}
"""By name."""
VALIDATION_FILES = {"bedlam": "bedlam/annotations/bedlam_val.npz"}
"""Annotations of validation splits that the table of data sets has no test file for."""
