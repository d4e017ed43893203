"""Values and columns of the paper's tables (AiOS, Tables 1 to 10).

Values that are not in the named table are missing and shown as a dash.  F1, precision and recall
are 0-1, errors in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    head: str
    metric: str
    """Key in the dictionary of `training.evaluation.metrics.outcome_metrics`."""
    decimals: int = 1


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Table:
    """One table of the paper."""

    number: int
    title: str
    benchmark: str
    """Benchmark of our rows."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...] = ()
    note: str = ""
    upright: bool = False
    """Transposed, with one line per metric, for tables with many metrics and few rows."""


_DETECTION = (
    Column("F1", "f1", 2),
    Column("Precision", "precision", 2),
    Column("Recall", "recall", 2),
)
_NORMALISED = (
    Column("NMVE all", "nmve_mm"),
    Column("NMVE body", "body_nmve_mm"),
    Column("NMJE all", "nmje_mm"),
    Column("NMJE body", "body_nmje_mm"),
)


def _by_part(head: str, kind: str) -> tuple[Column, ...]:
    parts = ("", "body_", "face_", "left_hand_", "right_hand_")
    names = ("all", "body", "face", "l-hand", "r-hand")
    return tuple(
        Column(f"{head} {name}", f"{part}{kind}_mm")
        for name, part in zip(names, parts, strict=True)
    )


AGORA_COLUMNS = (
    *_DETECTION,
    *_NORMALISED,
    *_by_part("MVE", "mve"),
    *_by_part("MPJPE", "mpjpe"),
)
_SMPL_COLUMNS = (
    *_DETECTION,
    Column("NMVE", "body_nmve_mm"),
    Column("NMJE", "body_nmje_mm"),
    Column("MVE", "body_mve_mm"),
    Column("MPJPE", "body_mpjpe_mm"),
)
_KID_COLUMNS = tuple(replace(c, metric=f"kid_{c.metric}") for c in AGORA_COLUMNS)
_KID_SMPL_COLUMNS = tuple(replace(c, metric=f"kid_{c.metric}") for c in _SMPL_COLUMNS)
VERTEX_COLUMNS = (
    Column("PA-PVE all", "pa_pve_all_mm"),
    Column("PA-PVE hands", "pa_pve_hands_mm"),
    Column("PA-PVE face", "pa_pve_face_mm"),
    Column("PVE all", "pve_all_mm"),
    Column("PVE hands", "pve_hands_mm"),
    Column("PVE face", "pve_face_mm"),
)
_JOINT_COLUMNS = (
    Column("PA-MPJPE body", "pa_mpjpe_body_mm"),
    Column("PA-MPJPE hands", "pa_mpjpe_hands_mm"),
)
SYNTHETIC_COLUMNS = (
    Column("people", "people", 0),
    *_DETECTION,
    Column("PCK@0.1", "pck", 2),
    Column("depth order", "depth_order", 2),
    Column("pairs of depth order", "depth_pairs", 0),
    *_NORMALISED,
    *_by_part("MVE", "mve"),
    *_by_part("MPJPE", "mpjpe"),
    *_JOINT_COLUMNS,
)
SWEEP_COLUMNS = (
    *_DETECTION,
    *_NORMALISED,
    Column("MVE all", "mve_mm"),
    Column("MVE body", "body_mve_mm"),
    VERTEX_COLUMNS[0],
    VERTEX_COLUMNS[3],
)
BOX_COLUMNS = (
    Column("boxes", "boxes", 0),
    Column("mean IoU", "mean_iou", 3),
    Column("recall at IoU 0.5", "recall", 3),
    Column("precision at IoU 0.5", "precision", 3),
)

PHOTO_TABLE = Table(
    0,
    "Annotated photos",
    "photos",
    (
        Column("people", "people", 0),
        *_DETECTION,
        Column("PCK@0.1", "pck", 2),
        Column("mesh PCK@0.1", "mesh_pck", 2),
        Column("upper bodies", "upper_bodies", 0),
        Column("upper bodies found", "upper_bodies_found", 0),
    ),
    upright=True,
)
"""Metrics of `annotated_photos`."""


def _agora(label: str, *values: float) -> Row:
    """Row with values in the order of `AGORA_COLUMNS`."""
    names = (column.metric for column in AGORA_COLUMNS)
    return Row(label, dict(zip(names, values, strict=True)))


def _smpl(label: str, *values: float) -> Row:
    """Row with F1, NMVE, NMJE, MVE and MPJPE."""
    names = ("f1", "body_nmve_mm", "body_nmje_mm", "body_mve_mm", "body_mpjpe_mm")
    return Row(label, dict(zip(names, values, strict=True)))


def _vertices(label: str, *values: float) -> Row:
    """Row with values in the order of `VERTEX_COLUMNS`."""
    names = (column.metric for column in VERTEX_COLUMNS)
    return Row(label, dict(zip(names, values, strict=True)))


def _all_only(label: str, pve: float, pa_pve: float | None = None) -> Row:
    """Row with the vertex errors of the whole body only."""
    return Row(label, {"pve_all_mm": pve} | ({"pa_pve_all_mm": pa_pve} if pa_pve else {}))


