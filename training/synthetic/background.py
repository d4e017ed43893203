"""Backgrounds: ray-cast rooms, streets, fields and studios, clutter textures, or photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .accessories import object_colours
from .background_textures import clutter_texture, photo_windows, sky_texture
from .layout import Cameras
from .noise import CLOUDS, cloud_at, clouds
from .raster_fill import active_indices
from .rng import CounterRng, constant

_ROOM, _STREET, _FIELD, _STUDIO, _CLUTTER = range(5)
_KIND_CHANCES = (0.34, 0.23, 0.22, 0.11, 0.1)
_TEXTURES = ("plain", "tiles", "planks", "checks", "bricks", "stripes", "windows", "patches")
_FLOOR_CHANCES = (0.35, 0.2, 0.17, 0.1, 0.06, 0.04, 0.0, 0.08)
_WALL_CHANCES = (0.4, 0.08, 0.06, 0.02, 0.14, 0.1, 0.06, 0.14)
_FACADE_CHANCES = (0.1, 0.04, 0.04, 0.02, 0.15, 0.05, 0.5, 0.1)
_FAR_M = 60.0
_TILE = 128
_SOILS = (
    (0.3, 0.42, 0.16), (0.68, 0.58, 0.42), (0.33, 0.33, 0.34), (0.88, 0.9, 0.94),
    (0.2, 0.38, 0.46), (0.45, 0.36, 0.26),
)  # fmt: skip
_PHOTO_SHARE = 0.7


@dataclass(frozen=True)
class Background:
    """Background of B images of P pixels.

    Attributes:
        albedo: (B, P, 3) 0-1.
        position: (B, P, 3) metres, world frame.
        normal: (B, P, 3) unit vectors, world frame.
        emissive: (B, P) bool, not shaded (sky, photos, clutter); shadows still darken it.
    """

    albedo: Tensor
    position: Tensor
    normal: Tensor
    emissive: Tensor


def pixel_rays(cameras: Cameras, size_hw: tuple[int, int]) -> Tensor:
    """(B, P, 3) ray of every pixel, camera frame, scaled to z = 1."""
    height, width = size_hw
    device = cameras.focal_length.device
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + (0.5 - height / 2),
        torch.arange(width, device=device) + (0.5 - width / 2),
        indexing="ij",
    )
    xy = torch.stack([x.flatten(), y.flatten()], -1) / cameras.focal_length[:, None, None]
    return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)


def sample_background(
    rng: CounterRng, cameras: Cameras, rays: Tensor, photos: Tensor | None, *, test: bool
) -> Background:
    """Sample backgrounds; if photos are given, 70 % of the scenes use one.

    Args:
        rng: one key per scene.
        cameras: the cameras.
        rays: (B, P, 3) pixel rays, world frame, scaled to a depth of 1.
        photos: (n, 3, 288, 288) uint8, or None.
        test: use the textures of the test set.
    """
    source = rng.child("backdrop")
    kind = source.choice("kind", _KIND_CHANCES)[:, None]
    position, surface = _surfaces(source, kind, cameras, rays)
    normal = _normals(surface, rays)
    clutter, sky = kind[:, 0] == _CLUTTER, surface == _SKY
    used = rng.bernoulli("photo", 0.0 if photos is None else _PHOTO_SHARE)

    def built(s: Tensor) -> Tensor:
        colours = _surface_colours(
            source.take(s), kind[s], surface[s], position[s], normal[s], test
        )
        painted = sky_texture(source.take(s), rays[s], sky[s], test)
        far = (position[s] - cameras.position[s, None]).norm(dim=-1)
        return _add_haze(source.take(s), torch.where(sky[s][..., None], painted, colours), far)

    albedo = _fill_scenes(torch.zeros_like(rays), ~(used | clutter), built)
    albedo = _fill_scenes(
        albedo, clutter & ~used, lambda s: clutter_texture(source.take(s), rays[s], test)
    )
    if photos is not None:
        albedo = _fill_scenes(
            albedo, used, lambda s: photo_windows(source.take(s), photos, cameras.take(s), rays[s])
        )
    return Background(albedo.clamp(0, 1), position, normal, sky | (clutter | used)[:, None])


def _fill_scenes(albedo: Tensor, used: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Replace the albedo (B, P, 3) of the scenes in `used` (B,) by the output of `draw`."""
    scenes = active_indices(used)
    if not len(scenes):
        return albedo
    new = torch.where(used[scenes, None, None], draw(scenes), albedo[scenes])
    return albedo.index_put((scenes,), new)


