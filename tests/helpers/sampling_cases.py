"""Random sampling points on small levels, and their samples computed pixel by pixel."""

import torch

from aios.network.sampling import Sampling

SHAPES = ((5, 7), (3, 4), (1, 1))
BATCH, QUERIES, HEADS, POINTS, WIDTH = 2, 6, 3, 4, 5


def random_case(seed=0, spread=1.0, dtype=torch.float64):
    """Values (B, S, H, C) and sampling points around the centre of the image."""
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(h * w for h, w in SHAPES)
    shape = (BATCH, QUERIES, HEADS, len(SHAPES), POINTS)
    value = torch.randn(BATCH, tokens, HEADS, WIDTH, generator=generator, dtype=dtype)
    locations = torch.randn(*shape, 2, generator=generator, dtype=dtype) * spread + 0.5
    weights = torch.rand(shape, generator=generator, dtype=dtype)
    return value, Sampling(locations, weights / weights.sum((-1, -2), keepdim=True))


def sample_by_loops(value, sampling):
    """Bilinear samples, one point and one pixel at a time."""
    result = torch.zeros(BATCH, QUERIES, HEADS, WIDTH, dtype=value.dtype)
    start = 0
    for level, (h, w) in enumerate(SHAPES):
        for index in torch.cartesian_prod(*map(torch.arange, result.shape[:3])):
            b, q, head = index.tolist()
            for point in range(POINTS):
                x, y = sampling.locations[b, q, head, level, point].tolist()
                weight = sampling.weights[b, q, head, level, point]
                for row in range(h):
                    for column in range(w):
                        near = max(0.0, 1 - abs(x * w - 0.5 - column))
                        near *= max(0.0, 1 - abs(y * h - 0.5 - row))
                        if near:
                            pixel = value[b, start + row * w + column, head]
                            result[b, q, head] += weight * near * pixel
        start += h * w
    return result.flatten(2)
