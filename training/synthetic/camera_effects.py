"""What lenses, sensors and files do to pictures: edges, blur, exposure, noise and JPEG."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from .noise import SIDE, grain
from .rng import CounterRng, constant

_KERNEL = 7
_LUMA = (0.299, 0.587, 0.114)


def antialias(pictures: Tensor, labels: Tensor) -> Tensor:
    """Mix pixels at the edges of things with their neighbours, as a lens and a sensor do.

    Args:
        pictures: (B, 3, H, W).
        labels: (B, H, W) any numbers; an edge is where they change.
    """
    around = torch.nn.functional.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    middle = around[:, 1:-1, 1:-1]
    edge = torch.zeros_like(middle, dtype=torch.bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        height, width = middle.shape[1:]
        edge |= around[:, down : down + height, right : right + width] != middle
    weights = constant(((1.0, 2.0, 1.0),), pictures.device)
    kernel = (weights.T @ weights / 16).expand(3, 1, 3, 3)
    padded = torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    soft = torch.nn.functional.conv2d(padded, kernel, groups=3)
    return torch.where(edge[:, None], soft, pictures)


def apply_camera_effects(rng: CounterRng, pictures: Tensor) -> Tensor:
    """Take the pictures.

    Args:
        rng: one key a picture.
        pictures: (B, 3, H, W) float32, light about 0-1.

    Returns:
        (B, 3, H, W) uint8 RGB.
    """
    source = rng.child("camera")
    pictures = _blurred(source, pictures)
    pictures = _exposed(source, pictures)
    pictures = _noisy(source, pictures)
    grey = pictures.mean(1, keepdim=True)
    pictures = torch.where(source.bernoulli("grey", 0.06)[:, None, None, None], grey, pictures)
    return (jpeg(pictures.clamp(0, 1), *_file(source)) * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def _blurred(source: CounterRng, pictures: Tensor) -> Tensor:
    """Out of focus, or moved while the shutter was open: a leaning Gaussian for each picture."""
    count, _, height, width = pictures.shape
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
    padded = torch.nn.functional.pad(pictures, (reach,) * 4, mode="replicate")
    joined = padded.reshape(1, count * 3, height + 2 * reach, width + 2 * reach)
    return torch.nn.functional.conv2d(joined, kernel, groups=count * 3).view_as(pictures)


def _exposed(source: CounterRng, pictures: Tensor) -> Tensor:
    """Exposure, more or less by the light there is; colour cast, contrast and darker corners."""
    seen = pictures.clamp(0, 1.5).mean((1, 2, 3)).clamp_min(0.02)[:, None]
    aim = source.uniform("aim", 1, low=0.3, high=0.55)
    gain = (aim / seen) ** source.uniform("metered", 1, low=0.6, high=1.0)
    pictures = pictures * gain[:, :, None, None]
    gain = source.normal("gain", 1, std=0.15).exp() * source.normal("cast", 3, std=0.055).exp()
    level = source.normal("haze", 1, std=0.03).clamp_min(0)
    power = source.normal("gamma", std=0.18).exp()[:, None, None, None]
    height, width = pictures.shape[2:]
    y = torch.linspace(-1, 1, height, device=gain.device)[:, None]
    x = torch.linspace(-1, 1, width, device=gain.device)[None]
    corner = source.uniform("corners", 2).prod(-1)[:, None, None] * 0.5
    pictures = pictures * gain[:, :, None, None] * (1 - corner * (x**2 + y**2) / 2)[:, None]
    return pictures.clamp(1e-4, 2) ** power + level[:, :, None, None]


def _noisy(source: CounterRng, pictures: Tensor) -> Tensor:
    """Grain, more of it in the dark parts of some pictures, part of it in colour."""
    count, _, height, width = pictures.shape
    strength = (-source.uniform("noise").log() * 0.018).clamp_max(0.07)
    strength = torch.where(source.bernoulli("clean", 0.3), 0.0, strength)
    table = grain(pictures.device)
    down = torch.arange(height, device=pictures.device)[:, None]
    right = torch.arange(width, device=pictures.device)[None]
    place = down * 257 + right  # rows are shifted, so that no tile is seen
    noises = []
    for number in range(2):
        start = (source.uniform(f"start {number}") * SIDE * SIDE).long()
        noises.append(table[number][(place + start[:, None, None]) & (SIDE * SIDE - 1)])
    bright, other = noises
    colour = source.uniform("colour noise", 3, low=-1, high=1)[:, :, None, None]
    noise = bright[:, None] + colour * other[:, None]
    return pictures + strength[:, None, None, None] * noise


def _file(source: CounterRng) -> tuple[Tensor, Tensor]:
    """(B,) quality 1-100 and (B,) bool whether the picture was a JPEG at all."""
    return source.uniform("quality", low=25, high=96), source.bernoulli("jpeg", 0.6)


@lru_cache(maxsize=4)
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The cosine transform (8, 8) and the usual quantisation of luma and chroma (8, 8)."""
    k = torch.arange(8)[:, None]
    cosine = torch.cos((2 * torch.arange(8)[None] + 1) * k * math.pi / 16) / 2
    cosine[0] /= math.sqrt(2)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    # A smooth fit to the tables of the standard's annex.
    luma = 10 + 1.1 * (row + column) + 0.95 * (row**2 + column**2)
    chroma = torch.clamp(17 + 6 * (row + column) + 3 * (row**2 + column**2), max=99)
    return cosine.to(device), luma.clamp(max=110).to(device), chroma.to(device)


def jpeg(pictures: Tensor, quality: Tensor, used: Tensor) -> Tensor:
    """What JPEG makes of pictures: 8 x 8 blocks of quantised cosines, colour at half size.

    Args:
        pictures: (B, 3, H, W) 0-1.
        quality: (B,) 1-100.
        used: (B,) bool; the others stay as they are.
    """
    height, width = pictures.shape[2:]
    padded = torch.nn.functional.pad(pictures, (0, -width % 16, 0, -height % 16), mode="replicate")
    weights = constant(_LUMA, padded.device)[:, None, None]
    luma = (padded * weights).sum(1, keepdim=True)
    colour = torch.nn.functional.avg_pool2d(padded[:, ::2] - luma, 2)
    _, luma_steps, chroma_steps = _tables(pictures.device)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).clamp_min(0.02)
    luma = _quantised(luma, luma_steps, scale)
    colour = _quantised(colour, chroma_steps, scale)
    colour = torch.nn.functional.interpolate(colour, scale_factor=2, mode="nearest")
    red, blue = (luma + colour[:, :1]), (luma + colour[:, 1:])
    green = (luma - weights[0] * red - weights[2] * blue) / weights[1]
    stored = torch.cat([red, green, blue], 1)[..., :height, :width]
    return torch.where(used[:, None, None, None], stored, pictures)


def _quantised(planes: Tensor, steps: Tensor, scale: Tensor) -> Tensor:
    """(B, C, H, W) with the cosines of each 8 x 8 block rounded to multiples of their steps."""
    cosine = _tables(planes.device)[0]
    count, channels, height, width = planes.shape
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    size = (scale[:, None, None] * steps / 255)[:, None, None, None]
    cosines = cosine @ blocks @ cosine.T / size
    restored = cosine.T @ (cosines.round() * size) @ cosine
    return restored.transpose(3, 4).reshape(planes.shape)
