"""Camera effects: antialiasing, blur, exposure, noise and JPEG compression."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .noise import SIDE, grain
from .rng import CounterRng, constant

_KERNEL = 7
_LUMA = (0.299, 0.587, 0.114)


def antialias(images: Tensor, labels: Tensor) -> Tensor:
    """Blur pixels at object boundaries with a 3 x 3 binomial filter.

    Args:
        images: (B, 3, H, W).
        labels: (B, H, W) region labels; boundaries are where they change.
    """
    around = torch.nn.functional.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    middle = around[:, 1:-1, 1:-1]
    edge = torch.zeros_like(middle, dtype=torch.bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        height, width = middle.shape[1:]
        edge |= around[:, down : down + height, right : right + width] != middle
    weights = constant(((1.0, 2.0, 1.0),), images.device)
    kernel = (weights.T @ weights / 16).expand(3, 1, 3, 3)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    soft = torch.nn.functional.conv2d(padded, kernel, groups=3)
    return torch.where(edge[:, None], soft, images)


def apply_camera_effects(rng: CounterRng, images: Tensor) -> Tensor:
    """Apply random camera effects.

    Args:
        rng: one key per image.
        images: (B, 3, H, W) float32 linear RGB, about 0-1.

    Returns:
        (B, 3, H, W) uint8 RGB 0-255.
    """
    source = rng.child("camera")
    images = _blur(source, images)
    images = _expose(source, images)
    images = _add_noise(source, images)
    grey = images.mean(1, keepdim=True)
    images = torch.where(source.bernoulli("grey", 0.06)[:, None, None, None], grey, images)
    return (
        (jpeg(images.clamp(0, 1), *_jpeg_settings(source)) * 255 + 0.5)
        .clamp(0, 255)
        .to(torch.uint8)
    )


def _blur(source: CounterRng, images: Tensor) -> Tensor:
    """Defocus or motion blur: one oriented Gaussian kernel per image."""
    count, _, height, width = images.shape
    kind = source.uniform("blur")
    wide = torch.where(kind < 0.45, source.uniform("defocus", low=0.3, high=1.2), 0.25)
    moved = kind > 0.93
    long = torch.where(moved, source.uniform("motion", low=1.2, high=2.6), wide)
    angle = source.uniform("direction", high=math.pi)
    step = torch.arange(_KERNEL, device=kind.device) - _KERNEL // 2
    y, x = torch.meshgrid(step, step, indexing="ij")
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    kernel = torch.exp(
        -0.5 * ((along / long[:, None, None]) ** 2 + (across / wide[:, None, None]) ** 2)
    )
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).repeat_interleave(3, 0)[:, None]
    reach = _KERNEL // 2
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="replicate")
    joined = padded.reshape(1, count * 3, height + 2 * reach, width + 2 * reach)
    return torch.nn.functional.conv2d(joined, kernel, groups=count * 3).view_as(images)


def _expose(source: CounterRng, images: Tensor) -> Tensor:
    """Auto-exposure, colour cast, gamma, haze and vignetting."""
    seen = images.clamp(0, 1.5).mean((1, 2, 3)).clamp_min(0.02)[:, None]
    aim = source.uniform("aim", 1, low=0.3, high=0.55)
    gain = (aim / seen) ** source.uniform("metered", 1, low=0.6, high=1.0)
    images = images * gain[:, :, None, None]
    gain = source.normal("gain", 1, std=0.15).exp() * source.normal("cast", 3, std=0.055).exp()
    level = source.normal("haze", 1, std=0.03).clamp_min(0)
    power = source.normal("gamma", std=0.18).exp()[:, None, None, None]
    height, width = images.shape[2:]
    y = torch.linspace(-1, 1, height, device=gain.device)[:, None]
    x = torch.linspace(-1, 1, width, device=gain.device)[None]
    corner = source.uniform("corners", 2).prod(-1)[:, None, None] * 0.5
    images = images * gain[:, :, None, None] * (1 - corner * (x**2 + y**2) / 2)[:, None]
    return images.clamp(1e-4, 2) ** power + level[:, :, None, None]


def _add_noise(source: CounterRng, images: Tensor) -> Tensor:
    """Sensor noise: luminance noise plus coloured noise."""
    count, _, height, width = images.shape
    strength = (-source.uniform("noise").log() * 0.018).clamp_max(0.07)
    strength = torch.where(source.bernoulli("clean", 0.3), 0.0, strength)
    table = grain(images.device)
    down = torch.arange(height, device=images.device)[:, None]
    right = torch.arange(width, device=images.device)[None]
    place = down * 257 + right  # an offset of 1 per row hides the tiling
    noises = []
    for number in range(2):
        start = (source.uniform(f"start {number}") * SIDE * SIDE).long()
        noises.append(table[number][(place + start[:, None, None]) & (SIDE * SIDE - 1)])
    bright, other = noises
    colour = source.uniform("colour noise", 3, low=-1, high=1)[:, :, None, None]
    noise = bright[:, None] + colour * other[:, None]
    return images + strength[:, None, None, None] * noise


def _jpeg_settings(source: CounterRng) -> tuple[Tensor, Tensor]:
    """Sample JPEG quality (B,) 1-100 and whether JPEG is applied (B,) bool."""
    return source.uniform("quality", low=25, high=96), source.bernoulli("jpeg", 0.6)


@lru_cache(maxsize=4)
def _jpeg_tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Discrete cosine transform (8, 8) and quantisation tables of luma and chroma (8, 8)."""
    k = torch.arange(8)[:, None]
    cosine = torch.cos((2 * torch.arange(8)[None] + 1) * k * math.pi / 16) / 2
    cosine[0] /= math.sqrt(2)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    # A smooth fit to the example tables of the JPEG standard (Annex K).
    luma = 10 + 1.1 * (row + column) + 0.95 * (row**2 + column**2)
    chroma = torch.clamp(17 + 6 * (row + column) + 3 * (row**2 + column**2), max=99)
    return cosine.to(device), luma.clamp(max=110).to(device), chroma.to(device)


