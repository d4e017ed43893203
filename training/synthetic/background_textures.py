"""Background textures without geometry: sky, clutter and photos."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .accessories import object_colours
from .layout import Cameras
from .noise import SIDE, cloud_at, clouds
from .raster_fill import active_indices
from .rng import CounterRng, constant

PHOTO_PX = 288


def sky_texture(source: CounterRng, rays: Tensor, sky: Tensor, test: bool) -> Tensor:
    """(B, P, 3) sky with clouds, and hills or trees at the horizon; zero outside `sky` (B, P)."""
    scenes = torch.arange(len(sky), device=sky.device)[:, None].expand_as(sky).flatten()
    pixel = active_indices(sky.flatten())
    scene = scenes[pixel]
    ray = rays.flatten(0, 1)[pixel]
    level = torch.hypot(ray[:, 0], ray[:, 2]).clamp_min(1e-3)
    height = ray[:, 1] / level
    around = torch.atan2(ray[:, 0], -ray[:, 2])
    grey = source.uniform("overcast", 1)
    blue = constant((0.35, 0.55, 0.85), grey.device) * source.uniform(
        "zenith", 1, low=0.6, high=1.2
    )
    zenith = torch.lerp(blue, torch.full_like(blue, 0.8), grey)
    share = (height * 1.8).clamp(0, 1)[:, None]
    colour = torch.lerp((0.4 * zenith + 0.6)[scene], zenith[scene], share)
    table = clouds(test, rays.device)
    zero = torch.zeros_like(scene)
    puff = cloud_at(table, 5, height * 120, around * 60 + height * 30)
    cover = source.uniform("cover", low=0.0, high=0.35)[scene]
    colour = colour + (cover * puff)[:, None]
    rough = source.uniform("ragged", low=0.02, high=0.14)[scene]
    start = source.uniform("start", high=SIDE)[scene]
    ridge = rough * (1.0 + cloud_at(table, 3, start + around * 40, zero))
    ridge = ridge + 0.3 * rough * cloud_at(table, 1, start + around * 250, zero)
    hill = object_colours(source.child("hill"), 1)[:, 0] * 0.5 + 0.1
    leaf = constant((0.22, 0.32, 0.16), hill.device) * source.uniform("leaf", 1, low=0.5, high=1.6)
    hill = torch.where(source.bernoulli("woods", 0.6)[:, None], leaf, hill)[scene]
    shade = 1 + 0.25 * cloud_at(table, 2, around * 400, height * 400)
    colour = torch.where((height < ridge)[:, None], hill * shade[:, None], colour)
    result = torch.zeros(rays.flatten(0, 1).shape, device=rays.device)
    return result.index_put((pixel,), colour).view_as(rays)


def clutter_texture(source: CounterRng, rays: Tensor, test: bool) -> Tensor:
    """(B, P, 3) overlapping flat shapes of many sizes and colours."""
    table = clouds(test, rays.device)
    x, y = rays[..., 0] / rays[..., 2].abs().clamp_min(0.1), rays[..., 1]
    colour = (object_colours(source.child("under"), 1) * 0.8 + 0.1).expand(*x.shape, 3)
    for layer in range(3):
        each = source.child("layer", layer)
        size = each.uniform("size", 1, low=-2.6, high=-0.6).exp()
        lean = each.uniform("lean", 1, high=math.pi)
        aspect = each.uniform("aspect", 1, low=0.4, high=2.0)
        u = (x * lean.cos() + y * lean.sin()) / size
        v = (y * lean.cos() - x * lean.sin()) / (size * aspect)
        cell_u, cell_v = u.floor(), v.floor()
        start = each.uniform("start", 1, high=SIDE)

        def pick(number: int, cells: tuple[Tensor, Tensor] = (cell_u, cell_v),
                 start: Tensor = start) -> Tensor:  # fmt: skip
            """Random value 0-1 per cell."""
            place = (cells[0] * 89 + start + 31 * number, cells[1] * 137 + 53 * number)
            return (cloud_at(table, number, *place) * 0.5 + 0.5).clamp(0, 1)

        off_u, off_v = u - cell_u - 0.5, v - cell_v - 0.5
        disc = off_u**2 + off_v**2 < 0.2
        box = (off_u.abs() < 0.42) & (off_v.abs() < 0.3)
        shape = torch.where(pick(0) < 0.4, disc, box) & (pick(1) < 0.45)
        paint = torch.stack([pick(number) for number in (2, 3, 4)], -1)
        colour = torch.where(shape[..., None], paint, colour)
    noise = cloud_at(table, 4, x * 150, y * 150)
    return colour * (1 + 0.15 * noise[..., None])


def photo_windows(source: CounterRng, photos: Tensor, cameras: Cameras, rays: Tensor) -> Tensor:
    """(B, P, 3) random crops of photos, mirrored with probability 0.5."""
    number = (source.uniform("which photo") * len(photos)).long()
    zoom = source.uniform("zoom", 1, low=0.45, high=1.0)
    flip = torch.where(source.bernoulli("flip", 0.5), -1.0, 1.0)[:, None]
    local = (rays @ cameras.rotation.transpose(1, 2))[..., :2] * cameras.focal_length[:, None, None]
    local = local / local.abs().amax((1, 2), keepdim=True)
    shift = source.uniform("shift", 2, low=-1, high=1) * (1 - zoom)
    u = local[..., 0] * zoom * flip + shift[:, :1]
    v = local[..., 1] * zoom + shift[:, 1:]
    chosen = photos[number].float() / 255
    shown = torch.nn.functional.grid_sample(
        chosen, torch.stack([u, v], -1)[:, None], padding_mode="reflection", align_corners=False
    )
    return shown[:, :, 0].transpose(1, 2) * source.uniform("bright", 1, 1, low=0.75, high=1.15)
