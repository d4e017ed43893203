"""Compare the Triton fill kernel with the plain fill: `python -m tests.helpers.raster_cases`.

Runs in its own process: TRITON_INTERPRET must be set before Triton is imported. Writes JSON: for
each case the number of different keys, of different coverage, and of drawn pixels.
"""

import json
import os
import sys
from dataclasses import replace

os.environ["TRITON_INTERPRET"] = "1"

import torch

from tests.training.synthetic.test_raster import random_corners, triangles
from training.synthetic import raster
from training.synthetic.raster_kernel import SIZES, fill_by_kernel

FOCAL = torch.tensor([25.0, 40.0])
SIZE = (24, 32)
PIXELS = len(FOCAL) * SIZE[0] * SIZE[1]


def random_triangles(count: int, size: float = 1.0) -> raster.Triangles:
    """Random triangles in two images with owners -1, 0 and 1."""
    corners = random_corners(count)
    middles = corners.mean(1, keepdim=True)
    some = triangles(middles + size * (corners - middles), torch.arange(count) * 2 // count)
    return replace(some, owner=torch.arange(count) % 3 - 1)


def compare(some: raster.Triangles, people: int, keys: torch.Tensor | None = None) -> list[int]:
    """Number of different keys, of different coverage, and of drawn pixels."""
    boxes = raster.bounding_boxes(some, FOCAL, SIZE, 11)
    empty = torch.full((PIXELS,), raster.EMPTY) if keys is None else keys
    found = []
    for fill in (fill_by_kernel, raster.fill):
        own, covered = empty.clone(), torch.zeros(people * SIZE[0] * SIZE[1] + 1, dtype=torch.bool)
        fill(boxes, FOCAL, SIZE, own, covered)
        found.append((own, covered[:-1]))
    (keys_one, covered_one), (keys_two, covered_two) = found
    return [
        int((keys_one != keys_two).sum()),
        int((covered_one != covered_two).sum()),
        int((keys_two < raster.EMPTY).sum()),
    ]


def main() -> None:
    before = raster.rasterize(random_triangles(20), FOCAL, SIZE).keys
    found = {
        "people": compare(random_triangles(50), 2),
        "no owners": compare(random_triangles(50), 0),
        "tiny": compare(random_triangles(500, 0.1), 2),
        "one program": compare(random_triangles(SIZES["TRIANGLES"]), 2),
        "beyond the limit": compare(random_triangles(400, 3.0), 2),
        "over drawn triangles": compare(random_triangles(30), 2, before),
        "none": compare(random_triangles(0), 2),
    }
    chosen = raster.select_fill(torch.device("cpu")) is fill_by_kernel
    sys.stdout.write(json.dumps({"cases": found, "chosen": chosen}))


if __name__ == "__main__":
    main()
