"""What a page says in words: which weights and body are in use, who was found."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from .prediction import Prediction
from .weights.load import OFFICIAL_REPO, WeightsInfo

if TYPE_CHECKING:
    from .accelerate.speed import Speed
    from .body.model import BodyModel
    from .predictor import AiOSPredictor

BODY_SITE = "https://smpl-x.is.tue.mpg.de"
_COLUMNS = (
    ("Person", "Name and colour in the picture"),
    ("Score", "How sure the network is, 0 to 1"),
    ("Depth order", "1 is nearest to the camera"),
    ("Distance", "From the camera to the pelvis, metres"),
    ("Box", "Left, top, width × height, pixels of the photo"),
)


def person_name(index: int) -> str:
    """The visible name of the person at `index`, the same in pictures, tables and files."""
    return f"Person {index + 1}"


def weights_text(weights: WeightsInfo) -> str:
    """Which weights are in use and why, without the folders of this machine."""
    return weights.description.replace(str(weights.path), weights.path.name)


def body_text(body: BodyModel) -> str:
    """Which body is posed."""
    if body.is_standin:
        return "the stand-in that comes with the program, in the SMPL-X layout"
    return "SMPL-X"


def speed_text(speed: Speed) -> str:
    """How the network is run."""
    if speed == "fast":
        return "fast, vertices within a millimetre or two of the exact ones"
    return "exact"


def caveat(weights: WeightsInfo, body: BodyModel) -> str:
    """What does not carry over from these weights to this body; empty if all does."""
    for_smplx = weights.body_convention == "smplx"
    if for_smplx and body.is_standin:
        return (
            "Shape is approximated: these weights predict SMPL-X shapes, of which the stand-in "
            "body takes over stature and build. Poses, hands and faces carry over; downloaded "
            "parameters are the network's own."
        )
    if not for_smplx and not body.is_standin:
        return (
            "These weights learned the shapes of the stand-in body, so the SMPL-X body shown has "
            "the right pose but not the person's build."
        )
    return ""


def expectation(weights: WeightsInfo) -> str:
    """What a visitor should not be disappointed by, as Markdown; empty for the paper's weights."""
    if weights.name != "builtin":
        return ""
    return (
        "This page runs on small built-in weights, which are rougher than the paper’s: tab "
        "**About** says how to get those."
    )


def banner_html(weights: WeightsInfo, body: BodyModel, speed: Speed) -> str:
    """The weights, body and speed in use, why, and how to get the paper's."""
    note = caveat(weights, body)
    note = f'<p class="aios-note">{escape(note)}</p>' if note else ""
    return (
        '<div class="aios-banner"><p><span class="aios-chip">Weights</span> '
        f"{escape(_sentence(weights_text(weights)))}</p>"
        f'<p><span class="aios-chip">Body</span> {escape(_sentence(body_text(body)))}</p>'
        f'<p><span class="aios-chip">Speed</span> {escape(_sentence(speed_text(speed)))}</p>'
        f"{note}{_how_to(weights, body)}</div>"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _how_to(weights: WeightsInfo, body: BodyModel) -> str:
    steps = []
    if not weights.is_official:
        link = f"https://huggingface.co/{OFFICIAL_REPO}"
        steps.append(
            f'<b>The paper’s weights</b> are on the Hugging Face Hub, <a href="{link}">'
            f"{OFFICIAL_REPO}</a>: start the program while the Hub can be reached and it fetches "
            "them once, or ask for them with <code>--weights official</code>."
        )
    if body.is_standin:
        steps.append(
            f'<b>The SMPL-X body</b> is free for research after registration at <a href="'
            f'{BODY_SITE}">smpl-x.is.tue.mpg.de</a>: start with <code>--body PATH</code> or set '
            "<code>AIOS_SMPLX</code> to the path of <code>SMPLX_NEUTRAL.npz</code>."
        )
    if not steps:
        return ""
    items = "".join(f"<li>{step}</li>" for step in steps)
    return f"<details><summary>How to get what the paper uses</summary><ul>{items}</ul></details>"


def summary_text(prediction: Prediction, threshold: float, best_score: float) -> str:
    """One or two sentences on how many people were found; nobody is a normal answer."""
    count = len(prediction)
    if count:
        people = "1 person" if count == 1 else f"{count} people"
        return f"**{people}** with a score of at least {threshold:.2f}."
    hint = ""
    if best_score < threshold:
        hint = f" The best candidate scores {best_score:.2f}: lower the threshold to see it."
    return f"**Nobody found** with a score of at least {threshold:.2f}.{hint}"


def people_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """Plain values of each person, best score first, ready for JSON.

    `distance_m` is that of the pelvis along the camera's axis; `depth_order` starts at 0.
    """
    people = prediction.people
    order = prediction.depth_order
    return [
        {
            "name": person_name(index),
            "score": round(float(people.scores[index]), 4),
            "depth_order": int(order[index]),
            "distance_m": round(float(prediction.joints_3d[index, 0, 2]), 3),
            "box_xyxy_px": [round(float(v), 1) for v in people.boxes_xyxy_px[index]],
        }
        for index in prediction
    ]


def people_html(prediction: Prediction, person: int | None = None) -> str:
    """The table of people, the row of `person` marked; empty without any."""
    if not len(prediction):
        return ""
    from .render.overlay import person_colors

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
            f"<td>{row['depth_order'] + 1}</td><td>{row['distance_m']:.2f} m</td>"
            f"<td>{x0}, {y0}, {x1 - x0} × {y1 - y0}</td></tr>"
        )
    camera = prediction.camera
    focal, degrees = round(camera.focal_length), round(camera.field_of_view)
    return (
        f'<div class="aios-people"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div><p class='aios-note'>Distances assume a camera with a focal length of "
        f"{focal} pixels, a field of view of {degrees} degrees: trust their order more than their "
        "metres.</p>"
    )


def status_report(predictor: AiOSPredictor, threshold: float) -> dict[str, Any]:
    """What a program may want to know before it asks, ready for JSON."""
    weights, body = predictor.weights, predictor.body
    return {
        "weights": weights.name,
        "weights_description": weights_text(weights),
        "body": body.name,
        "caveat": caveat(weights, body),
        "device": str(predictor.device),
        "threshold": threshold,
        "max_people": predictor.model.config.num_people,
    }