def jpeg(images: Tensor, quality: Tensor, used: Tensor) -> Tensor:
    """Simulate JPEG compression with 4:2:0 chroma subsampling.

    Args:
        images: (B, 3, H, W) 0-1.
        quality: (B,) 1-100.
        used: (B,) bool; other images are returned unchanged.
    """
    height, width = images.shape[2:]
    padded = torch.nn.functional.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
    weights = constant(_LUMA, padded.device)[:, None, None]
    luma = (padded * weights).sum(1, keepdim=True)
    colour = torch.nn.functional.avg_pool2d(padded[:, ::2] - luma, 2)
    _, luma_steps, chroma_steps = _jpeg_tables(images.device)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).clamp_min(0.02)
    luma = _quantise(luma, luma_steps, scale)
    colour = _quantise(colour, chroma_steps, scale)
    colour = torch.nn.functional.interpolate(colour, scale_factor=2, mode="nearest")
    red, blue = (luma + colour[:, :1]), (luma + colour[:, 1:])
    green = (luma - weights[0] * red - weights[2] * blue) / weights[1]
    stored = torch.cat([red, green, blue], 1)[..., :height, :width]
    return torch.where(used[:, None, None, None], stored, images)


def _quantise(planes: Tensor, steps: Tensor, scale: Tensor) -> Tensor:
    """Quantise the DCT coefficients of every 8 x 8 block of (B, C, H, W)."""
    cosine = _jpeg_tables(planes.device)[0]
    count, channels, height, width = planes.shape
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    size = (scale[:, None, None] * steps / 255)[:, None, None, None]
    cosines = cosine @ blocks @ cosine.T / size
    restored = cosine.T @ (cosines.round() * size) @ cosine
    return restored.transpose(3, 4).reshape(planes.shape)
