"""Summary line and table of the people in one photo, as Markdown and HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from ..descriptions import person_name
from ..prediction import Prediction
from ..render.overlay import person_colors
from ..weights.load import WeightsInfo

_NEAR = 0.6
"""A candidate with at least this fraction of the weights' threshold may be a person."""
_BUILTIN_LIMITS = """The built-in weights often miss people who are small, partly hidden, cropped or
in unusual poses: try a photo that shows the whole person, or see **About** for the paper’s
weights."""
_COLUMNS = (
    ("Person", "Name and colour in the picture"),
    ("Confidence", "Detection confidence, 0 to 1"),
    ("Depth order", "From the nearest to the camera"),
    ("Distance", "From the camera to the pelvis, metres"),
    ("Box", "Left, top, width × height, pixels of the photo"),
)


def summary_text(
    prediction: Prediction, threshold: float, best_score: float, weights: WeightsInfo
) -> str:
    """Markdown: number of people found; without any, the likely reason.

    Args:
        prediction: people at or above `threshold`.
        threshold: 0-1.
        best_score: highest score of all candidates, 0-1.
        weights: weights in use.
    """
    count = len(prediction)
    if count:
        people = "1 person" if count == 1 else f"{count} people"
        return f"**{people}** found (confidence ≥ {threshold:.2f})."
    none = f"**No people found** (confidence ≥ {threshold:.2f})."
    if best_score >= _NEAR * min(threshold, weights.threshold):
        return f"{none} The best candidate has {best_score:.2f}: lower the threshold to show it."
    if weights.name == "builtin":
        return f"{none} {_BUILTIN_LIMITS}"
    return f"{none} The best candidate has only {best_score:.2f}."


def people_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """JSON-ready values of each person, highest score first.

    `distance_m` is the depth of the pelvis along the optical axis; `depth_order` starts at 1.
    """
    people = prediction.people
    order = prediction.depth_order
    return [
        {
            "name": person_name(index),
            "score": round(float(people.scores[index]), 4),
            "depth_order": int(order[index]) + 1,
            "distance_m": round(float(prediction.joints_3d[index, 0, 2]), 3),
            "box_xyxy_px": [round(float(v), 1) for v in people.boxes_xyxy_px[index]],
        }
        for index in prediction
    ]


def _ordinal(number: int) -> str:
    """Ordinal, which is not mistaken for the number of a person."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def people_html(prediction: Prediction, person: int | None = None) -> str:
    """Table of people with the row of index `person` highlighted; empty without people."""
    if not len(prediction):
        return ""
    head = "".join(
        f'<th scope="col" title="{escape(about)}">{escape(name)}</th>' for name, about in _COLUMNS
    )
    body = ""
    colors = person_colors(len(prediction))
    for index, (row, color) in enumerate(zip(people_rows(prediction), colors, strict=True)):
        mark = ' class="aios-chosen" aria-current="true"' if index == person else ""
        red, green, blue = (int(part) for part in color)
        swatch = f'<span class="aios-swatch" style="background:rgb({red},{green},{blue})"></span>'
        x0, y0, x1, y1 = (round(v) for v in row["box_xyxy_px"])
        body += (
            f'<tr{mark}><th scope="row">{swatch}{row["name"]}</th><td>{row["score"]:.2f}</td>'
            f"<td>{_ordinal(row['depth_order'])}</td><td>{row['distance_m']:.2f} m</td>"
            f"<td>{x0}, {y0}, {x1 - x0} × {y1 - y0}</td></tr>"
        )
    camera = prediction.camera
    focal, degrees = round(camera.focal_length), round(camera.field_of_view)
    source = " (from the EXIF data)" if prediction.focal_length_from == "exif" else ""
    floor = " and a common floor" if len(prediction) > 1 else ""
    refined = f" Meshes are refined to the 2D keypoints{floor}." if prediction.refined else ""
    return (
        f'<div class="aios-people" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        "<p class='aios-note'>Distances assume a camera with a focal length of "
        f"{focal} pixels, a field of view of {degrees} degrees{source}. Relative order is more "
        f"reliable than absolute distance.{refined}</p>"
    )
