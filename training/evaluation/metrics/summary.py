"""The figures of a benchmark, as tables print them, in mode `official` and `plain`.

Source: specification, EVAL 2 and 5.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .matching import MODES, Mode
from .outcome import Outcome, outcome
from .records import Records

Figures = dict[str, float]
_PARTS = ("left_hand", "right_hand", "face")
_KINDS = {"mpjpe": "nmje", "mve": "nmve"}
"""What is measured -> what it is called when divided by F1."""
_VERTEX_SETS = ("pve", "pa_pve")


def summarise(records: Records, threshold: float) -> dict[Mode, Figures]:
    """All figures at one score threshold, in both modes; see `figures`."""
    return {mode: figures(outcome(records, threshold, mode)) for mode in MODES}


def sweep(records: Records, thresholds: Iterable[float], mode: Mode) -> list[Figures]:
    """The figures at each of some score thresholds, which is added as `threshold`."""
    return [
        {"threshold": threshold} | figures(outcome(records, threshold, mode))
        for threshold in thresholds
    ]


def figures(result: Outcome) -> Figures:
    """What the tables print: F1, precision, recall as 0-1, errors in mm, numbers of people.

    AGORA and BEDLAM: `mpjpe_mm`, `mve_mm`, `nmje_mm` and `nmve_mm` of the full body, the same
    with `body_`, the first two with `left_hand_`, `right_hand_` and `face_`; where there are
    kids, all of it again with `kid_`.  The SMPL track has `body_` alone.

    Vertex errors: `pve_all_mm`, `pve_hands_mm`, `pve_face_mm`, the same with `pa_pve_`,
    `pa_mpjpe_body_mm` and `pa_mpjpe_hands_mm`.  Where `official` counts one person a picture it
    knows no F1.

    NaN is what nothing was measured for.
    """
    counts = {
        "pictures": len(result.pictures),
        "people": len(result.person),
        "found": int(result.found.sum()),
        "false_positives": int(result.num_false_positives.sum()),
    }
    if "pve_all" in result.errors:
        asked = result.mode == "plain" or not result.protocol.one_person
        detection = _detection(result, _everybody(result)) if asked else {}
        return counts | detection | _vertex_figures(result)
    answer = counts | _agora_figures(result, _everybody(result), None)
    if result.kid.any():
        kids = _agora_figures(result, result.kid, answer["f1"])
        answer |= {f"kid_{name}": value for name, value in kids.items()}
    return answer


def _everybody(result: Outcome) -> np.ndarray:
    return np.ones(len(result.person), bool)


def _detection(result: Outcome, group: np.ndarray) -> Figures:
    """F1, precision and recall; whom a wrong prediction meant is unknown, so each group has all."""
    found = int((result.found & group).sum())
    missed = int(group.sum()) - found
    wrong = int(result.num_false_positives.sum())
    answer = {
        "f1": _ratio(found, found + (wrong + missed) / 2),
        "precision": _ratio(found, found + wrong),
        "recall": _ratio(found, found + missed),
    }
    if result.mode == "official":
        answer = {name: round(value, 2) for name, value in answer.items()}
    return answer


def _agora_figures(result: Outcome, group: np.ndarray, overall_f1: float | None) -> Figures:
    """Figures of everybody (`overall_f1` None) or of a group.

    `official`: errors are rounded before anything is derived from them; those of hands and face
    are 0 for people who were missed in a picture with predictions; the full body of a group is
    divided by everybody's F1.
    """
    official = result.mode == "official"
    answer = _detection(result, group)
    for name in result.protocol.error_names:
        zeros = official and not name.startswith("body")
        answer[f"{name}_mm"] = _tenths(_mean_mm(result, name, group, zeros), official)
    full_body_f1 = overall_f1 if official and overall_f1 is not None else answer["f1"]
    for kind, normalised in _KINDS.items():
        body = answer[f"body_{kind}_mm"]
        answer[f"body_{normalised}_mm"] = _tenths(_ratio(body, answer["f1"]), official)
        if f"face_{kind}_mm" not in answer:
            continue
        parts = sum(answer[f"{part}_{kind}_mm"] for part in _PARTS) / len(_PARTS)
        answer[f"{kind}_mm"] = _tenths(body + parts, official)
        whole = _ratio(answer[f"{kind}_mm"], full_body_f1)
        answer[f"{normalised}_mm"] = _tenths(whole, official)
    return answer


def _mean_mm(result: Outcome, name: str, group: np.ndarray, zeros: bool) -> float:
    """Mean error in mm over the people found, or over all with 0 for those missed."""
    values = result.errors[name]
    if zeros:
        counted = group & (result.num_predictions[result.picture] > 0)
        return _mean(np.where(result.found, values, 0.0)[counted])
    return _mean(values[group & result.found])


def _vertex_figures(result: Outcome) -> Figures:
    """Means over people.

    A part with no vertex in the picture is left out; `official` enters 0, as AiOS does, except
    for the joints of the body.
    """
    official = result.mode == "official"

    def values(name: str) -> np.ndarray:
        found = result.errors[name][result.found]
        return np.nan_to_num(found, nan=0.0) if official else found

    answer: Figures = {}
    for kind in (*_VERTEX_SETS, "pa_mpjpe"):
        hands = np.stack([values(f"{kind}_{side}_hand") for side in ("left", "right")])
        seen = ~np.isnan(hands)
        both = np.where(seen, hands, 0).sum(0) / np.maximum(seen.sum(0), 1)
        answer[f"{kind}_hands_mm"] = _mean(both[seen.any(0)])
    for kind in _VERTEX_SETS:
        for part in ("all", "face"):
            answer[f"{kind}_{part}_mm"] = _mean(values(f"{kind}_{part}"))
    answer["pa_mpjpe_body_mm"] = _mean(result.errors["pa_mpjpe_body"][result.found])
    return answer


def _mean(metres: np.ndarray) -> float:
    """Mean in mm of what is a number; NaN of nothing."""
    known = metres[~np.isnan(metres)]
    return 1000 * float(known.mean()) if len(known) else float("nan")


def _ratio(value: float, by: float) -> float:
    return value / by if by else float("nan")


def _tenths(value: float, official: bool) -> float:
    return round(value, 1) if official else value
