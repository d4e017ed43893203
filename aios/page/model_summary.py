"""Weights, body and speed in use: banner of the page and values of `/status`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from ..descriptions import body_mismatch_text, body_text, speed_text, weights_text
from ..weights.load import OFFICIAL_REPO, WeightsInfo

if TYPE_CHECKING:
    from ..accelerate.install import Speed
    from ..body.model import BodyModel
    from ..predictor import AiOSPredictor

BODY_SITE = "https://smpl-x.is.tue.mpg.de"


def accuracy_note(weights: WeightsInfo) -> str:
    """Markdown note under the title for the built-in weights; empty for others."""
    if weights.name != "builtin":
        return ""
    return (
        "This page uses the small built-in weights, which are less accurate than the paper’s; "
        "see **About**."
    )


def banner_html(weights: WeightsInfo, body: BodyModel, speed: Speed) -> str:
    """Weights, body and speed in use, and how to get the paper's weights and body."""
    note = body_mismatch_text(weights, body)
    note = f'<p class="aios-note">{escape(note)}</p>' if note else ""
    return (
        '<div class="aios-banner"><p><span class="aios-chip">Weights</span> '
        f"{escape(_sentence(weights_text(weights)))}</p>"
        f'<p><span class="aios-chip">Body</span> {escape(_sentence(body_text(body)))}</p>'
        f'<p><span class="aios-chip">Speed</span> {escape(_sentence(speed_text(speed)))}</p>'
        f"{note}{_how_to_get_official(weights, body)}</div>"
    )


def status_values(predictor: AiOSPredictor, threshold: float) -> dict[str, Any]:
    """JSON-ready description of the predictor and its defaults."""
    weights, body = predictor.weights, predictor.body
    return {
        "weights": weights.name,
        "weights_description": weights_text(weights),
        "body": body.name,
        "refine": predictor.refine,
        "caveat": body_mismatch_text(weights, body),
        "device": str(predictor.device),
        "threshold": threshold,
        "max_people": predictor.model.config.num_people,
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _how_to_get_official(weights: WeightsInfo, body: BodyModel) -> str:
    steps = []
    if not weights.is_official:
        link = f"https://huggingface.co/{OFFICIAL_REPO}"
        steps.append(
            f'<b>The paper’s weights</b> are on the Hugging Face Hub, <a href="{link}">'
            f"{OFFICIAL_REPO}</a>. They are downloaded once when the program starts with access to "
            "the Hub, or on request with <code>--weights official</code>."
        )
    if body.is_standin:
        steps.append(
            f'<b>The SMPL-X body</b> is free for research after registration at <a href="'
            f'{BODY_SITE}">smpl-x.is.tue.mpg.de</a>. Start with <code>--body PATH</code> or set '
            "<code>AIOS_SMPLX</code> to the path of <code>SMPLX_NEUTRAL.npz</code>."
        )
    if not steps:
        return ""
    items = "".join(f"<li>{step}</li>" for step in steps)
    return f"<details><summary>Get the paper’s weights and body</summary><ul>{items}</ul></details>"
