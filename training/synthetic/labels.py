"""Ground-truth labels from posed people and rendered visibility."""

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
    """N people in their camera frames.

    Attributes:
        scene: (N,) int64 image of each person, ascending.
        vertices: (N, V, 3) skin including clothing offsets, metres.
        joints_3d: (N, 144, 3) metres.
        parameters: `Targets` fields from `global_orient` to `transl`, each with leading size N.
    """

    scene: Tensor
    vertices: Tensor
    joints_3d: Tensor
    parameters: dict[str, Tensor]


@dataclass(frozen=True)
class VisibilityBuffer:
    """Visibility per pixel of B images.

    Attributes:
        owner: (B, H, W) int64 person 0..N-1, -1 for an object, -2 for the background.
        depth: (B, H, W) float32 metres, infinite on the background.
        total_px: (N,) float32 pixels that each person covers without occlusion.
        visible_px: (N,) float32 visible pixels of each person.
    """

    owner: Tensor
    depth: Tensor
    total_px: Tensor
    visible_px: Tensor


def project(points: Tensor, focal_length: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Project points (N, K, 3), camera frame, to pixels (N, K, 2) with focal lengths (N,).

    Points behind the camera map to (-1e4, -1e4).
    """
    middle = constant((size_hw[1] / 2, size_hw[0] / 2), points.device)
    depth = points[..., 2:]
    pixels = points[..., :2] / depth.clamp_min(_NEAR_M) * focal_length[:, None, None] + middle
    return torch.where(depth > _NEAR_M, pixels, torch.full_like(pixels, -1e4))


def label_people(
    people: PosedPeople, visibility: VisibilityBuffer, body: BodySurface, focal_length: Tensor
) -> tuple[Targets, Tensor, Tensor]:
    """Compute the labels of all people.

    Args:
        people: N people.
        visibility: rendered visibility.
        body: the body.
        focal_length: (B,) pixels.

    Returns:
        Targets of all N people; (N,) bool, visible enough to be a training target; (N, 144) bool,
        the joint is occluded by another person or an object.
    """
    size_hw = (visibility.owner.shape[1], visibility.owner.shape[2])
    focal = focal_length[people.scene]
    size = constant((size_hw[1], size_hw[0]), focal.device)
    vertices = project(people.vertices, focal, size_hw)
    joints = project(people.joints_3d, focal, size_hw)
    share = visibility.visible_px / visibility.total_px.clamp_min(1)
    boxes, _ = _boxes(vertices, people.vertices[..., 2], size)
    lookup = _PixelLookup(visibility, people.scene)
    parts = {
        f"{side}_hand": _part(people.vertices[:, index], vertices[:, index], lookup, size, 0.05)
        for side, index in body.hand_vertices.items()
    }
    face = people.joints_3d[:, _FACE]
    parts["face"] = _part(face, joints[:, _FACE], lookup, size, 0.035, margin=_FACE_MARGIN)
    everyone = torch.ones_like(share, dtype=torch.bool)
    occluded = is_occluded(people.joints_3d, joints, lookup)
    labels: dict[str, Any] = {
        **joint_keypoints(joints / size),
        **people.parameters,
        "boxes": boxes,
        "box_valid": everyone,
        "smplx_valid": everyone,
        "joints_3d_valid": everyone,
        "keypoints_occluded": occluded[:, constant(BODY_KEYPOINTS, occluded.device, torch.int64)],
        "joints_3d": people.joints_3d,
        "joints_2d": joints / size,
        "visible_share": share,
    }
    for name, (box, valid) in parts.items():
        labels |= {f"{name}_boxes": box, f"{name}_box_valid": valid}
        # The pose of an invisible part is not supervised.
        names = ("jaw_pose", "expression") if name == "face" else (f"{name}_pose",)
        labels |= {f"{parameter}_valid": valid for parameter in names}
    inside = ((vertices >= 0) & (vertices <= size)).all(-1).float().mean(1)
    kept = (
        (share >= MIN_VISIBLE_SHARE)
        & (visibility.visible_px >= MIN_VISIBLE_PX)
        & (inside >= MIN_INSIDE_SHARE)
    )
    with share.device:  # default device of new tensors
        targets = Targets.unannotated(len(share))
    return replace(targets, **labels), kept, occluded


class _PixelLookup:
    """Look-up of rendered pixels for the image of each person."""

    def __init__(self, visibility: VisibilityBuffer, scene: Tensor) -> None:
        self._owner, self._depth = visibility.owner.flatten(), visibility.depth.flatten()
        self.size_hw = (visibility.owner.shape[1], visibility.owner.shape[2])
        self._start = scene[:, None] * (self.size_hw[0] * self.size_hw[1])

    def at(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Owner, depth and whether the pixel is inside the image, (N, K) each, at (N, K, 2)."""
        height, width = self.size_hw
        column, row = pixels.clamp(-1e6, 1e6).floor().long().unbind(-1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = self._start + row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return self._owner[index], self._depth[index], inside


def is_occluded(points: Tensor, pixels: Tensor, lookup: _PixelLookup) -> Tensor:
    """Whether points are occluded by another person or an object.

    Args:
        points: (N, K, 3) camera frame, metres.
        pixels: (N, K, 2) their projections.
        lookup: rendered visibility.

    Returns:
        (N, K) bool.
    """
    owner, depth, inside = lookup.at(pixels)
    other = owner != torch.arange(len(points), device=owner.device)[:, None]
    return inside & other & (owner > -2) & (depth < points[..., 2])


def _boxes(
    pixels: Tensor, depth: Tensor, size: Tensor, margin: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Bounding box of the points (N, K, 2), pixels, that lie inside the image.

    Points up to 4 px outside count as inside, to make boxes of truncated bodies reach the border.

    Returns:
        (N, 4) cxcywh in 0-1 and (N, 2) width and height in pixels; zero if no point is inside.
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
    lookup: _PixelLookup,
    size: Tensor,
    tolerance_m: float,
    margin: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Box (N, 4) and validity (N,) of a body part with points (N, K, 3) at pixels (N, K, 2)."""
    box, extent = _boxes(pixels, points[..., 2], size, margin)
    owner, depth, inside = lookup.at(pixels)
    mine = owner == torch.arange(len(points), device=owner.device)[:, None]
    front = points[..., 2] < depth + tolerance_m
    seen = (inside & mine & front).float().sum(1)
    enough = seen >= _PART_VISIBLE * inside.sum(1).clamp_min(1)
    touches = inside.float().mean(1) > 0.2
    return box, enough & touches & (extent.amin(1) >= _PART_MIN_PX)
