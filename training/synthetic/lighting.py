"""Light sources, shadow maps and shading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .raster import Triangles, rasterize
from .raster_fill import unpack
from .rng import CounterRng, constant

_LIGHT_M = 15.0
_MAP = 160
_BIAS_M = 0.05


@dataclass(frozen=True)
class Lighting:
    """A distant light and ambient light for each of B scenes, world frame.

    Attributes:
        direction: (B, 3) unit vector towards the light.
        colour: (B, 3) colour of the light.
        ambient: (B, 3) colour of the sky.
        darkness: (B,) 0-1, share of the light that a shadow removes.
        rotation: (B, 3, 3) world -> light frame (z points away from the light).
        position: (B, 3) of the light, metres.
        focal_length: (B,) of the shadow map, in its pixels.
    """

    direction: Tensor
    colour: Tensor
    ambient: Tensor
    darkness: Tensor
    rotation: Tensor
    position: Tensor
    focal_length: Tensor


def sample_lighting(rng: CounterRng, middle: Tensor, radius: Tensor) -> Lighting:
    """Sample lights whose shadow maps cover `radius` (B,) metres around `middle` (B, 3)."""
    azimuth = rng.uniform("lamp turn", high=2 * math.pi)
    elevation = rng.uniform("lamp height", low=0.3, high=1.45)
    direction = torch.stack(
        [azimuth.cos() * elevation.cos(), elevation.sin(), azimuth.sin() * elevation.cos()], -1
    )
    warm = rng.normal("warm", std=0.07)
    tint = torch.stack([1 + warm, torch.ones_like(warm), 1 - warm], -1)
    share = rng.uniform("sky", low=0.3, high=0.8)[:, None]
    side = torch.linalg.cross(
        direction, constant((0.3, 0.1, 0.95), direction.device).expand_as(direction)
    )
    side = torch.nn.functional.normalize(side, dim=-1)
    rotation = torch.stack([side, torch.linalg.cross(-direction, side), -direction], 1)
    return Lighting(
        direction,
        1.45 * (1 - share) * tint,
        share * (2 - tint),
        rng.uniform("darkness", low=0.35, high=1.0),
        rotation,
        middle + _LIGHT_M * direction,
        0.5 * _MAP * _LIGHT_M / radius,
    )


def render_shadow_map(groups: Sequence[Triangles], light: Lighting) -> Tensor:
    """Render the shadow map.

    Args:
        groups: triangles in the light frames.
        light: the lights.

    Returns:
        (B, 160 * 160) depth of the nearest surface, metres; infinite where there is none.
    """
    keys = None
    for triangles in groups:
        keys = rasterize(triangles, light.focal_length, (_MAP, _MAP), keys).keys
    assert keys is not None
    return unpack(keys)[1].view(len(light.direction), -1)


def light_visibility(positions: Tensor, depths: Tensor, light: Lighting) -> Tensor:
    """Share of the light that reaches points, with percentage-closer filtering.

    Args:
        positions: (B, P, 3) metres, world frame.
        depths: (B, 160 * 160) from `render_shadow_map`.
        light: lights of the B scenes.

    Returns:
        (B, P) 0-1.
    """
    away = positions - light.position[:, None]
    across, along, z = (light.rotation @ away.transpose(1, 2)).unbind(1)
    z = z.clamp_min(0.1)
    scale = light.focal_length[:, None] / z
    x, y = across * scale + (_MAP / 2 - 0.5), along * scale + (_MAP / 2 - 0.5)
    inside = (x > 0) & (x < _MAP - 1) & (y > 0) & (y < _MAP - 1)
    x, y = x.clamp(0, _MAP - 1.001), y.clamp(0, _MAP - 1.001)
    column, line = x.floor(), y.floor()
    share_x, share_y = x - column, y - line
    cell = (line * _MAP + column).long()
    shadow = torch.zeros_like(z)
    for down in (0, 1):
        for right in (0, 1):
            near = depths.gather(1, cell + (down * _MAP + right)) + _BIAS_M < z
            weight_x = share_x if right else 1 - share_x
            weight_y = share_y if down else 1 - share_y
            shadow = shadow + near * weight_x * weight_y
    shadow = torch.where(inside, shadow, 0.0)
    return 1 - light.darkness[:, None] * shadow


def blinn_phong(
    albedo: Tensor, normal: Tensor, reached: Tensor, gloss: Tensor, sight: Tensor, light: Lighting
) -> Tensor:
    """Blinn-Phong shading.

    Args:
        albedo: (B, P, 3) 0-1.
        normal: (B, P, 3) unit vectors, world frame.
        reached: (B, P) from `light_visibility`.
        gloss: (B, P) strength of the highlights.
        sight: (B, P, 3) unit vectors towards the camera.
        light: lights of the B scenes.

    Returns:
        (B, P, 3) linear RGB.
    """
    direction = light.direction[..., None]
    facing = (normal @ direction)[..., 0]
    diffuse = (facing * 0.88 + 0.12).clamp_min(0) * reached
    sky = 0.72 + 0.28 * normal[..., 1]
    # Cosine between the normal and the half vector of light and camera.
    (nx, ny, nz), (sx, sy, sz) = normal.unbind(-1), sight.unbind(-1)
    halfway = facing + nx * sx + ny * sy + nz * sz
    halfway = halfway / (2 + 2 * (sight @ direction)[..., 0]).clamp_min(1e-3).sqrt()
    shine = gloss * reached * halfway.clamp(0, 1) ** 24
    glow = diffuse[..., None] * light.colour[:, None] + sky[..., None] * light.ambient[:, None]
    return albedo * glow + shine[..., None] * light.colour[:, None]