_NORMALS = ((0, 1, 0), (0, 0, 1), (1, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 1, 0))
_GROUND, _BACK, _LEFT, _RIGHT, _TOP, _SKY = range(6)


def _surfaces(
    source: CounterRng, kind: Tensor, cameras: Cameras, rays: Tensor
) -> tuple[Tensor, Tensor]:
    """First plane hit by every ray: (B, P, 3) position and (B, P) plane."""
    eye = cameras.position[:, None, 1]
    x, y, z = rays.unbind(-1)
    room = (kind == _ROOM) | (kind == _STUDIO)
    back = cameras.distance + source.uniform("back", low=0.8, high=7.0)
    street = cameras.distance + source.uniform("street", low=4.0, high=40.0)
    back = torch.where(room[:, 0], back, street)[:, None]
    half = torch.where(room[:, 0], source.uniform("half", low=1.8, high=5.0),
                       source.uniform("pavement", low=3.0, high=12.0))[:, None]  # fmt: skip
    half = torch.maximum(half, 0.5 * cameras.distance[:, None])
    top = torch.maximum(source.uniform("top", 1, low=2.3, high=3.6), eye + 0.4)
    roof = source.uniform("roof", 1, low=4.0, high=15.0)
    far = torch.full_like(x, _FAR_M)

    def hit_distance(step: Tensor, distance: Tensor) -> Tensor:
        return torch.where(step > 1e-4, distance / step.clamp_min(1e-4), far).clamp_max(_FAR_M)

    built = room | (kind == _STREET)
    endless = torch.where(built, 0.0, _FAR_M)
    hits = torch.stack(
        [
            hit_distance(-y, eye),
            hit_distance(-z, back) + endless,
            hit_distance(-x, half) + torch.where(kind == _STUDIO, _FAR_M, endless),
            hit_distance(x, half) + torch.where(kind == _STUDIO, _FAR_M, endless),
            hit_distance(y, top - eye) + torch.where(kind == _ROOM, 0.0, _FAR_M),
        ]
    )
    reach, surface = hits.min(0)
    position = cameras.position[:, None] + rays * reach[..., None]
    above = ~room & (surface > _GROUND) & (position[..., 1] > roof)
    return position, torch.where((reach >= _FAR_M) | above, _SKY, surface)


def _normals(surface: Tensor, rays: Tensor) -> Tensor:
    return constant(_NORMALS, rays.device)[surface]


def _surface_colours(
    source: CounterRng, kind: Tensor, surface: Tensor, position: Tensor, normal: Tensor, test: bool
) -> Tensor:
    """(B, P, 3) albedo of floors, walls, facades and ceilings."""
    each = source.split("surfaces", 6)
    walls = each.choice("wall", _WALL_CHANCES)
    facades = each.choice("facade", _FACADE_CHANCES)
    texture = torch.where(kind == _STREET, facades, walls)
    floor = each.choice("floor", _FLOOR_CHANCES)[:, :1]
    texture = torch.cat(
        [floor, texture[:, 1:2].expand(-1, 3), torch.zeros_like(floor).expand(-1, 2)], 1
    )
    texture = torch.where(kind == _FIELD, 0, texture)
    scale = each.uniform("scale", low=-1.8, high=0.7).exp()
    scale = torch.where(texture == _TEXTURES.index("windows"), 1.2 + scale, scale)
    ratio = each.uniform("ratio", low=0.3, high=2.0)
    colours = object_colours(each.child("colours"), 2) * 0.75 + 0.15
    colours = torch.where((kind == _FIELD)[..., None, None], _soil_colours(each), colours)
    contrast = each.uniform("contrast", low=0.15, high=1.0)
    second = torch.lerp(colours[..., 0, :], colours[..., 1, :], contrast[..., None])
    rough = each.uniform("rough", 2).prod(-1) * 0.5
    rough = torch.where(kind == _FIELD, 0.25 + rough, rough)
    u = torch.where(normal[..., 0].abs() > 0.5, position[..., 2], position[..., 0])
    v = torch.where(normal[..., 1].abs() > 0.5, position[..., 2], position[..., 1])
    which = each.choice("cloud", (1.0,) * CLOUDS)
    # One gather for all surface attributes of a pixel.
    numbers = torch.stack([texture, which], -1).float()
    lengths = torch.stack([1 / scale, 1 / (scale * ratio), rough], -1)
    attributes = torch.cat([numbers, lengths, colours[..., 0, :], second - colours[..., 0, :]], -1)
    row = surface + 6 * torch.arange(len(surface), device=surface.device)[:, None]
    attribute = attributes.flatten(0, 1).T.contiguous().index_select(1, row.flatten())
    attribute = attribute.view(-1, *surface.shape)
    mask = _texture(attribute[0].long(), u * attribute[2], v * attribute[3], test)
    fine = cloud_at(clouds(test, position.device), attribute[1].long(), u * 45, v * 45)
    bright = (1 + 1.4 * attribute[4] * fine).clamp(0.2, 1.8)
    return torch.stack(
        [(attribute[5 + k] + mask * attribute[8 + k]) * bright for k in range(3)], -1
    )


