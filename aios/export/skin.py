"""Surface that follows a skeleton: the skin of the stand-in, or a figure of bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..body.file import read_body_file
from ..body.kinematics import PARENTS, RestPose, build_rest_pose, rest_parameters
from ..body.model import BodyModel
from ..resources import STANDIN_BODY

_INFLUENCES = 4
_NUM_EXPRESSIONS = 10
_BONE_THICKNESS = 0.12
"""Half width of a bone, relative to its length."""


@dataclass(frozen=True)
class Skin:
    """A skinned surface.

    Attributes:
        vertices: (V, 3) float32 metres, in the rest pose.
        faces: (F, 3) int64.
        joints: (V, 4) uint16, the joints that move each vertex.
        weights: (V, 4) float32 skinning weights, with sum 1 per vertex.
        expressions: (E, V, 3) float32 vertex offsets per expression coefficient; E is 0 or 10.
    """

    vertices: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    expressions: np.ndarray


def build_skin(body: BodyModel, betas: np.ndarray, from_official: bool) -> Skin:
    """Build the surface of a person.

    The stand-in gives its own skin and expressions.  The licence of SMPL-X forbids publishing the
    model, which its skin would do: an SMPL-X body gives one solid per bone of its skeleton.

    Args:
        body: the body model.
        betas: (10,) predicted shape coefficients.
        from_official: convention of `betas`, see `BodyModel.adapt`.
    """
    if not body.is_standin:
        return bone_figure(build_rest_pose(body, betas, from_official))
    shapes = np.repeat(np.atleast_2d(betas), _NUM_EXPRESSIONS + 1, 0)
    parameters = rest_parameters(body, shapes, from_official)
    units = torch.cat([torch.zeros(1, _NUM_EXPRESSIONS), torch.eye(_NUM_EXPRESSIONS)])
    parameters["expression"] = units.to(body.device)
    surfaces = body(parameters).vertices.cpu().numpy()
    weights = read_body_file(STANDIN_BODY).arrays["weights"]
    order = np.argsort(-weights, 1, kind="stable")[:, :_INFLUENCES]
    strongest = np.take_along_axis(weights, order, 1)
    strongest /= strongest.sum(1, keepdims=True)
    order[strongest == 0] = 0
    return Skin(
        surfaces[0],
        body.faces,
        order.astype(np.uint16),
        strongest.astype(np.float32),
        surfaces[1:] - surfaces[0],
    )


def bone_figure(rest: RestPose) -> Skin:
    """Build a double pyramid along each bone, from parent to child."""
    vertices, owners = [], []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            continue
        bone = _double_pyramid(rest.joints[parent], rest.joints[joint])
        vertices.append(bone)
        owners.append(np.full(len(bone), parent))
    points = np.concatenate(vertices).astype(np.float32)
    joints = np.zeros((len(points), _INFLUENCES), np.uint16)
    joints[:, 0] = np.concatenate(owners)
    weights = np.zeros((len(points), _INFLUENCES), np.float32)
    weights[:, 0] = 1.0
    triangles = np.arange(len(points)).reshape(-1, 3)
    return Skin(points, triangles, joints, weights, np.zeros((0, len(points), 3), np.float32))


def _double_pyramid(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Triangle corners (24, 3) of the solid between two joints (3,)."""
    length = np.linalg.norm(end - start)
    along = (end - start) / max(length, 1e-9)
    side = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    side *= _BONE_THICKNESS * length / np.linalg.norm(side)
    other = np.cross(along, side)
    middle = start + 0.2 * (end - start)
    ring = [middle + side, middle + other, middle - side, middle - other]
    corners = np.array([start, *ring, end])
    faces = [(0, 2, 1), (0, 3, 2), (0, 4, 3), (0, 1, 4)]
    faces += [(5, 1, 2), (5, 2, 3), (5, 3, 4), (5, 4, 1)]
    # Faces do not share corners: this keeps the edges sharp.
    return corners[np.array(faces).reshape(-1)]
