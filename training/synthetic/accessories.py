"""Objects that people carry, wear or sit on, as primitives: rackets, bags, hats, skis, seats."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .primitives import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    Primitives,
    Row,
    row_table,
    rows_shown,
    rows_to_linear,
)
from .rng import CounterRng, constant

_ALONG = math.pi / 2  # rotates the y axis of a cylinder to z, the axis of a grip
_X, _Y = 0.085, -0.03  # centre of a grip relative to the left wrist in the T-pose, metres


def _rod(centre_z: float, half: float, radius: float, colour: float = 0) -> Row:
    return (CYLINDER, _X, _Y, centre_z, radius, half, radius, _ALONG, 0, colour)


HELD: dict[str, list[Row]] = {
    "": [],
    "any": [_rod(0.1, 0.12, 0.012)],
    "racket": [_rod(0.13, 0.18, 0.016), (CYLINDER, _X, _Y, 0.44, 0.12, 0.008, 0.16, 0, 0, 1)],
    "club": [_rod(0.42, 0.5, 0.01), (BOX, _X + 0.04, _Y, 0.92, 0.06, 0.03, 0.02, 0, 0, 1)],
    "bat": [_rod(0.12, 0.2, 0.018), _rod(0.5, 0.22, 0.032)],
    "stick": [_rod(-0.3, 0.55, 0.013)],
    "poles": [_rod(-0.45, 0.6, 0.01), _rod(0.0, 0.06, 0.018, 1), _rod(-0.98, 0.008, 0.05, 1)],
    "phone": [(BOX, _X, -0.035, 0.02, 0.072, 0.006, 0.036, 0, 0, 2)],
    "bag": [(BOX, 0.3, 0, 0, 0.15, 0.06, 0.16), (BOX, 0.13, 0, 0, 0.05, 0.01, 0.09, 0, 0, 1)],
    "box": [(BOX, 0.13, -0.15, 0.0, 0.16, 0.13, 0.18)],
    "ball": [(ELLIPSOID, 0.1, -0.12, 0.0, 0.1, 0.1, 0.1)],
    "disc": [(CYLINDER, 0.1, -0.04, 0.12, 0.13, 0.012, 0.13)],
    "bar": [_rod(0.0, 0.9, 0.014, 2), _rod(0.75, 0.04, 0.17), _rod(-0.75, 0.04, 0.17)],
    "cup": [_rod(0.02, 0.055, 0.035)],
    "umbrella": [_rod(0.3, 0.5, 0.01, 2), (ELLIPSOID, _X, _Y, 0.75, 0.5, 0.12, 0.5, _ALONG)],
    "book": [(BOX, 0.12, -0.06, 0.0, 0.1, 0.012, 0.13)],
}  # fmt: skip
HELD_NUMBER = {name: number for number, name in enumerate(HELD)}

HEADWEAR: dict[str, tuple[float, list[Row]]] = {
    "none": (0.62, []),
    "cap": (0.07, [(ELLIPSOID, 0, 0.09, 0.0, 0.09, 0.075, 0.112),
                   (CYLINDER, 0, 0.1, 0.12, 0.075, 0.006, 0.085, 0.15)]),
    "wide hat": (0.04, [(CYLINDER, 0, 0.11, 0.005, 0.18, 0.008, 0.19),
                        (CYLINDER, 0, 0.15, 0.0, 0.09, 0.06, 0.105)]),
    "helmet": (0.06, [(ELLIPSOID, 0, 0.095, -0.012, 0.104, 0.1, 0.124)]),
    "bun": (0.06, [(ELLIPSOID, 0, 0.11, -0.1, 0.05, 0.05, 0.045, 0, 0, 3)]),
    "top knot": (0.03, [(ELLIPSOID, 0, 0.18, -0.03, 0.045, 0.045, 0.045, 0, 0, 3)]),
    "ponytail": (0.08, [(ELLIPSOID, 0, 0.07, -0.105, 0.03, 0.035, 0.03, 0, 0, 3),
                        (ELLIPSOID, 0, -0.06, -0.135, 0.034, 0.15, 0.034, 0.12, 0, 3)]),
    "headphones": (0.03, [(ELLIPSOID, 0.09, 0.035, -0.01, 0.02, 0.042, 0.036, 0, 0, 2),
                          (ELLIPSOID, -0.09, 0.035, -0.01, 0.02, 0.042, 0.036, 0, 0, 2)]),
    "bow": (0.01, [(BOX, 0.0, 0.15, -0.02, 0.06, 0.03, 0.012)]),
}  # fmt: skip
HEADWEAR_NAMES = tuple(HEADWEAR)
_LENSES: list[list[Row]] = [
    [],
    [(ELLIPSOID, 0, 0.043, 0.086, 0.062, 0.02, 0.017, 0, 0, 2)],  # sunglasses
    [(ELLIPSOID, 0, 0.05, 0.07, 0.075, 0.035, 0.04)],  # goggles
]
_BACKPACKS: list[list[Row]] = [
    [],
    [(BOX, 0, -0.04, -0.16, 0.14, 0.2, 0.075)],
    [(ELLIPSOID, 0, -0.05, -0.15, 0.15, 0.22, 0.1)],
]
_FOOTWEAR: list[list[Row]] = [  # relative to the left ankle; a board has one row, on the left
    [],
    [(BOX, 0, -0.085, 0.1, 0.042, 0.012, 0.8)],
    [(BOX, -0.18, -0.09, 0.03, 0.75, 0.018, 0.16)],
    [(BOX, 0, -0.095, 0.04, 0.007, 0.03, 0.15, 0, 0, 2)],
]
_SEATS: list[list[Row]] = [  # relative to the ground below the pelvis, for a seat height of 1
    [],
    [(BOX, 0, 0.5, 0.05, 0.24, 0.5, 0.26)],
    [(BOX, 0, 0.96, 0.06, 0.23, 0.04, 0.24), (BOX, 0, 1.45, -0.19, 0.22, 0.45, 0.02),
     (CYLINDER, 0.2, 0.46, 0.26, 0.02, 0.46, 0.02, 0, 0, 1),
     (CYLINDER, -0.2, 0.46, 0.26, 0.02, 0.46, 0.02, 0, 0, 1),
     (CYLINDER, 0.2, 0.46, -0.15, 0.02, 0.46, 0.02, 0, 0, 1),
     (CYLINDER, -0.2, 0.46, -0.15, 0.02, 0.46, 0.02, 0, 0, 1)],
    [(BOX, 0, 0.95, 0.04, 0.9, 0.05, 0.22), (BOX, 0.6, 0.45, 0.04, 0.06, 0.45, 0.18, 0, 0, 1),
     (BOX, -0.6, 0.45, 0.04, 0.06, 0.45, 0.18, 0, 0, 1)],
    [(BOX, 0, 0.6, 0.05, 0.75, 0.38, 0.36), (BOX, 0, 1.1, -0.3, 0.75, 0.85, 0.1),
     (BOX, 0.8, 0.75, 0.05, 0.1, 0.75, 0.4, 0, 0, 1),
     (BOX, -0.8, 0.75, 0.05, 0.1, 0.75, 0.4, 0, 0, 1)],
    [(CYLINDER, 0, 0.95, 0.03, 0.2, 0.05, 0.2),
     (CYLINDER, 0, 0.45, 0.03, 0.03, 0.45, 0.03, 0, 0, 2),
     (CYLINDER, 0, 0.03, 0.03, 0.18, 0.03, 0.18, 0, 0, 2)],
]  # fmt: skip
_HAND_SLOTS, _HEAD_SLOTS, _SEAT_SLOTS = 3, 2, 6
_WRISTS, _HEAD, _CHEST, _ANKLES = (20, 21), 15, 9, (7, 8)


@lru_cache(maxsize=4)
def _tables(device: torch.device) -> dict[str, Tensor]:
    held, headwear = list(HELD.values()), [rows for _, rows in HEADWEAR.values()]
    tables = {
        "held": row_table(held, _HAND_SLOTS), "head": row_table(headwear, _HEAD_SLOTS),
        "lens": row_table(_LENSES, 1), "back": row_table(_BACKPACKS, 1),
        "foot": row_table(_FOOTWEAR, 1), "seat": row_table(_SEATS, _SEAT_SLOTS),
    }  # fmt: skip
    return {name: table.to(device) for name, table in tables.items()}


def sample_headwear(rng: CounterRng) -> tuple[Tensor, Tensor]:
    """Sample (N,) index into `HEADWEAR` and (N,) eyewear: 0 none, 1 sunglasses, 2 goggles."""
    headwear_kind = rng.choice("headwear", [share for share, _ in HEADWEAR.values()])
    return headwear_kind, rng.choice("lenses", (0.88, 0.08, 0.04))


def accessory_primitives(
    rng: CounterRng,
    held: Tensor,
    feet: Tensor,
    headwear: tuple[Tensor, Tensor],
    hair: Tensor,
    joint_frames: tuple[Tensor, Tensor],
    scene: Tensor,
) -> Primitives:
    """Build the objects that are attached to a body.

    Args:
        rng: one key per person.
        held: (N, 2) index into `HELD`, left and right hand.
        feet: (N,) index into `poses.FEET`.
        headwear: from `sample_headwear`.
        hair: (N, 3) hair colour.
        joint_frames: (N, 55, 3, 3) rotations relative to the T-pose and (N, 55, 3) joints, world
            frame.
        scene: (N,) scene of each person.
    """
    table = _tables(held.device)
    headwear_kind, lenses = headwear
    back = rng.choice("backpack", (0.9, 0.07, 0.03))
    size = rng.uniform("size of things", low=0.75, high=1.15)
    ball = (held == HELD_NUMBER["ball"]) & rng.bernoulli("small ball", 0.5)[:, None]
    groups = [
        (table["held"][held[:, 0]], _WRISTS[0], False, torch.where(ball[:, 0], 0.35, size)),
        (table["held"][held[:, 1]], _WRISTS[1], True, torch.where(ball[:, 1], 0.35, size)),
        (table["head"][headwear_kind], _HEAD, False, torch.ones_like(size)),
        (table["lens"][lenses], _HEAD, False, torch.ones_like(size)),
        (table["back"][back], _CHEST, False, size),
        (table["foot"][feet], _ANKLES[0], False, torch.ones_like(size)),
        (table["foot"][torch.where(feet == 2, 0, feet)], _ANKLES[1], True, torch.ones_like(size)),
    ]
    colours = _accessory_colours(rng, hair)
    parts = [_attached(*group, colours, joint_frames, scene) for group in groups]
    return Primitives.join(parts)


def _accessory_colours(rng: CounterRng, hair: Tensor) -> Tensor:
    """(N, 4, 3) colour table: two object colours, near black, hair colour."""
    colours = object_colours(rng.child("things"), 2)
    dark = rng.uniform("dark", 1, 1, high=0.12).expand(-1, 1, 3)
    return torch.cat([colours, dark, hair[:, None]], 1)


def object_colours(rng: CounterRng, count: int) -> Tensor:
    """Sample (..., count, 3) colours: greys, wood and saturated colours."""
    hue = rng.uniform("hue", count)[..., None] * 6 + constant((0.0, 4.0, 2.0), rng.keys.device)
    pure = ((torch.remainder(hue, 6) - 3).abs() - 1).clamp(0, 1)
    kind = rng.uniform("kind of colour", count)[..., None]
    saturation = rng.uniform("saturation", count)[..., None]
    saturation = torch.where(kind < 0.45, 0.12 * saturation, saturation)
    value = rng.uniform("value", count, low=0.05, high=0.98)[..., None]
    wood = constant((0.55, 0.36, 0.2), pure.device) * (0.4 + 1.2 * value)
    plain = value * (1 - saturation + saturation * pure)
    return torch.where((kind > 0.45) & (kind < 0.65), wood, plain).clamp(0, 1)


def _attached(
    rows: Tensor,
    joint: int,
    right: bool,
    size: Tensor,
    colours: Tensor,
    joint_frames: tuple[Tensor, Tensor],
    scene: Tensor,
) -> Primitives:
    """Attach rows (N, S, 10) to a joint; mirrored on the right side."""
    count, slots = rows.shape[:2]
    flip = constant((-1.0 if right else 1.0, 1.0, 1.0), rows.device)
    world, joints = joint_frames[0][:, None, joint], joint_frames[1][:, None, joint]
    centre = rows[..., 1:4] * size[:, None, None] * flip
    linear = flip[:, None] * rows_to_linear(rows) * flip * size[:, None, None, None]
    person = torch.arange(count, device=rows.device)[:, None].expand(count, slots)
    colour = colours.gather(1, rows[..., 9].long()[..., None].expand(-1, -1, 3))
    return Primitives(
        kind=rows[..., 0].long().flatten(),
        linear=(world @ linear).flatten(0, 1),
        centre=(joints + (world @ centre[..., None])[..., 0]).flatten(0, 1),
        colour=colour.flatten(0, 1),
        shown=rows_shown(rows).flatten(),
        scene=scene[:, None].expand(count, slots).flatten(),
        owner=person.flatten(),
    )


def seat_primitives(
    rng: CounterRng, support: Tensor, yaw: Tensor, pelvis: Tensor, extent: Tensor, scene: Tensor
) -> Primitives:
    """Build the seats and beds that people use.

    Args:
        rng: one key per person.
        support: (N,) index into `poses.SUPPORTS`.
        yaw: (N, 3, 3) person -> world, rotation about the vertical axis.
        pelvis: (N, 3) metres, world.
        extent: (N, 2) half width and half length of a bed in the person's frame, metres.
        scene: (N,) scene of each person.
    """
    count = len(support)
    kind = rng.choice("seat", (0.0, 0.25, 0.35, 0.15, 0.13, 0.12))
    rows = _tables(support.device)["seat"][torch.where(support == 1, kind, 0)].clone()
    height = (pelvis[:, 1] - 0.1).clamp_min(0.03)
    rows[..., 2] *= height[:, None]
    rows[..., 5] *= height[:, None]
    bed = (support == 2) & (height > 0.12)
    half = height * 0.48
    zero = torch.zeros_like(half)
    mattress = [zero, zero, half, zero, extent[:, 0], half, extent[:, 1], zero, zero, zero]
    rows[:, 0] = torch.where(bed[:, None], torch.stack(mattress, 1), rows[:, 0])
    ground = pelvis * constant((1.0, 0.0, 1.0), pelvis.device)
    colours = object_colours(rng.child("seat"), 2)
    colours = torch.cat([colours, 0.3 * colours[:, :1]], 1)
    slots = rows.shape[1]
    rotation = yaw[:, None]
    return Primitives(
        kind=rows[..., 0].long().flatten(),
        linear=(rotation @ rows_to_linear(rows)).flatten(0, 1),
        centre=(ground[:, None] + (rotation @ rows[..., 1:4, None])[..., 0]).flatten(0, 1),
        colour=colours.gather(1, rows[..., 9].long()[..., None].expand(-1, -1, 3)).flatten(0, 1),
        shown=rows_shown(rows).flatten(),
        scene=scene[:, None].expand(count, slots).flatten(),
        owner=torch.full((count * slots,), -1, device=rows.device),
    )
