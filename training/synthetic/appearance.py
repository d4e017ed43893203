"""What people look like: skin, hair, garments with patterns, and light on them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .raster import Splats
from .surface import BodySurface, Samples

Rng = np.random.Generator

_SKIN = (
    np.array(
        [
            [255, 224, 204],
            [240, 200, 170],
            [222, 172, 136],
            [190, 136, 98],
            [141, 93, 64],
            [86, 55, 40],
        ]
    )
    / 255.0
)
_HAIR = np.array(
    [[20, 17, 16], [45, 30, 22], [88, 58, 36], [140, 98, 58], [205, 170, 110], [130, 60, 30],
     [150, 150, 150], [225, 222, 215]]
) / 255.0  # fmt: skip
_COLOURS = (
    "skin",
    "hair",
    "upper",
    "upper_2",
    "lower",
    "lower_2",
    "shoes",
    "lip",
    "iris",
    "brow",
    "white",
)
_SHAPES = (
    "waist", "neckline", "sleeve", "hem", "shoe_top", "hairline", "upper_loose", "lower_loose",
    "hair_volume", "hat", "hair_end",
)  # fmt: skip


@dataclass(frozen=True)
class Looks:
    """Appearance of P people.

    Attributes:
        colours: (P, 11, 3) 0-1, rows `_COLOURS`.
        shapes: (P, 11) metres of the T-pose template, columns `_SHAPES`.
        patterns: (P, 2, 6) upper and lower: kind, two frequencies (radians a metre), two phases,
            threshold.
        folds: (P, 3, 4) wave vectors and phases of creases in the cloth.
    """

    colours: Tensor
    shapes: Tensor
    patterns: Tensor
    folds: Tensor


def draw_looks(rng: Rng, count: int) -> Looks:
    """Looks of `count` people."""
    people = [_draw_look(rng) for _ in range(count)]
    shapes = ((len(_COLOURS), 3), (len(_SHAPES),), (2, 6), (3, 4))
    columns = [
        torch.from_numpy(np.array([p[i] for p in people], np.float32).reshape(count, *shape))
        for i, shape in enumerate(shapes)
    ]
    return Looks(*columns)


def _draw_look(rng: Rng) -> tuple[np.ndarray, ...]:
    tone = rng.uniform(0, len(_SKIN) - 1)
    low = int(tone)
    skin = _SKIN[low] + (tone - low) * (_SKIN[min(low + 1, len(_SKIN) - 1)] - _SKIN[low])
    skin = np.clip(skin * rng.uniform(0.88, 1.1) * rng.normal(1, 0.03, 3), 0, 1)
    hair = rng.choice(_HAIR, p=[0.25, 0.2, 0.18, 0.1, 0.1, 0.05, 0.07, 0.05])
    hair = np.clip(hair * rng.uniform(0.8, 1.2), 0, 1)
    upper, lower = cloth_colour(rng), cloth_colour(rng)
    if rng.random() < 0.12:  # a dress or an overall
        lower = upper
    colours = [skin, hair, upper, cloth_colour(rng), lower, cloth_colour(rng), cloth_colour(rng),
               skin * [0.85, 0.6, 0.6], rng.choice([[0.2, 0.12, 0.08], [0.3, 0.4, 0.5]]),
               hair * 0.7, np.full(3, 0.9)]  # fmt: skip
    sleeve = rng.choice([0.14, 0.2, 0.3, 0.38, 0.5, 0.64], p=[0.07, 0.13, 0.3, 0.1, 0.1, 0.3])
    hem = rng.choice([-0.5, -0.62, -0.78, -0.95, -1.14], p=[0.12, 0.14, 0.1, 0.06, 0.58])
    hat = rng.random() < 0.12
    shape = [
        rng.uniform(-0.32, -0.16),
        rng.choice([rng.uniform(0.12, 0.15), rng.uniform(0.155, 0.2)], p=[0.2, 0.8]),
        sleeve + rng.normal(0, 0.012),
        hem + rng.normal(0, 0.015),
        rng.choice([-1.16, -1.08, -0.9, -1.4], p=[0.6, 0.2, 0.08, 0.12]),  # -1.4: bare feet
        rng.uniform(0.3, 0.8),
        rng.uniform(0.0, 0.03),
        rng.uniform(0.0, 0.03),
        rng.uniform(0.0, 0.03),
        float(hat),
        rng.uniform(-0.06, 0.24) if rng.random() < 0.35 else 1.0,  # 1: short hair
    ]
    patterns = []
    for _ in range(2):
        kind = rng.choice(6, p=[0.5, 0.13, 0.09, 0.09, 0.09, 0.1])
        waves = rng.uniform(25, 140, 2)
        phases = rng.uniform(0, 6.3, 2)
        patterns.append([kind, *waves, *phases, rng.uniform(-0.5, 0.6)])
    folds = np.concatenate([rng.normal(0, 35, (3, 3)), rng.uniform(0, 6.3, (3, 1))], 1)
    return np.array(colours), np.array(shape), np.array(patterns), folds


def cloth_colour(rng: Rng) -> np.ndarray:
    """(3,) 0-1: often grey, black, white or dark blue, else any hue."""
    kind = rng.random()
    if kind < 0.35:
        return np.clip(rng.choice([0.05, 0.15, 0.35, 0.6, 0.92]) + rng.normal(0, 0.03, 3), 0, 1)
    if kind < 0.47:
        return np.array([0.1, 0.14, 0.28]) * rng.uniform(0.6, 2.2)
    hue, saturation, value = rng.random(), rng.beta(2.5, 1.8), rng.uniform(0.25, 1.0)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def garment_offsets(body: BodySurface, looks: Looks) -> Tensor:
    """(P, V, 3) metres by which loose clothes and hair stand off the skin, along the normals.

    Points that carry labels stay where they are.
    """
    x, y = body.template[:, 0].abs(), body.template[:, 1]
    waist, neckline, sleeve, hem = (looks.shapes[:, i, None] for i in range(4))
    loose = {name: looks.shapes[:, _SHAPES.index(name), None] for name in _SHAPES[6:9]}

    def above(value: Tensor, edge: Tensor) -> Tensor:
        return torch.sigmoid((value - edge) / 0.008)

    arm = above(x, torch.tensor(0.2)) * above(y, torch.tensor(-0.05))
    upper = above(y, waist - 0.04) * above(-y, -neckline + 0.02) * above(-x, -sleeve)
    lower = above(-y, -waist) * above(y, hem) * (1 - arm)
    amount = loose["upper_loose"] * upper * (1 - 0.5 * arm) + loose["lower_loose"] * lower
    long_hair = _long_hair(body.template, looks.shapes[:, _SHAPES.index("hair_end"), None])
    amount = torch.where(long_hair, 0.03, amount)
    amount = amount + loose["hair_volume"] * body.hair
    return (amount * (1 - body.bare))[..., None] * body.normals


def albedo(samples: Samples, index: Tensor, person: Tensor, looks: Looks) -> tuple[Tensor, Tensor]:
    """Colour of skin samples.

    Args:
        samples: the fixed samples.
        index: (M,) which sample.
        person: (M,) whose.
        looks: of the P people.

    Returns:
        (M, 3) 0-1 and (M,) 1 on cloth, 0 elsewhere.
    """
    rest = samples.rest.index_select(0, index)
    x, y = rest[:, 0].abs(), rest[:, 1]
    shapes = looks.shapes.index_select(0, person)
    shape = {name: shapes[:, i] for i, name in enumerate(_SHAPES)}
    hand = samples.hand[index]
    arm = (x > 0.2) & (y > -0.1)
    # The collar is lower in front and higher at the shoulders.
    dip = (0.08 - x).clamp_min(0) * (rest[:, 2] > 0.0)
    upper = (y > shape["waist"]) & (y < shape["neckline"] - 0.8 * dip) & (x < shape["sleeve"])
    upper &= ~hand
    lower = (y <= shape["waist"]) & (y > shape["hem"]) & ~(arm | hand)
    eye = samples.eye[index]
    pattern = looks.patterns.flatten(0, 1).index_select(0, 2 * person + lower)
    second = _patterned(rest, pattern).long()
    upper_row, lower_row = _COLOURS.index("upper"), _COLOURS.index("lower")
    hair_row = torch.where(shape["hat"] > 0, upper_row + 1, _COLOURS.index("hair"))
    row = torch.where(upper, upper_row + second, 0)
    row = torch.where(lower, lower_row + second, row)
    for mask, paint in (
        ((y < shape["shoe_top"]) & ~arm, _COLOURS.index("shoes")),
        (samples.lip[index], _COLOURS.index("lip")),
        (samples.brow[index], _COLOURS.index("brow")),
        (samples.hair[index] > shape["hairline"], hair_row),
        (_long_hair(rest, shape["hair_end"]), _COLOURS.index("hair")),
        (eye, _COLOURS.index("white")),
        (eye & samples.iris[index], _COLOURS.index("iris")),
    ):
        row = torch.where(mask, paint, row)
    colours = looks.colours.flatten(0, 1)
    return colours.index_select(0, person * len(_COLOURS) + row), (upper | lower).float()


def _long_hair(rest: Tensor, end: Tensor) -> Tensor:
    """Whether points of the T-pose lie under hair that hangs down the neck to height `end`."""
    x, y, z = rest.unbind(-1)
    behind = torch.where(y > 0.2, 0.05, 0.02)
    return (y > end) & (y < 0.36) & (x.abs() < 0.085) & (z < behind)


def _patterned(rest: Tensor, pattern: Tensor) -> Tensor:
    """(M,) bool: stripes, checks, blotches or a print on the chest, by the place on the T-pose."""
    kind, wave_y, wave_x, phase_y, phase_x, threshold = pattern.unbind(-1)
    x, y, z = rest.unbind(-1)
    rows = torch.sin(y * wave_y + phase_y)
    columns = torch.sin(x * wave_x + phase_x)
    blotch = rows + columns + torch.sin(z * wave_x + x * wave_y) - threshold
    patch = (x.abs() < 0.09) & ((y - 0.01).abs() < 0.08) & (z > 0)
    return (
        ((kind == 1) & (rows > threshold))
        | ((kind == 2) & (columns > threshold))
        | ((kind == 3) & (rows * columns > 0))
        | ((kind == 4) & (blotch > 0))
        | ((kind == 5) & patch)
    )


@dataclass(frozen=True)
class Light:
    """A far lamp and the sky.

    Attributes:
        direction: (3,) unit, camera frame, from the surface to the lamp.
        up: (3,) unit, camera frame.
        colour: (3,) of the lamp.
        ambient: (3,) of the sky.
    """

    direction: Tensor
    up: Tensor
    colour: Tensor
    ambient: Tensor


def draw_light(rng: Rng, rotation: np.ndarray) -> tuple[Light, np.ndarray]:
    """A light for a view with world -> camera `rotation`, and its direction in the world."""
    turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.4)
    world = np.array([np.cos(turn) * np.cos(height), np.sin(height), np.sin(turn) * np.cos(height)])
    warm = rng.normal(0, 0.06)
    tint = np.array([1 + warm, 1.0, 1 - warm])
    share = rng.uniform(0.35, 0.75)
    values = (rotation @ world, rotation[:, 1], 1.1 * (1 - share) * tint, share * (2 - tint))
    return Light(*(torch.from_numpy(v.astype(np.float32)) for v in values)), world


def shade(splats: Splats, chosen: Tensor, body: BodySurface, looks: Looks, light: Light) -> Tensor:
    """Lit colours (M, 3) 0-1 of the splats `chosen` (M,)."""
    index, person = splats.sample[chosen], splats.person[chosen]
    colour, cloth = albedo(body.samples, index, person, looks)
    rest = body.samples.rest[index]
    normal = torch.nn.functional.normalize(splats.normal[chosen], dim=-1)
    folds = looks.folds.flatten(1).index_select(0, person).unflatten(1, (3, 4))
    for fold in folds.unbind(1):
        wave = torch.cos(torch.linalg.vecdot(fold[:, :3], rest) + fold[:, 3]) * cloth
        normal = normal + (wave * (0.11 / 35))[:, None] * fold[:, :3]
    normal = torch.nn.functional.normalize(normal, dim=-1)
    lamp = (normal @ light.direction * 0.85 + 0.15).clamp_min(0)
    sky = 0.75 + 0.25 * (normal @ light.up)
    return colour * (lamp[:, None] * light.colour * 1.3 + sky[:, None] * light.ambient)
