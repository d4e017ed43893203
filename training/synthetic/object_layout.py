"""Sampling and placement of scene objects, some of them in front of people."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .accessories import object_colours
from .anatomy import axis_rotation
from .object_models import OBJECT_MODELS
from .primitives import Primitives, row_table, rows_shown, rows_to_linear
from .rng import CounterRng, constant

_OBJECTS, _SLOTS = 9, 8


@lru_cache(maxsize=4)
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    models = list(OBJECT_MODELS.values())
    rows = row_table([rows for _, _, rows in models], _SLOTS)
    weights = torch.tensor([[weight, front] for weight, front, _ in models])
    return rows.to(device), weights[:, 0].to(device), weights[:, 1].to(device)


def sample_objects(
    rng: CounterRng, distance: Tensor, half_width: Tensor, occupied: tuple[Tensor, Tensor]
) -> Primitives:
    """Sample up to nine objects per scene; the first can stand between camera and first person.

    Args:
        rng: one key per scene.
        distance: (B,) distance to the first person, metres.
        half_width: (B,) half width of the view at a distance of 1 m, metres.
        occupied: (B, P, 2) world x and z of people, metres, and (B, P) bool mask of people.
    """
    rows, weights, front_weights = _tables(rng.keys.device)
    each = rng.split("things", _OBJECTS)
    number = torch.arange(_OBJECTS, device=rng.keys.device)
    is_front = (number == 0) & rng.bernoulli("front", 0.32)[:, None]
    weight = torch.where(is_front[..., None], front_weights, weights)
    model = each.choice("thing", weight)
    shown = is_front | ((number > 0) & (number <= rng.uniform("count", 1) ** 1.6 * _OBJECTS))
    depth = distance[:, None] * torch.exp(each.uniform("depth", low=-0.25, high=1.1))
    target, present = occupied[0][:, 0], occupied[1][:, :1]
    near = distance[:, None] * each.uniform("near", low=0.55, high=0.88)
    depth = torch.where(is_front, near, depth).clamp_min(0.8)
    across = each.uniform("across", low=-1.15, high=1.15) * half_width[:, None] * depth
    before = target[:, :1] * depth / distance[:, None] + each.normal("beside", std=0.3)
    across = torch.where(is_front & present, before, across)
    place = torch.stack([across, torch.zeros_like(depth), -depth], -1)
    # Objects keep a distance to people; the foreground object may come closer.
    gap = (place[:, :, None, ::2] - occupied[0][:, None]).norm(dim=-1)
    gap = gap.masked_fill(~occupied[1][:, None], 9.0).amin(-1) if gap.shape[-1] else depth
    shown = shown & ((gap > 0.7) | (is_front & (gap > 0.35)))
    facing = axis_rotation("Y", each.uniform("facing", high=2 * math.pi))
    facing = torch.where(
        is_front[..., None, None], axis_rotation("Y", each.normal("turned", std=0.3)), facing
    )
    size = each.uniform("size", low=0.75, high=1.25)[..., None, None]
    row = rows[model]
    linear = facing[:, :, None] @ rows_to_linear(row) * size[..., None]
    centre = place[:, :, None] + (facing[:, :, None] @ row[..., 1:4, None])[..., 0] * size
    colour = _colours(each).gather(2, row[..., 9].long()[..., None].expand(-1, -1, -1, 3))
    scene = torch.arange(len(distance), device=depth.device)[:, None, None].expand(row.shape[:3])
    return Primitives(
        kind=row[..., 0].long().flatten(),
        linear=linear.flatten(0, 2),
        centre=centre.flatten(0, 2),
        colour=colour.flatten(0, 2),
        shown=(shown[..., None] & rows_shown(row)).flatten(),
        scene=scene.flatten(),
        owner=torch.full((scene.numel(),), -1, device=depth.device),
    )


def _colours(each: CounterRng) -> Tensor:
    """(B, O, 5, 3) colour table: three object colours, bark, leaves."""
    shade = each.uniform("leaf", 1, low=0.4, high=1.3)
    leaf = constant((0.25, 0.4, 0.12), shade.device) * shade
    bark = constant((0.35, 0.27, 0.2), shade.device) * shade
    return torch.cat([object_colours(each, 3), bark[..., None, :], leaf[..., None, :]], -2)
