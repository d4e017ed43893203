"""From posed people and the drawn picture to `Targets`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..targets import BODY_KEYPOINTS, Targets, joint_keypoints
from .raster import Composite
from .surface import BodySurface

MIN_VISIBLE_SHARE = 0.1
MIN_VISIBLE_PX = 30
MIN_INSIDE_SHARE = 0.06
_PART_VISIBLE = 0.35
_FACE = slice(76, 144)
_FACE_MARGIN = 1.15
_PART_MIN_PX = 1.5
_EDGE_PX = 4.0
_NEAR_M = 0.05


@dataclass(frozen=True)
class PosedPeople:
    """P people in the camera frame.

    Attributes:
        vertices: (P, V, 3) metres.
        joints_3d: (P, 144, 3) metres.
        parameters: `Targets` fields from `global_orient` to `transl`, each with a leading P.
    """

    vertices: Tensor
    joints_3d: Tensor
    parameters: dict[str, Tensor]


def project(points: Tensor, focal_length: float, size_hw: tuple[int, int]) -> Tensor:
    """Camera frame (..., 3) -> pixels (..., 2); points behind the lens land far outside."""
    middle = torch.tensor([size_hw[1] / 2, size_hw[0] / 2])
    depth = points[..., 2:]
    pixels = points[..., :2] / depth.clamp_min(_NEAR_M) * focal_length + middle
    return torch.where(depth > _NEAR_M, pixels, torch.full_like(pixels, -1e4))


def build_targets(
    people: PosedPeople,
    picture: Composite,
    body: BodySurface,
    focal_length: float,
    size_hw: tuple[int, int],
) -> Targets:
    """Labels of everyone who can be seen well enough."""
    count = len(people.vertices)
    if not count:
        return Targets.empty(focal_length=focal_length)
    size = torch.tensor([size_hw[1], size_hw[0]], dtype=torch.float32)
    vertices = project(people.vertices, focal_length, size_hw)
    joints = project(people.joints_3d, focal_length, size_hw)
    joints_norm = joints / size
    share = picture.visible_px / picture.total_px.clamp_min(1)
    boxes, _ = _boxes(vertices, people.vertices[..., 2], size)
    parts = {
        f"{side}_hand": _part(people.vertices[:, index], vertices[:, index], picture, size, 0.05)
        for side, index in body.hand_vertices.items()
    }
    face = people.joints_3d[:, _FACE]
    parts["face"] = _part(face, joints[:, _FACE], picture, size, 0.035, margin=_FACE_MARGIN)
    labels = {
        **joint_keypoints(joints_norm),
        **people.parameters,
        "boxes": boxes,
        "box_valid": torch.ones(count, dtype=torch.bool),
        "smplx_valid": torch.ones(count, dtype=torch.bool),
        "joints_3d_valid": torch.ones(count, dtype=torch.bool),
        "keypoints_occluded": _occluded(joints[:, list(BODY_KEYPOINTS)], picture),
        "joints_3d": people.joints_3d,
        "joints_2d": joints_norm,
        "visible_share": share,
    }
    for name, (box, valid) in parts.items():
        labels |= {f"{name}_boxes": box, f"{name}_box_valid": valid}
        # A part that cannot be seen does not teach its pose.
        shown = ("jaw_pose", "expression") if name == "face" else (f"{name}_pose",)
        labels |= {f"{parameter}_valid": valid for parameter in shown}
    inside = ((vertices >= 0) & (vertices <= size)).all(-1).float().mean(1)
    kept = (
        (share >= MIN_VISIBLE_SHARE)
        & (picture.visible_px >= MIN_VISIBLE_PX)
        & (inside >= MIN_INSIDE_SHARE)
    )
    return replace(Targets.unannotated(count, focal_length=focal_length), **labels).select(kept)


def _boxes(
    pixels: Tensor, depth: Tensor, size: Tensor, margin: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Extent of what lies in the picture of (P, N, 2) pixels.

    Points just outside count, so that a cut body reaches the edge of the picture.

    Returns:
        (P, 4) cxcywh in 0-1 and (P, 2) width and height in pixels, all zero for those outside.
    """
    inside = (pixels > -_EDGE_PX) & (pixels < size + _EDGE_PX)
    inside = (inside.all(-1) & (depth > _NEAR_M))[..., None]
    low = torch.where(inside, pixels, torch.inf).amin(1)
    high = torch.where(inside, pixels, -torch.inf).amax(1)
    middle, half = (low + high) / 2, (high - low) / 2 * margin
    low = torch.minimum((middle - half).clamp_min(0), size)
    high = torch.minimum((middle + half).clamp_min(0), size)
    missing = ~inside.any(1)
    extent = (high - low).masked_fill(missing, 0.0)
    centre = ((low + high) / 2).masked_fill(missing, 0.0)
    return torch.cat([centre / size, extent / size], -1), extent


def _part(
    points: Tensor,
    pixels: Tensor,
    picture: Composite,
    size: Tensor,
    tolerance_m: float,
    margin: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Box and validity of a part, from its points (P, N, 3) and their pixels (P, N, 2)."""
    box, extent = _boxes(pixels, points[..., 2], size, margin)
    column, row, inside = _cells(pixels, picture)
    people = torch.arange(len(points))[:, None]
    mine = picture.owner[row, column] == people
    front = points[..., 2] < picture.depth[row, column] + tolerance_m
    seen = (inside & mine & front).float().sum(1)
    enough = seen >= _PART_VISIBLE * inside.sum(1).clamp_min(1)
    touches = inside.float().mean(1) > 0.2
    return box, enough & touches & (extent.amin(1) >= _PART_MIN_PX)


def _occluded(pixels: Tensor, picture: Composite) -> Tensor:
    """(P, K) bool: another person or thing is drawn where the joint is."""
    column, row, inside = _cells(pixels, picture)
    owner = picture.owner[row, column]
    return inside & (owner != torch.arange(len(pixels))[:, None]) & (owner >= 0)


def _cells(pixels: Tensor, picture: Composite) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row (clamped) and whether inside, of (..., 2) pixels."""
    height, width = picture.owner.shape
    column, row = pixels.floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return column.clamp(0, width - 1), row.clamp(0, height - 1), inside
