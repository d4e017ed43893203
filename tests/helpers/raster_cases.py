"""The raster's Triton kernel against the plain way: `python -m tests.helpers.raster_cases`.

A process of its own, because Triton's interpreter must be chosen before Triton is imported.  Writes
as JSON, for each case, how many keys and covers differ and how many pixels were drawn.
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


def made(count: int, size: float = 1.0) -> raster.Triangles:
    """Triangles of two pictures and three owners, one of whom is nobody."""
    corners = random_corners(count)
    middles = corners.mean(1, keepdim=True)
    some = triangles(middles + size * (corners - middles), torch.arange(count) * 2 // count)
    return replace(some, owner=torch.arange(count) % 3 - 1)


def compared(some: raster.Triangles, people: int, keys: torch.Tensor | None = None) -> list[int]:
    """Different keys, different covers, pixels drawn."""
    boxes = raster.bounding_boxes(some, FOCAL, SIZE, 11)
    empty = torch.full((PIXELS,), raster.EMPTY) if keys is None else keys
    found = []
    for way in (fill_by_kernel, raster.fill):
        own, covered = empty.clone(), torch.zeros(people * SIZE[0] * SIZE[1] + 1, dtype=torch.bool)
        way(boxes, FOCAL, SIZE, own, covered)
        found.append((own, covered[:-1]))
    (keys_one, covered_one), (keys_two, covered_two) = found
    return [
        int((keys_one != keys_two).sum()),
        int((covered_one != covered_two).sum()),
        int((keys_two < raster.EMPTY).sum()),
    ]


def main() -> None:
    before = raster.rasterize(made(20), FOCAL, SIZE).keys
    found = {
        "people": compared(made(50), 2),
        "nobody": compared(made(50), 0),
        "tiny": compared(made(500, 0.1), 2),
        "one program": compared(made(SIZES["TRIANGLES"]), 2),
        "more than fit": compared(made(400, 3.0), 2),
        "over what is there": compared(made(30), 2, before),
        "none": compared(made(0), 2),
    }
    chosen = raster.select_fill(torch.device("cpu")) is fill_by_kernel
    sys.stdout.write(json.dumps({"cases": found, "chosen": chosen}))


if __name__ == "__main__":
    main()