def _soil_colours(each: CounterRng) -> Tensor:
    """(B, 6, 2, 3) colours of lawn, sand, asphalt, snow or water."""
    table = constant(_SOILS, each.keys.device)
    soil = table[each.choice("soil", (3, 1.5, 1.5, 1.5, 1.2, 1))]
    return soil[..., None, :] * each.uniform("soil shade", 2, 1, low=0.6, high=1.25)


@lru_cache(maxsize=4)
def _tiles(device: torch.device) -> Tensor:
    """(8 * 128 * 128,) share of the second colour in 2 x 2 cells of each texture."""
    step = (torch.arange(_TILE) + 0.5) / _TILE * 2
    a, b = torch.meshgrid(step, step, indexing="ij")
    in_a, in_b = a % 1, b % 1
    shifted = (a + 0.5 * b.floor()) % 1
    tiles = {
        "plain": torch.zeros_like(a),
        "tiles": (in_a < 0.05) | (in_b < 0.05),
        "planks": (in_a < 0.03) + 0.3 * a.floor(),
        "checks": (a.floor() + b.floor()) % 2,
        "bricks": (shifted < 0.06) | (in_b < 0.12),
        "stripes": in_a < 0.5,
        "windows": (in_a > 0.28) & (in_a < 0.75) & (in_b > 0.2) & (in_b < 0.8),
        "patches": (in_a > 0.15) & (in_a < 0.85) & (in_b > 0.2),
    }
    return torch.stack([tiles[name].float() for name in _TEXTURES]).flatten().to(device)


def _texture(texture: Tensor, a: Tensor, b: Tensor, test: bool) -> Tensor:
    """(B, P) share of the second colour at texture coordinates a, b, in cells."""
    column = (a * (_TILE // 2)).floor().long() & (_TILE - 1)
    line = (b * (_TILE // 2)).floor().long() & (_TILE - 1)
    share = _tiles(a.device)[(texture * _TILE + column) * _TILE + line]
    noise = cloud_at(clouds(test, a.device), 1, a.floor() * 7, b.floor() * 13) * 0.5 + 0.5
    # Windows vary in brightness, and some patches are missing.
    windows, patches = (texture == _TEXTURES.index(name) for name in ("windows", "patches"))
    factor = torch.where(windows, 0.6 + 0.4 * noise, 1.0)
    factor = torch.where(patches, (noise > 0.6) * noise, factor)
    return (share * factor).clamp(0, 1)


def _add_haze(source: CounterRng, albedo: Tensor, distance: Tensor) -> Tensor:
    """Blend towards grey with distance, in half of the scenes."""
    reach = source.uniform("haze", 1, low=2.5, high=5.0).exp()
    reach = torch.where(source.bernoulli("hazy", 0.5)[:, None], reach, 1e4)
    fade = torch.exp(-distance / reach)[..., None]
    return albedo * fade + 0.75 * (1 - fade)
