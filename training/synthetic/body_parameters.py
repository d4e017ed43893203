"""Random hand poses, facial expressions and body shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from .rng import CounterRng, constant

# Flexion of index, middle, pinky, ring relative to the mean hand, whose fingers are half bent;
# then the spread of the fingers and the flexion of the thumb. Radians.
_O, _R, _G, _F = 0.28, 0.0, -0.4, -0.8
HAND_KINDS: dict[str, tuple[float, ...]] = {
    "open": (_O, _O, _O, _O, 0.13, -0.1),
    "relaxed": (_R, _R, _R, _R, 0.0, 0.0),
    "grip": (_G, _G, _G, _G, 0.0, 0.18),
    "fist": (_F, _F, _F, _F, 0.0, 0.32),
    "point": (_O, _F, _F, _F, 0.0, 0.25),
    "flat": (0.2, 0.2, 0.2, 0.2, -0.03, 0.0),
    "pinch": (-0.35, -0.1, 0.1, 0.0, 0.05, 0.3),
    "two fingers": (_O, _O, _F, _F, 0.1, 0.3),
    "thumb up": (_F, _F, _F, _F, 0.0, -0.35),
    "half open": (0.15, 0.05, -0.15, -0.05, 0.05, 0.05),
}
_KIND_CHANCES = (0.18, 0.3, 0.1, 0.1, 0.06, 0.06, 0.05, 0.03, 0.03, 0.09)
KIND_NUMBER = {"any": -1, **{name: number for number, name in enumerate(HAND_KINDS)}}
_PHALANX = (1.0, 1.1, 0.8)
_SPREAD_SHARE = (-1.0, -0.2, 1.2, 0.5)

# Expression coefficients: mouth open, smile, brows up, eyes closed, lips pursed, brows down, mouth
# corners down, nose wrinkled, eyes wide, lips pressed; then jaw angle (radians) and probability.
_MOODS = (
    ((0.0,) * 10, 0.01, 0.3),
    ((0.6, 0.3, 0.3, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 0.12, 0.2),  # speaking
    ((0.0, 1.6, 0.2, 0.1, 0.0, 0.0, -0.4, 0.0, 0.0, 0.0), 0.03, 0.22),  # smiling
    ((0.8, 1.7, 0.4, 0.7, 0.0, 0.0, -0.5, 0.4, 0.0, 0.0), 0.25, 0.08),  # laughing
    ((0.9, 0.0, 1.6, -0.3, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0), 0.3, 0.05),  # surprised
    ((0.2, -0.3, -0.3, 0.3, 0.3, 1.6, 0.8, 0.9, 0.0, 0.7), 0.04, 0.05),  # strained
    ((0.0, -0.3, 0.3, 0.3, 0.0, 0.5, 1.4, 0.0, 0.0, 0.3), 0.01, 0.04),  # sad
    ((0.0, 0.2, 0.0, 1.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.02, 0.06),  # eyes shut
)
JAW_LIMIT = 0.45
EXPRESSION_LIMIT, BETA_LIMIT, SMALLEST_BETA = 1.9, 2.3, -3.4


def sample_hand(rng: CounterRng, side: int, kind: Tensor) -> Tensor:
    """Sample the finger pose of one hand.

    Args:
        rng: one key per person.
        side: 0 left, 1 right.
        kind: (N,) index into `HAND_KINDS`, -1 for a random kind.

    Returns:
        (N, 15, 3) axis-angle relative to the mean hand; index, middle, pinky, ring, thumb.
    """
    source = rng.child("hand", side)
    kind = torch.where(kind < 0, source.choice("kind", _KIND_CHANCES), kind)
    row = constant(tuple(HAND_KINDS.values()), kind.device)[kind]
    bends = row[:, :4] + source.normal("all", 1, std=0.1) + source.normal("each", 4, std=0.06)
    curl = bends[:, :, None] * constant(_PHALANX, bends.device)
    spread = row[:, 4:5] + source.normal("spread", 1, std=0.06)
    spread = spread * constant(_SPREAD_SHARE, bends.device)
    hand = bends.new_zeros(len(kind), 5, 3, 3)
    hand[:, :4, :, 2] = curl.clamp(-1.1, 0.5)
    hand[:, :4, 0, 1] = spread
    hand[:, 4, :, 1] = (row[:, 5:6] + source.normal("thumb", 3, std=0.05)).clamp(-0.4, 0.5)
    mirror = constant((1.0, 1.0, 1.0) if side == 0 else (1.0, -1.0, -1.0), hand.device)
    return (hand * mirror).reshape(-1, 15, 3)


def sample_faces(rng: CounterRng) -> tuple[Tensor, Tensor]:
    """Sample (N, 10) `expression` and (N, 3) `jaw_pose` as axis-angle."""
    source = rng.child("face")
    mood = source.choice("mood", [share for _, _, share in _MOODS])
    table = constant(tuple(shape for shape, _, _ in _MOODS), mood.device)
    jaw = constant(tuple(opened for _, opened, _ in _MOODS), mood.device)[mood]
    strength = source.uniform("strength", low=0.3, high=1.15)
    shape = table[mood] * strength[:, None] + source.normal("shape", 10, std=0.4)
    opened = (jaw * strength + source.normal("jaw", std=0.03).abs()).clamp_max(JAW_LIMIT)
    sideways = source.normal("jaw sideways", std=0.015)
    return (
        shape.clamp(-EXPRESSION_LIMIT, EXPRESSION_LIMIT),
        torch.stack([opened, sideways, torch.zeros_like(opened)], 1),
    )


def sample_betas(rng: CounterRng) -> Tensor:
    """Sample (N, 10) `betas`; 7 % of the people are as small as children."""
    source = rng.child("body")
    betas = source.normal("betas", 10, std=1.05).clamp(-BETA_LIMIT, BETA_LIMIT)
    small = source.bernoulli("small", 0.07)
    height = source.uniform("height", low=SMALLEST_BETA, high=-BETA_LIMIT)
    betas[:, 0] = torch.where(small, height, betas[:, 0])
    return betas
