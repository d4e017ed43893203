"""Sampling of cameras and of the positions and headings of people, for a batch of scenes.

World frame: y up, metres, the ground at y = 0, the camera above the origin looking along -z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import axis_rotation
from .rng import CounterRng, constant

NEAREST_M = 1.2
PAIR_SHARE = 0.12
_ARRANGEMENTS = ("scatter", "cluster", "row", "pair", "crowd")
# Rows by number of people: one, two to four, five or more.
_CHANCES = ((1, 0, 0, 0, 0), (0.36, 0.26, 0.18, 0.2, 0), (0.15, 0.25, 0.22, 0.08, 0.3))
_PUSHES = 8


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras with the principal point in the image centre.

    Attributes:
        rotation: (B, 3, 3) world -> camera frame (x right, y down, z forwards).
        position: (B, 3) metres, world frame.
        focal_length: (B,) pixels.
        distance: (B,) horizontal distance to the first person, metres.
    """

    rotation: Tensor
    position: Tensor
    focal_length: Tensor
    distance: Tensor

    def take(self, index: Tensor) -> Cameras:
        """Select cameras."""
        return Cameras(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class PersonLayout:
    """Positions of the people of B scenes, P slots per scene.

    Attributes:
        ground: (B, P, 2) world x and z, metres.
        yaw: (B, P) radians about the vertical axis; 0 faces the camera.
        partner: (B, P) slot of the person to touch with a hand, -1 for none.
    """

    ground: Tensor
    yaw: Tensor
    partner: Tensor


def sample_layout(
    rng: CounterRng, each: CounterRng, present: Tensor, extents_m: Tensor, size_hw: tuple[int, int]
) -> tuple[Cameras, PersonLayout]:
    """Sample cameras and the positions of all people.

    Args:
        rng: one key per scene.
        each: (B, P) one key per person.
        present: (B, P) bool, occupied slots; the first slots of every scene.
        extents_m: (B, P) largest extent of each person, metres.
        size_hw: image size, pixels.
    """
    count = present.sum(1)
    offsets, yaw, partner = _arrange(rng, each, present, count)
    offsets = _separate(offsets, present, partner)
    height, width = size_hw
    focal = _focal_length(rng, max(size_hw))
    main = torch.where(present[:, 0], extents_m[:, 0], 1.7)
    distance = focal * main / (_main_share(rng, count) * height)
    # Keep everyone in front of the camera, and most of a group inside the image.
    nearest = torch.where(present, offsets[..., 1], -9.0).amax(1)
    spread = torch.where(present, offsets[..., 0].abs(), 0.0).amax(1)
    distance = torch.maximum(distance, NEAREST_M + nearest.clamp_min(0))
    fits = rng.uniform("fits", low=0.45, high=1.1) * focal * spread * 2 / width
    distance = torch.maximum(distance, fits)
    share = focal * main / (distance * height)
    column = rng.uniform("column")
    column = torch.where(rng.bernoulli("edge", 0.2), column, 0.2 + 0.6 * column)
    column = torch.where(count > 2, 0.3 + 0.4 * column, column)
    across = (column - 0.5) * width / focal * distance
    ground = torch.stack(
        [across[:, None] + offsets[..., 0], offsets[..., 1] - distance[:, None]], -1
    )
    # A yaw of 0 faces the camera from the position of the person.
    yaw = yaw + torch.atan2(-ground[..., 0], -ground[..., 1])
    eye = _camera_height(rng, distance)
    row_px = height * _middle_row(rng, share)
    down = torch.atan2(eye - main / 2, distance) - torch.atan2(row_px - height / 2, focal)
    roll = rng.normal("roll")
    roll = torch.where(rng.bernoulli("tilted", 0.15), 0.3, 0.05) * roll
    flip = constant(((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)), focal.device)
    rotation = axis_rotation("Z", roll) @ axis_rotation("X", down) @ flip
    zero = torch.zeros_like(eye)
    return Cameras(rotation, torch.stack([zero, eye, zero], 1), focal, distance), PersonLayout(
        ground, yaw, partner
    )


def _arrange(
    rng: CounterRng, each: CounterRng, present: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets (B, P, 2) from the first person, yaw (B, P) and partners (B, P)."""
    people = present.shape[1]
    size = count.clamp_min(1).float().sqrt()[:, None]
    table = constant(_CHANCES, present.device)
    row_of = (count > 1).long() + (count > 4).long()
    kind = rng.choice("arrangement", table[row_of])[:, None]
    slot = torch.arange(people, device=present.device).float()
    x, z = each.uniform("x", low=-1, high=1), each.uniform("z", low=-1, high=1)
    g, h = each.normal("gx"), each.normal("gz")
    spacing = rng.uniform("spacing", 1, low=0.5, high=0.95)
    middle = ((slot + 1) / 2).floor() * (1 - 2 * (slot % 2))  # 0, -1, 1, -2, 2 ...
    layouts = [
        (1.3 * size * x, 1.2 * size * z),
        (0.4 * size * g, 0.4 * size * h),
        (spacing * middle, 0.12 * h),
        (torch.where(slot == 1, 0.8 * spacing, 1.6 * x * size), torch.where(slot == 1, 0.1 * h, z)),
        (0.75 * size * x, -1.4 * size * z.abs()),
    ]  # fmt: skip
    offsets = torch.zeros(*present.shape, 2, device=present.device)
    for number, (across, ahead) in enumerate(layouts):
        offsets = torch.where(
            (kind == number)[..., None], torch.stack([across, ahead], -1), offsets
        )
    offsets = torch.where((slot > 0)[:, None], offsets, 0.0)
    wild = each.uniform("any way", low=-math.pi, high=math.pi)
    tame = each.normal("towards", std=0.6)
    common = rng.uniform("common", 1, low=-math.pi, high=math.pi)
    together = rng.bernoulli("same way", 0.45)[:, None]
    yaw = torch.where(each.bernoulli("towards camera", 0.55), tame, wild)
    yaw = torch.where(together & (count > 1)[:, None], common + 0.4 * each.normal("nearly"), yaw)
    row_partner = (slot + 2 + 0 * x).long()  # next person on the same side of the row
    row_partner = torch.where(row_partner < count[:, None], row_partner, -1)
    pair_partner = torch.where(slot < 2, 1 - slot, -1).long() + 0 * row_partner
    embraced = rng.bernoulli("arms about", 0.3)[:, None]
    partner = torch.where(embraced & (kind == 2), row_partner, -1)
    partner = torch.where((kind == 3) & (count > 1)[:, None], pair_partner, partner)
    # A pair faces each other, or keeps its sampled headings.
    facing = rng.bernoulli("face to face", 0.5)[:, None] & (kind == 3) & (slot < 2)
    sides = torch.where(slot == 0, math.pi / 2, -math.pi / 2) + 0.3 * tame
    return offsets, torch.where(facing, sides, yaw), partner


def _separate(offsets: Tensor, present: Tensor, partner: Tensor) -> Tensor:
    """Push overlapping people apart; partners may stay closer."""
    people = present.shape[1]
    slot = torch.arange(people, device=present.device)
    close = partner[:, :, None] == slot
    wanted = torch.where(close | close.transpose(1, 2), 0.34, 0.5)
    both = present[:, :, None] & present[:, None] & (slot[:, None] != slot)
    # An index-dependent offset separates people at the same position.
    tie = 1e-3 * torch.stack([slot.float().sin(), slot.float().cos()], -1)
    for _ in range(_PUSHES):
        gap = (offsets + tie)[:, :, None] - (offsets + tie)[:, None]
        far = gap.norm(dim=-1).clamp_min(1e-4)
        push = 0.5 * (wanted - far).clamp_min(0) * both
        offsets = offsets + (gap / far[..., None] * push[..., None]).sum(2)
    return offsets - offsets[:, :1]


def _focal_length(rng: CounterRng, long_side: int) -> Tensor:
    """(B,) pixels; mostly fields of view of phones, also wide-angle and telephoto lenses."""
    low = constant((55.0, 30.0, 75.0, 12.0), rng.keys.device)
    high = constant((75.0, 55.0, 95.0, 30.0), rng.keys.device)
    lens = rng.choice("lens", (0.45, 0.3, 0.1, 0.15))
    cameras = rng.uniform("field of view", low=low[lens], high=high[lens])
    return long_side / (2 * torch.tan(torch.deg2rad(cameras) / 2))


def _main_share(rng: CounterRng, count: Tensor) -> Tensor:
    """(B,) height of the first person relative to the image height."""
    low = torch.where(count > 4, 0.14, torch.where(count > 1, 0.22, 0.27)).log()
    high = torch.where(count > 4, 0.75, torch.where(count > 1, 1.1, 1.35)).log()
    return rng.uniform("share", low=low, high=high).exp()


def _camera_height(rng: CounterRng, distance: Tensor) -> Tensor:
    """(B,) metres: at eye or hand height, near the ground, or above people."""
    kind, share = rng.uniform("kind of height"), rng.uniform("height")
    usual, low, high = 0.9 + 0.9 * share, 0.15 + 0.75 * share, 1.8 + share * (0.2 + 0.7 * distance)
    return torch.where(kind < 0.68, usual, torch.where(kind < 0.84, low, high.clamp_max(14)))


def _middle_row(rng: CounterRng, share: Tensor) -> Tensor:
    """(B,) image row of the centre of the first person, 0-1 of the image height."""
    place, noise = rng.uniform("row"), rng.normal("row noise", std=0.06)
    inside = share / 2 + place * (1 - share) + noise
    head = share / 2 - 0.08 + 0.2 * place
    feet = 1 - share / 2 - 0.1 + 0.25 * place
    near = torch.where(rng.bernoulli("head", 0.8), head, feet)
    return torch.where(share < 0.85, inside, near)
