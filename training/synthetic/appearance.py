"""Sampling of appearance: outfits, fabric patterns, skin and hair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .rng import CounterRng, constant
from .shells import HAIR_ROWS, HAIR_STEP, HAIR_TOP, SKIRT_ROWS, SKIRT_STEP, SKIRT_TOP
from .surface import BodySurface

_SKIN = (
    (255, 224, 204), (240, 200, 170), (222, 172, 136), (190, 136, 98), (141, 93, 64), (86, 55, 40),
    (52, 34, 27),
)  # fmt: skip
_HAIR = (
    (20, 17, 16), (45, 30, 22), (88, 58, 36), (140, 98, 58), (205, 170, 110), (130, 60, 30),
    (150, 150, 150), (225, 222, 215), (150, 40, 60), (60, 80, 150),
)  # fmt: skip
_HAIR_CHANCES = (0.24, 0.19, 0.18, 0.1, 0.09, 0.05, 0.07, 0.05, 0.015, 0.015)
COLOURS = (
    "skin", "hair", "upper", "upper_2", "lower", "lower_2", "shoes", "lip", "iris", "brow",
    "white", "inner", "belt", "sock", "glove", "sole",
)  # fmt: skip
SHAPES = (
    "waist", "neckline", "sleeve", "hem", "shoe_top", "hairline", "upper_loose", "lower_loose",
    "hair_volume", "hat", "opening", "beard", "glasses", "sock_top", "glove_top", "bell",
)  # fmt: skip
PATTERNS = (
    "plain", "rows", "columns", "checks", "blotches", "print", "plaid", "bands", "halves",
    "dots", "slanted", "rings",
)  # fmt: skip
_TRAIN_PATTERNS = (0.5, 0.08, 0.05, 0.05, 0.08, 0.09, 0.07, 0.05, 0.03, 0, 0, 0)
_TEST_PATTERNS = (0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.18, 0.18, 0.14)
_OUTFITS = ("shirt", "t-shirt", "vest", "jacket", "coat", "dress", "sports", "swimwear", "overall")
_OUTFIT_CHANCES = (0.19, 0.25, 0.07, 0.17, 0.07, 0.09, 0.1, 0.03, 0.03)


@dataclass(frozen=True)
class Appearance:
    """Appearance of N people.

    Attributes:
        colours: (N, 16, 3) 0-1, columns `COLOURS`.
        shapes: (N, 16) T-pose coordinates in metres, or flags; columns `SHAPES`.
        patterns: (N, 2, 7) of upper and lower garment: index into `PATTERNS`, two frequencies
            (rad/m), two phases, threshold, share.
        folds: (N, 4, 5) wave vector (1/m), phase and strength of four waves of cloth folds.
        shell_rows: (N, 2) last visible row of the skirt and hair shells, 0 for none.
        shell_sides: (N, 2) angle from the back to which they reach, radians.
        shell_flare: (N, 2) flare of the shells.
        shell_ease: (N, 2) radial offset of the shells, metres.
        skirt_is_upper: (N,) bool, the skirt shell belongs to the upper garment (coat, dress).
        gloss: (N, 2) highlight strength of skin and cloth.
    """

    colours: Tensor
    shapes: Tensor
    patterns: Tensor
    folds: Tensor
    shell_rows: Tensor
    shell_sides: Tensor
    shell_flare: Tensor
    shell_ease: Tensor
    skirt_is_upper: Tensor
    gloss: Tensor


def _pick(
    rng: CounterRng, label: str, options: tuple[float, ...], weights: tuple[float, ...]
) -> Tensor:
    table = constant(options, rng.keys.device)
    return table[rng.choice(label, weights)]


def _palette(rng: CounterRng, label: str, count: int) -> Tensor:
    """(N, count, 3) fabric colours: grey, black, white or dark blue in half of the cases."""
    source = rng.child(label)
    kind = source.uniform("kind", count)[..., None]
    grey = constant((0.05, 0.15, 0.35, 0.6, 0.92), kind.device)
    grey = grey[source.choice("grey", (1, 1, 1, 1, 1), count)][..., None]
    grey = grey + source.normal("tint", count, 3, std=0.03)
    blue = constant((0.1, 0.14, 0.28), grey.device) * source.uniform(
        "blue", count, 1, low=0.6, high=2.4
    )
    hue = source.uniform("hue", count)[..., None] * 6 + constant((0.0, 4.0, 2.0), grey.device)
    pure = ((torch.remainder(hue, 6) - 3).abs() - 1).clamp(0, 1)
    saturation = source.uniform("saturation", 2, count, 1).amax(1)
    value = source.uniform("value", count, 1, low=0.2, high=1.0)
    strong = value * (1 - saturation + saturation * pure)
    return torch.where(kind < 0.35, grey, torch.where(kind < 0.5, blue, strong)).clamp(0.02, 0.97)


def _skin(rng: CounterRng) -> Tensor:
    """(N, 3) skin colour, 0-1."""
    table = constant(_SKIN, rng.keys.device) / 255
    tone = rng.uniform("tone", high=len(_SKIN) - 1.001)
    low = tone.long()
    skin = torch.lerp(table[low], table[low + 1], (tone - low)[:, None])
    return (skin * rng.normal("skin", 3, mean=1, std=0.035)).clamp(0, 1)


def sample_appearance(rng: CounterRng, *, test: bool) -> Appearance:
    """Sample the appearance of N people; `test` selects the patterns of the test set."""
    source = rng.child("looks")
    outfit = source.choice("outfit", _OUTFIT_CHANCES)
    worn = {name: outfit == number for number, name in enumerate(_OUTFITS)}
    shapes = _shapes(source, worn)
    skirt = source.bernoulli("skirt", 0.16) & ~(worn["coat"] | worn["swimwear"] | worn["overall"])
    hanging = worn["coat"] | worn["dress"] | skirt
    long_hair = source.bernoulli("long hair", 0.33)
    colours = _colours(source, worn, shapes)
    hem = _pick(source, "skirt hem", (-0.5, -0.62, -0.78, -0.95, -1.12), (1, 1.5, 1.5, 0.8, 0.7))
    rows = torch.where(hanging, ((SKIRT_TOP - hem) / SKIRT_STEP).round(), 0).clamp(
        0, SKIRT_ROWS - 1
    )
    end = source.uniform("hair end", low=-0.05, high=0.28)
    hair_rows = torch.where(long_hair, ((HAIR_TOP - end) / HAIR_STEP).round(), 0)
    open_coat = worn["coat"] & source.bernoulli("open", 0.6)
    sides = torch.where(open_coat, source.uniform("gap", low=2.5, high=3.0), 3.2)
    hair_sides = source.uniform("hair side", low=1.5, high=2.1)
    # Under a short skirt or dress, legs are bare or in tights.
    bare = hanging & ~worn["coat"] & source.bernoulli("bare legs", 0.7)
    hem_column = SHAPES.index("hem")
    shapes[:, hem_column] = torch.where(bare, -0.34, shapes[:, hem_column])
    folds = torch.cat(
        [
            source.normal("folds", 4, 3, std=38.0) * source.uniform("stretch", 4, 3, low=0.2),
            source.uniform("phase", 4, 1, high=6.3),
            source.uniform("depth", 4, 1, low=0.02, high=0.16),
        ],
        -1,
    )
    ease = torch.where(worn["coat"], 0.02, 0.0)
    return Appearance(
        colours=colours,
        shapes=shapes,
        patterns=_patterns(source, test, worn["dress"] | worn["overall"]),
        folds=folds,
        shell_rows=torch.stack([rows, hair_rows.clamp(0, HAIR_ROWS - 1)], 1),
        shell_sides=torch.stack([sides, hair_sides], 1),
        shell_flare=torch.stack(
            [source.uniform("flare", low=-0.25, high=1.2), source.uniform("hair flare", high=1.0)],
            1,
        ),
        shell_ease=torch.stack([ease, source.uniform("hair ease", high=0.012)], 1),
        skirt_is_upper=worn["coat"] | worn["dress"],
        gloss=source.uniform("gloss", 2) ** 2 * 0.35,
    )


def _shapes(source: CounterRng, worn: dict[str, Tensor]) -> Tensor:
    """(N, 16) garment shapes, columns `SHAPES`."""
    sleeve = _pick(source, "sleeve", (0.2, 0.3, 0.38, 0.5, 0.64), (1, 3, 1, 1, 4))
    sleeve = torch.where(worn["t-shirt"], 0.3, sleeve)
    sleeve = torch.where(worn["vest"] | worn["swimwear"], 0.14, sleeve)
    sleeve = torch.where(worn["jacket"] | worn["coat"], 0.64, sleeve)
    sleeve = sleeve + source.normal("sleeve length", std=0.012)
    hem = _pick(source, "hem", (-0.5, -0.62, -0.78, -0.95, -1.14), (1, 1.4, 0.8, 0.6, 5.5))
    hem = torch.where(worn["sports"], torch.where(hem < -1, -0.6, hem), hem)
    hem = torch.where(worn["swimwear"], -0.42, hem) + source.normal("hem length", std=0.015)
    shoe = _pick(source, "shoe", (-1.16, -1.08, -0.9, -1.4), (6, 2, 0.8, 1.2))
    bulky = worn["jacket"] | worn["coat"]
    upper = source.uniform("upper loose", high=0.028) + torch.where(bulky, 0.014, 0.0)
    tight = worn["swimwear"] | source.bernoulli("tight", 0.15)
    values = {
        "waist": torch.where(
            worn["overall"] | worn["dress"], -0.3, source.uniform("waist", low=-0.34, high=-0.16)
        ),
        "neckline": torch.where(
            worn["vest"] | worn["swimwear"] | worn["dress"],
            source.uniform("low neck", low=0.1, high=0.16),
            source.uniform("neck", low=0.155, high=0.205),
        ),
        "sleeve": sleeve,
        "hem": torch.where(worn["overall"], -1.14, hem),
        "shoe_top": shoe,
        "hairline": torch.where(
            source.bernoulli("bald", 0.07), 1.5, source.uniform("hairline", low=0.25, high=0.75)
        ),
        "upper_loose": torch.where(tight, 0.002, upper),
        "lower_loose": torch.where(tight, 0.002, source.uniform("lower loose", high=0.03)),
        "hair_volume": source.uniform("volume", high=0.03)
        + torch.where(source.bernoulli("big hair", 0.1), source.uniform("curls", high=0.06), 0.0),
        "hat": source.bernoulli("beanie", 0.06).float(),
        "opening": torch.where(bulky & source.bernoulli("unbuttoned", 0.55),
                               source.uniform("opening", low=0.02, high=0.09), 0.0),
        "beard": source.choice("beard", (0.8, 0.07, 0.07, 0.06)).float(),
        "glasses": source.bernoulli("glasses", 0.14).float(),
        "sock_top": source.uniform("sock", low=-1.2, high=-0.75),
        "glove_top": torch.where(source.bernoulli("gloves", 0.06), 0.63, 2.0),
        "bell": source.uniform("bell", low=-0.3, high=1.0),
    }  # fmt: skip
    return torch.stack([values[name] for name in SHAPES], 1)


def _colours(source: CounterRng, worn: dict[str, Tensor], shapes: Tensor) -> Tensor:
    """(N, 16, 3) colours, columns `COLOURS`."""
    skin = _skin(source)
    table = constant(_HAIR, skin.device) / 255
    hair = table[source.choice("hair", _HAIR_CHANCES)] * source.uniform("dye", 1, low=0.8, high=1.2)
    cloth = _palette(source, "cloth", 8)
    upper, lower = cloth[:, 0], cloth[:, 1]
    same = worn["dress"] | worn["overall"] | source.bernoulli("suit", 0.08)
    lower = torch.where(same[:, None], upper, lower)
    denim = constant((0.2, 0.28, 0.42), skin.device) * source.uniform("denim", 1, low=0.5, high=1.8)
    lower = torch.where((source.bernoulli("jeans", 0.25) & ~same)[:, None], denim, lower)
    iris = constant(((0.2, 0.12, 0.08), (0.3, 0.4, 0.5), (0.3, 0.35, 0.2)), skin.device)
    belt = torch.where(source.bernoulli("belt", 0.4)[:, None], cloth[:, 2] * 0.4, lower)
    sock = torch.where(source.bernoulli("white socks", 0.5)[:, None], 0.88, cloth[:, 3])
    bare = constant((0.85, 0.6, 0.6), skin.device)
    lip = skin * torch.where(source.bernoulli("lipstick", 0.1)[:, None], bare * 0.8, bare)
    tights = source.bernoulli("tights", 0.25)[:, None]
    sock = torch.where(tights, cloth[:, 3] * 0.5, sock)
    values = {
        "skin": skin, "hair": hair.clamp(0, 1), "upper": upper, "upper_2": cloth[:, 4],
        "lower": lower, "lower_2": torch.where(same[:, None], cloth[:, 4], cloth[:, 5]),
        "shoes": cloth[:, 6] * 0.8, "lip": lip, "iris": iris[source.choice("iris", (3, 1, 1))],
        "brow": hair * 0.7, "white": torch.full_like(skin, 0.9), "inner": cloth[:, 7],
        "belt": belt, "sock": sock, "glove": cloth[:, 2], "sole": cloth[:, 3] * 0.5,
    }  # fmt: skip
    return torch.stack([values[name] for name in COLOURS], 1)


def _patterns(source: CounterRng, test: bool, alike: Tensor) -> Tensor:
    """(N, 2, 7) patterns; where `alike`, upper and lower garment share one."""
    kind = source.choice("pattern", _TEST_PATTERNS if test else _TRAIN_PATTERNS, 2).float()
    waves = source.uniform("waves", 2, 2, low=3.1, high=5.1).exp()
    phases = source.uniform("phases", 2, 2, high=6.3)
    threshold = source.uniform("threshold", 2, 1, low=-0.5, high=0.6)
    share = source.uniform("share", 2, 1, low=0.3, high=1.0)
    patterns = torch.cat([kind[..., None], waves, phases, threshold, share], -1)
    return torch.where(alike[:, None, None], patterns[:, :1], patterns)


def garment_offsets(body: BodySurface, appearance: Appearance) -> Tensor:
    """(N, V + A, 3) offsets of clothes and hair from the skin in the T-pose, metres."""
    shape = {name: appearance.shapes[:, i, None] for i, name in enumerate(SHAPES)}
    x, y = body.template[:, 0].abs(), body.template[:, 1]

    def above(value: Tensor, edge: Tensor | float) -> Tensor:
        return torch.sigmoid((value - edge) / 0.008)

    arm = above(x, 0.2) * above(y, -0.05)
    upper = above(y, shape["waist"] - 0.06) * above(-y, 0.02 - shape["neckline"])
    upper = upper * above(-x, -shape["sleeve"])
    lower = above(-y, -shape["waist"]) * above(y, shape["hem"]) * (1 - arm)
    # Trouser legs and sleeves can widen towards their ends.
    down = ((-0.4 - y) / 0.75).clamp(0, 1) * shape["bell"]
    along = ((x - 0.2) / 0.45).clamp(0, 1) * shape["bell"] * arm
    amount = shape["upper_loose"] * upper * (1 - 0.4 * arm + 0.5 * along)
    amount = torch.maximum(amount, shape["lower_loose"] * lower * (0.7 + 1.2 * down))
    amount = amount + shape["hair_volume"] * body.hair
    shod = shape["shoe_top"] > -1.3
    skin = amount[..., None] * body.normals + shod[..., None] * body.shoe
    shell = body.shell_of_vertex
    hanging = appearance.shell_flare[:, shell, None] * body.shell_flare
    hanging = hanging + appearance.shell_ease[:, shell, None] * body.shell_ease
    return torch.cat([skin, hanging], 1)


def visible_faces(body: BodySurface, appearance: Appearance) -> Tensor:
    """(N, F) bool mask of visible faces: all skin, and the worn part of the shells."""
    shell = body.shell_of_face
    worn = body.shell_row <= appearance.shell_rows[:, shell]
    worn = worn & (body.shell_side <= appearance.shell_sides[:, shell])
    skin = torch.ones(len(worn), len(body.faces), dtype=torch.bool, device=worn.device)
    return torch.cat([skin, worn], 1)
