"""The surface that moves with a skeleton: the stand-in's skin, or a figure of bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..body.file import read_body_file
from ..body.skeleton import PARENTS, Rig, build_rig, rest_parameters
from ..predictor import AiOSPredictor
from ..resources import STANDIN_BODY

_INFLUENCES = 4
_THICKNESS = 0.12


@dataclass(frozen=True)
class Skin:
    """A surface that follows the joints.

    Attributes:
        vertices: (V, 3) float32 metres, in the rest pose.
        faces: (F, 3) int64.
        joints: (V, 4) uint16, which joints move each vertex.
        weights: (V, 4) float32, how much, 1 in all.
        expressions: (E, V, 3) float32, how the surface changes with each coefficient of the
            expression; E is 0 or 10.
    """

    vertices: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    expressions: np.ndarray


def build_skin(predictor: AiOSPredictor, betas: np.ndarray) -> Skin:
    """The surface of one person of shape `betas` (10,).

    On the stand-in that is its own skin with its expressions.  SMPL-X's skin would hand on the
    model itself, which its licence reserves: in its place each bone gets a solid of its own, and
    the skeleton is SMPL-X's.
    """
    if not predictor.body.is_standin:
        return bone_figure(build_rig(predictor, betas))
    shapes = rest_parameters(predictor, np.repeat(np.atleast_2d(betas), 11, 0))
    shapes["expression"] = torch.cat([torch.zeros(1, 10), torch.eye(10)]).to(predictor.device)
    surfaces = predictor.body(shapes).vertices.cpu().numpy()
    weights = read_body_file(STANDIN_BODY).arrays["weights"]
    order = np.argsort(-weights, 1, kind="stable")[:, :_INFLUENCES]
    strongest = np.take_along_axis(weights, order, 1)
    strongest /= strongest.sum(1, keepdims=True)
    order[strongest == 0] = 0
    return Skin(
        surfaces[0],
        predictor.body.faces,
        order.astype(np.uint16),
        strongest.astype(np.float32),
        surfaces[1:] - surfaces[0],
    )


def bone_figure(rig: Rig) -> Skin:
    """A double pyramid along each bone, from parent to child."""
    vertices, owners = [], []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            continue
        start, end = rig.joints[parent], rig.joints[joint]
        length = np.linalg.norm(end - start)
        along = (end - start) / max(length, 1e-9)
        side = np.cross(along, np.eye(3)[np.abs(along).argmin()])
        side *= _THICKNESS * length / np.linalg.norm(side)
        other = np.cross(along, side)
        middle = start + 0.2 * (end - start)
        ring = [middle + side, middle + other, middle - side, middle - other]
        corners = np.array([start, *ring, end])
        faces = [(0, 2, 1), (0, 3, 2), (0, 4, 3), (0, 1, 4)]
        faces += [(5, 1, 2), (5, 2, 3), (5, 3, 4), (5, 4, 1)]
        # Corners of their own for each face keep the edges sharp.
        vertices.append(corners[np.array(faces).reshape(-1)])
        owners.append(np.full(3 * len(faces), parent))
    points = np.concatenate(vertices).astype(np.float32)
    joints = np.zeros((len(points), _INFLUENCES), np.uint16)
    joints[:, 0] = np.concatenate(owners)
    weights = np.zeros((len(points), _INFLUENCES), np.float32)
    weights[:, 0] = 1.0
    triangles = np.arange(len(points)).reshape(-1, 3)
    return Skin(points, triangles, joints, weights, np.zeros((0, len(points), 3), np.float32))
