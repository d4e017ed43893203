"""One-line descriptions of the weights, body and speed in use, for the page and command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .weights.load import WeightsInfo

if TYPE_CHECKING:
    from .accelerate.install import Speed
    from .body.model import BodyModel


def person_name(index: int) -> str:
    """Visible name of the person at 0-based `index`; the same in pictures, tables and files."""
    return f"Person {index + 1}"


def weights_text(weights: WeightsInfo) -> str:
    """Description of the weights; a path is reduced to the file name."""
    return weights.description.replace(str(weights.path), weights.path.name)


def body_text(body: BodyModel) -> str:
    """Description of the body model."""
    if body.is_standin:
        return "the built-in stand-in, in the SMPL-X layout"
    return "SMPL-X, neutral"


def speed_text(speed: Speed) -> str:
    """Description of the speed mode."""
    if speed == "fast":
        return "fast; vertices are within one or two millimetres of the exact ones"
    return "exact"


def body_mismatch_text(weights: WeightsInfo, body: BodyModel) -> str:
    """Sentence on a mismatch between the weights' shape space and the body; empty without one."""
    for_smplx = weights.body_convention == "smplx"
    if for_smplx and body.is_standin:
        return (
            "Shape is approximated: these weights predict SMPL-X shapes, and the stand-in body "
            "reproduces only height and build. Poses, hands and faces are unaffected; downloaded "
            "parameters are the network's own output."
        )
    if not for_smplx and not body.is_standin:
        return (
            "These weights were trained with the stand-in body, so the SMPL-X body has the right "
            "pose but not the person's build."
        )
    return ""
