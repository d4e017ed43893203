"""Table of the SMPL-X parameters of one person."""

from __future__ import annotations

from html import escape

import numpy as np

from ..body.kinematics import JOINT_NAMES
from ..descriptions import person_name
from ..prediction import Prediction

_BODY_JOINTS = slice(1, 22)
_HAND_JOINTS = 25
"""Number of joints before the fingers: body, jaw and two eyes."""


def parameter_rows(prediction: Prediction, index: int) -> list[tuple[str, str, list[float]]]:
    """Return group, name and values of every parameter of a person.

    Rotations are axis-angle in degrees, relative to the parent joint (fingers: to the mean hand).
    Positions are metres in the camera frame (x right, y down, z forward).
    """
    people = prediction.people
    fingers = JOINT_NAMES[_HAND_JOINTS:]
    half = len(fingers) // 2

    def joints(group: str, names: tuple[str, ...], pose: np.ndarray) -> list[tuple]:
        degrees = np.degrees(pose[index].reshape(-1, 3)).tolist()
        return [(group, name, turn) for name, turn in zip(names, degrees, strict=True)]

    return [
        ("Position (m)", "pelvis", prediction.joints_3d[index, 0].tolist()),
        ("Position (m)", "transl", people.transl[index].tolist()),
        ("Camera", "weak_camera s, tx, ty", people.weak_camera[index].tolist()),
        ("Shape", "betas", people.betas[index].tolist()),
        ("Shape", "expression", people.expression[index].tolist()),
        *joints("Body (degrees)", ("global_orient",), people.global_orient),
        *joints("Body (degrees)", JOINT_NAMES[_BODY_JOINTS], people.body_pose),
        *joints("Face (degrees)", ("jaw",), people.jaw_pose),
        *joints("Left hand (degrees)", fingers[:half], people.left_hand_pose),
        *joints("Right hand (degrees)", fingers[half:], people.right_hand_pose),
    ]


def parameters_html(prediction: Prediction, index: int) -> str:
    """Return the table as HTML, with a heading for each group."""
    parts, group = [], ""
    for this_group, name, values in parameter_rows(prediction, index):
        if this_group != group:
            group = this_group
            parts.append(f'<tr><th scope="rowgroup" colspan="2">{escape(group)}</th></tr>')
        numbers = " ".join(f"<span>{value:.2f}</span>" for value in values)
        label = escape(name.replace("_", " "))
        parts.append(f'<tr><th scope="row">{label}</th><td>{numbers}</td></tr>')
    return (
        '<div class="aios-parameters" tabindex="0"><table>'
        f"<caption>SMPL-X parameters of {person_name(index)}</caption>"
        f"<tbody>{''.join(parts)}</tbody></table></div>"
    )
