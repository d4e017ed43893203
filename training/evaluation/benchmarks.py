"""Table of the benchmarks: protocol, score thresholds, data and submission form.

Source: AiOS, Sec. 4 and its tables.
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
"""Score thresholds of the plots."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    kind: Kind
    """Format of the ground truth."""
    data: str
    """Annotations, relative to the data root: for "humandata" a name in `DATA_SETS`, otherwise the
    folder of data frames or images."""
    source: str
    """Download page of the data, as the end of a sentence."""
    thresholds: tuple[float, ...] = ()
    """Score thresholds of the paper; empty takes that of the weights."""
    protocols: tuple[Protocol, ...] = ()
    """Protocols, the headline first; empty if the ground truth is not public."""
    parts: tuple[Part, ...] = ()
    """Licensed vertex lists that are needed."""
    images: tuple[str, ...] = ()
    """Candidate image folders below the data root; the first existing one is used."""
    only: tuple[str, ...] = ()
    """Substrings of the names of evaluated images; empty evaluates all.  (`bfh` and `smplx` are the
    AGORA images with reliable hands and face, `--onlybfh` of its evaluation program.)"""
    resolution_wh: tuple[int, int] | None = None
    """Pixel resolution of the annotation, at any image size."""
    gendered: bool = True
    """Pose the ground truth with the body of the annotated gender instead of the neutral one."""
    inside_only: bool = False
    """Average only over vertices that the predicted camera projects into the image."""
    confidence_weighted: bool = False
    """Weight 2D joints by their annotation confidence when a prediction is assigned."""
    forms: tuple[SubmissionForm, ...] = ()
    """Submission files to be written."""
    upload: str = ""
    """Upload page of the submission."""

    @property
    def headline(self) -> Protocol:
        """The main protocol.

        Raises:
            ValueError: the ground truth is not public.
        """
        if not self.protocols:
            raise ValueError(f"{self.name} has no public ground truth.")
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
        confidence_weighted=True,
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
        source="generated on the fly",
        protocols=(AGORA, VERTICES),
        parts=(*_ALL_PARTS, "j14"),
    ),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ROWS}
"""By name."""
VALIDATION_FILES = {"bedlam": "bedlam/annotations/bedlam_val.npz"}
"""Validation annotations of data sets without a test file in `DATA_SETS`."""