_FINE_TUNED = "fine-tuned"
TABLES = (
    Table(
        1,
        "AGORA test, SMPL-X",
        "agora-test",
        AGORA_COLUMNS,
        (
            Row("OSX", {"nmve_mm": 130.6, "body_nmve_mm": 85.3, "mve_mm": 122.8}),
            Row("HybrIK-X", {"nmve_mm": 120.5, "body_nmve_mm": 73.7, "mve_mm": 112.1}),
            Row("SMPLer-X L20", {"nmve_mm": 133.1}),
            Row(
                f"SMPLer-X L20 {_FINE_TUNED}",
                {"nmve_mm": 107.2, "body_nmve_mm": 68.3, "mve_mm": 99.7},
            ),
            Row(
                f"SMPLer-X L20 {_FINE_TUNED}, boxes of AiOS",
                {"nmve_mm": 102.4, "body_nmve_mm": 63.8, "mve_mm": 98.3},
            ),
            Row("naive AiOS", {"nmve_mm": 105.7}),
            _agora(
                "AiOS, score >= 0.5",
                *(0.94, 0.98, 0.90, 97.8, 61.3, 96.0, 60.7),
                *(91.9, 57.6, 24.6, 38.7, 39.6, 90.2, 57.1, 25.7, 36.4, 37.3),
            ),
            _agora(
                "AiOS, score >= 0.3",
                *(0.96, 0.97, 0.95, 103.0, 63.5, 100.8, 62.6),
                *(98.9, 61.0, 27.7, 42.5, 43.4, 96.8, 60.1, 29.2, 40.1, 40.9),
            ),
        ),
    ),
    Table(
        2,
        "AGORA, SMPL",
        "agora-smpl",
        _SMPL_COLUMNS,
        (
            _smpl("AiOS, test, score >= 0.5", 0.94, 61.2, 68.0, 57.5, 63.9),
            _smpl("AiOS, test, score >= 0.3", 0.96, 63.4, 70.1, 60.9, 67.3),
        ),
        note="Published rows are on the test set; our rows are on the validation set unless a "
        "leaderboard result is given.",
    ),
    Table(
        3,
        "UBody, intra-scene",
        "ubody",
        (*VERTEX_COLUMNS, *_JOINT_COLUMNS),
        (
            _all_only(f"OSX {_FINE_TUNED}", 81.9, 42.2),
            _all_only("SMPLer-X L20", 61.5, 33.2),
            _all_only(f"SMPLer-X L20 {_FINE_TUNED}", 57.4, 31.9),
            _all_only("naive AiOS", 62.7),
            _vertices("AiOS", 32.5, 7.3, 2.8, 58.6, 39.0, 19.6),
        ),
    ),
    Table(
        4,
        "EHF",
        "ehf",
        (*VERTEX_COLUMNS, *_JOINT_COLUMNS),
        (
            _all_only("OSX", 70.8, 48.7),
            _all_only("SMPLer-X L20", 65.4, 37.8),
            _all_only("naive AiOS", 50.2),
            _vertices("AiOS", 34.0, 12.8, 3.8, 45.4, 44.1, 16.9),
        ),
    ),
    Table(
        5,
        "AGORA validation, one person per image (ablations)",
        "agora-val",
        VERTEX_COLUMNS,
        (_vertices("AiOS", 39.9, 7.2, 4.1, 50.5, 37.4, 23.3),),
    ),
    Table(
        6,
        "AGORA validation, SMPL-X",
        "agora-val",
        AGORA_COLUMNS,
        (
            _agora(
                "AiOS, score >= 0.1",
                *(0.95, 0.93, 0.97, 106.4, 64.2, 103.4, 62.1),
                *(101.1, 61.0, 30.7, 43.9, 45.7, 98.2, 59.0, 32.8, 41.5, 43.4),
            ),
        ),
    ),
    Table(
        7,
        "Boxes for two-stage methods on AGORA validation",
        "agora-val",
        BOX_COLUMNS,
        note="Agreement of the boxes of AiOS, and of annotated boxes shifted by 10 %, with the "
        "annotated boxes. The published values are errors of other methods on such boxes, which "
        "this program does not run; evaluate their submission with --predictions.",
    ),
    Table(
        8,
        "BEDLAM test",
        "bedlam-test",
        AGORA_COLUMNS,
        (
            Row("BEDLAM-CLIFF++", {"nmve_mm": 93.2, "body_nmve_mm": 61.2, "mve_mm": 87.6}),
            _agora(
                "AiOS",
                *(0.95, 1.0, 0.90, 87.6, 57.7, 85.8, 57.7),
                *(83.2, 54.8, 26.4, 28.1, 30.8, 81.5, 54.8, 26.2, 25.9, 28.1),
            ),
        ),
    ),
    Table(
        9,
        "ARCTIC",
        "arctic",
        VERTEX_COLUMNS,
        (
            _all_only(f"OSX {_FINE_TUNED}", 58.4, 33.0),
            _all_only("SMPLer-X L20", 52.2, 31.9),
            _all_only("naive AiOS", 51.6),
            _vertices("AiOS", 30.2, 19.2, 2.1, 47.1, 38.3, 26.1),
        ),
    ),
    Table(
        10,
        "EgoBody, egocentric",
        "egobody",
        VERTEX_COLUMNS,
        (
            _all_only(f"OSX {_FINE_TUNED}", 82.3, 45.3),
            _all_only("SMPLer-X L20", 66.6, 38.9),
            _all_only(f"SMPLer-X L20 {_FINE_TUNED}", 63.6, 37.8),
            _all_only("naive AiOS", 64.6),
            _vertices("AiOS", 38.0, 9.0, 2.9, 61.6, 40.0, 26.7),
        ),
    ),
)
"""Tables 1 to 10 by number."""
OTHER_TABLES = (
    Table(0, "Synthetic people (errors in mm)", "synthetic", SYNTHETIC_COLUMNS, upright=True),
    Table(0, "BEDLAM validation", "bedlam-val", AGORA_COLUMNS),
    Table(0, "AGORA validation, kids, SMPL-X", "agora-val", _KID_COLUMNS),
    Table(0, "AGORA validation, kids, SMPL", "agora-smpl", _KID_SMPL_COLUMNS),
)
"""Tables of benchmarks that the paper does not report."""
