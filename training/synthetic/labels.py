"""From posed people and the drawn pictures to what is true of everyone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..targets import BODY_KEYPOINTS, Targets, joint_keypoints
from .rng import constant
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
    """N people in the frames of their cameras.

    Attributes:
        scene: (N,) int64 picture of each, ascending.
        vertices: (N, V, 3) metres, clothed skin.
        joints_3d: (N, 144, 3) metres.
        parameters: `Targets` fields from `global_orient` to `transl`, each with a leading N.
    """

    scene: Tensor
    vertices: Tensor
    joints_3d: Tensor
    parameters: dict[str, Tensor]


@dataclass(frozen=True)
class VisibilityBuffer:
    """Who is seen where in B pictures.

    Attributes:
        owner: (B, H, W) int64 person 0..N-1, -1 for a thing, -2 for the background.
        depth: (B, H, W) float32 metres, infinite on the background.
        total_px: (N,) float32 pixels of each person alone.
        visible_px: (N,) float32 pixels of each person that are seen.
    """

    owner: Tensor
    depth: Tensor
    total_px: Tensor
    visible_px: Tensor


def project(points: Tensor, focal_length: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Camera frame (N, K, 3) -> pixels (N, K, 2), focal lengths (N,).

    Points behind the lens land far outside.
    """
    middle = constant((size_hw[1] / 2, size_hw[0] / 2), points.device)
    depth = points[..., 2:]
    pixels = points[..., :2] / depth.clamp_min(_NEAR_M) * focal_length[:, None, None] + middle
    return torch.where(depth > _NEAR_M, pixels, torch.full_like(pixels, -1e4))


def label(
    people: PosedPeople, picture: VisibilityBuffer, body: BodySurface, focal_length: Tensor
) -> tuple[Targets, Tensor, Tensor]:
    """Labels of all people.

    Args:
        people: N of them.
        picture: what was drawn.
        body: their surface.
        focal_length: (B,) pixels.

    Returns:
        Everyone's; (N,) bool: can be seen well enough to be asked for; (N, 144) bool: another
        person or thing is in front of the joint.
    """
    size_hw = (picture.owner.shape[1], picture.owner.shape[2])
    focal = focal_length[people.scene]
    size = constant((size_hw[1], size_hw[0]), focal.device)
    vertices = project(people.vertices, focal, size_hw)
    joints = project(people.joints_3d, focal, size_hw)
    share = picture.visible_px / picture.total_px.clamp_min(1)
    boxes, _ = _boxes(vertices, people.vertices[..., 2], size)
    view = _View(picture, people.scene)
    parts = {
        f"{side}_hand": _part(people.vertices[:, index], vertices[:, index], view, size, 0.05)
        for side, index in body.hand_vertices.items()
    }
    face = people.joints_3d[:, _FACE]
    parts["face"] = _part(face, joints[:, _FACE], view, size, 0.035, margin=_FACE_MARGIN)
    yes = torch.ones_like(share, dtype=torch.bool)
    behind = hidden(people.joints_3d, joints, view)
    labels: dict[str, Any] = {
        **joint_keypoints(joints / size),
        **people.parameters,
        "boxes": boxes,
        "box_valid": yes,
        "smplx_valid": yes,
        "joints_3d_valid": yes,
        "keypoints_occluded": behind[:, constant(BODY_KEYPOINTS, behind.device, torch.int64)],
        "joints_3d": people.joints_3d,
        "joints_2d": joints / size,
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
    with share.device:  # what makes tensors makes them there
        everyone = Targets.unannotated(len(share))
    return replace(everyone, **labels), kept, behind


class _View:
    """Look-ups in the picture of each person."""

    def __init__(self, picture: VisibilityBuffer, scene: Tensor) -> None:
        self._owner, self._depth = picture.owner.flatten(), picture.depth.flatten()
        self.size_hw = (picture.owner.shape[1], picture.owner.shape[2])
        self._start = scene[:, None] * (self.size_hw[0] * self.size_hw[1])

    def at(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Owner, depth and whether inside, (N, K) each, at pixels (N, K, 2)."""
        height, width = self.size_hw
        column, row = pixels.clamp(-1e6, 1e6).floor().long().unbind(-1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = self._start + row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return self._owner[place], self._depth[place], inside


def hidden(points: Tensor, pixels: Tensor, view: _View) -> Tensor:
    """(N, K) bool: another person or thing is drawn where the point is, and nearer.

    Args:
        points: (N, K, 3) camera frame.
        pixels: (N, K, 2) where they are seen.
        view: the drawn pictures.
    """
    owner, depth, inside = view.at(pixels)
    other = owner != torch.arange(len(points), device=owner.device)[:, None]
    return inside & other & (owner > -2) & (depth < points[..., 2])


def _boxes(
    pixels: Tensor, depth: Tensor, size: Tensor, margin: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Extent of what lies in the picture of (N, K, 2) pixels.

    Points just outside count, so that a cut body reaches the edge of the picture.

    Returns:
        (N, 4) cxcywh in 0-1 and (N, 2) width and height in pixels, all zero for those outside.
    """
    inside = (pixels > -_EDGE_PX) & (pixels < size + _EDGE_PX)
    inside = (inside.all(-1) & (depth > _NEAR_M))[..., None]
    low = torch.where(inside, pixels, torch.inf).amin(1)
    high = torch.where(inside, pixels, -torch.inf).amax(1)
    middle, half = (low + high) / 2, (high - low) / 2 * margin
    low = torch.minimum((middle - half).clamp_min(0), size)
    high = torch.minimum((middle + half).clamp_min(0), size)
    missing = ~inside.any(1)
    extent = torch.where(missing, 0.0, high - low)
    centre = torch.where(missing, 0.0, (low + high) / 2)
    return torch.cat([centre / size, extent / size], -1), extent


def _part(
    points: Tensor,
    pixels: Tensor,
    view: _View,
    size: Tensor,
    tolerance_m: float,
    margin: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Box and validity of a part, from its points (N, K, 3) and their pixels (N, K, 2)."""
    box, extent = _boxes(pixels, points[..., 2], size, margin)
    owner, depth, inside = view.at(pixels)
    mine = owner == torch.arange(len(points), device=owner.device)[:, None]
    front = points[..., 2] < depth + tolerance_m
    seen = (inside & mine & front).float().sum(1)
    enough = seen >= _PART_VISIBLE * inside.sum(1).clamp_min(1)
    touches = inside.float().mean(1) > 0.2
    return box, enough & touches & (extent.amin(1) >= _PART_MIN_PX)
