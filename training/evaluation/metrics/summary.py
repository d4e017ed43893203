"""Metrics of a benchmark as published tables report them, in mode `official` and `plain`.

Definitions: AGORA (Patel et al., CVPR 2021) for F1, MPJPE, MVE, NMJE and NMVE; PVE and PA-PVE as in
SMPLer-X and AiOS (Sec. 4).  The rounding and averaging of `official` are those of the program
pixelite1201/agora_evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .matching import MODES, Mode
from .outcome import Outcome, outcome
from .records import Records

MetricValues = dict[str, float]
_PARTS = ("left_hand", "right_hand", "face")
_KINDS = {"mpjpe": "nmje", "mve": "nmve"}
"""Error -> name of the error divided by F1."""
_VERTEX_SETS = ("pve", "pa_pve")


def summarise(records: Records, threshold: float) -> dict[Mode, MetricValues]:
    """Metrics at one score threshold in both modes; see `outcome_metrics`."""
    return {mode: outcome_metrics(outcome(records, threshold, mode)) for mode in MODES}


def sweep(records: Records, thresholds: Iterable[float], mode: Mode) -> list[MetricValues]:
    """Metrics at several score thresholds, each with its `threshold`."""
    return [
        {"threshold": threshold} | outcome_metrics(outcome(records, threshold, mode))
        for threshold in thresholds
    ]


def outcome_metrics(result: Outcome) -> MetricValues:
    """Metrics by name: F1, precision and recall as 0-1, errors in mm, numbers of people.

    AGORA and BEDLAM: `mpjpe_mm`, `mve_mm`, `nmje_mm` and `nmve_mm` of the full body; the same with
    the prefix `body_`; the first two with `left_hand_`, `right_hand_` and `face_`; if there are
    kids, all of them with `kid_`.  The SMPL track has only `body_`.

    Vertex errors: `pve_all_mm`, `pve_hands_mm`, `pve_face_mm`, the same with `pa_pve_`,
    `pa_mpjpe_body_mm` and `pa_mpjpe_hands_mm`.  There is no F1 in mode `official` if one person
    per image is evaluated.

    A metric without data is NaN.
    """
    counts = {
        "pictures": len(result.images),
        "people": len(result.person),
        "found": int(result.found.sum()),
        "false_positives": int(result.num_false_positives.sum()),
    }
    if "pve_all" in result.errors:
        has_detection = result.mode == "plain" or not result.protocol.one_person
        detection = _detection(result, _all_people(result)) if has_detection else {}
        return counts | detection | _vertex_metrics(result)
    metrics = counts | _agora_metrics(result, _all_people(result), None)
    if result.kid.any():
        kids = _agora_metrics(result, result.kid, metrics["f1"])
        metrics |= {f"kid_{name}": value for name, value in kids.items()}
    return metrics


def _all_people(result: Outcome) -> np.ndarray:
    return np.ones(len(result.person), bool)


def _detection(result: Outcome, group: np.ndarray) -> MetricValues:
    """F1, precision and recall of a group of people; all false positives count in every group."""
    found = int((result.found & group).sum())
    missed = int(group.sum()) - found
    wrong = int(result.num_false_positives.sum())
    metrics = {
        "f1": _ratio(found, found + (wrong + missed) / 2),
        "precision": _ratio(found, found + wrong),
        "recall": _ratio(found, found + missed),
    }
    if result.mode == "official":
        metrics = {name: round(value, 2) for name, value in metrics.items()}
    return metrics


def _agora_metrics(result: Outcome, group: np.ndarray, overall_f1: float | None) -> MetricValues:
    """AGORA metrics of all people (`overall_f1` None) or of a group.

    `official`: errors are rounded before metrics are derived from them; hand and face errors are 0
    for people missed in an image with predictions; the full-body error of a group is divided by
    the F1 of all people.
    """
    official = result.mode == "official"
    metrics = _detection(result, group)
    for name in result.protocol.error_names:
        zeros = official and not name.startswith("body")
        metrics[f"{name}_mm"] = _tenths(_mean_mm(result, name, group, zeros), official)
    full_body_f1 = overall_f1 if official and overall_f1 is not None else metrics["f1"]
    for kind, normalised in _KINDS.items():
        body = metrics[f"body_{kind}_mm"]
        metrics[f"body_{normalised}_mm"] = _tenths(_ratio(body, metrics["f1"]), official)
        if f"face_{kind}_mm" not in metrics:
            continue
        parts = sum(metrics[f"{part}_{kind}_mm"] for part in _PARTS) / len(_PARTS)
        metrics[f"{kind}_mm"] = _tenths(body + parts, official)
        whole = _ratio(metrics[f"{kind}_mm"], full_body_f1)
        metrics[f"{normalised}_mm"] = _tenths(whole, official)
    return metrics


def _mean_mm(result: Outcome, name: str, group: np.ndarray, zeros: bool) -> float:
    """Mean error in mm over the people found; with `zeros` over all, 0 for people missed."""
    values = result.errors[name]
    if zeros:
        counted = group & (result.num_predictions[result.image_index] > 0)
        return _mean(np.where(result.found, values, 0.0)[counted])
    return _mean(values[group & result.found])


def _vertex_metrics(result: Outcome) -> MetricValues:
    """Mean vertex errors over people.

    A part without a vertex inside the image is left out; `official` enters 0 for it, as AiOS
    does, except for the body joints.
    """
    official = result.mode == "official"

    def values(name: str) -> np.ndarray:
        found = result.errors[name][result.found]
        return np.nan_to_num(found, nan=0.0) if official else found

    metrics: MetricValues = {}
    for kind in (*_VERTEX_SETS, "pa_mpjpe"):
        hands = np.stack([values(f"{kind}_{side}_hand") for side in ("left", "right")])
        seen = ~np.isnan(hands)
        both = np.where(seen, hands, 0).sum(0) / np.maximum(seen.sum(0), 1)
        metrics[f"{kind}_hands_mm"] = _mean(both[seen.any(0)])
    for kind in _VERTEX_SETS:
        for part in ("all", "face"):
            metrics[f"{kind}_{part}_mm"] = _mean(values(f"{kind}_{part}"))
    metrics["pa_mpjpe_body_mm"] = _mean(result.errors["pa_mpjpe_body"][result.found])
    return metrics


def _mean(metres: np.ndarray) -> float:
    """Mean in mm without NaN values; NaN if there are none."""
    known = metres[~np.isnan(metres)]
    return 1000 * float(known.mean()) if len(known) else float("nan")


def _ratio(value: float, by: float) -> float:
    return value / by if by else float("nan")


def _tenths(value: float, official: bool) -> float:
    return round(value, 1) if official else value
