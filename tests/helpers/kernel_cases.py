"""Compare the Triton kernel with plain sampling: `python -m tests.helpers.kernel_cases`.

A separate process, because the interpreter must be selected before Triton is imported. Prints the
largest differences of each case as JSON.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from aios.accelerate import deformable_kernel
from aios.accelerate.install import accelerate_training
from aios.accelerate.kernel_attention import kernel_for
from aios.network.sampling import Sampling, sample_bilinear
from tests.helpers.networks import TINY, random_images, random_model

RAGGED = ((4, 3), (2, 2), (1, 1))
DOUBLE = torch.float64


def made(shapes, batch=1, queries=3, heads=2, points=2, width=5, kind=DOUBLE, spread=0.5):
    generator = torch.Generator().manual_seed(0)
    tokens = sum(h * w for h, w in shapes)
    places = (batch, queries, heads, len(shapes), points)
    value = torch.randn(batch, tokens, heads, width, generator=generator, dtype=DOUBLE)
    locations = torch.randn(*places, 2, generator=generator, dtype=DOUBLE) * spread + 0.5
    weights = torch.rand(places, generator=generator, dtype=DOUBLE)
    exact = DOUBLE if kind == DOUBLE else torch.float32
    return shapes, value.to(kind), locations.to(exact), weights.to(exact)


def compared(shapes, value: Tensor, locations: Tensor, weights: Tensor) -> dict[str, float]:
    """Largest difference of the result and of the three gradients; 1 if dtypes or shapes differ."""
    inputs = [x.clone().requires_grad_() for x in (value, locations, weights)]
    ours = deformable_kernel.sample_by_kernel(inputs[0], shapes, Sampling(*inputs[1:]))
    plain = sample_bilinear(inputs[0], shapes, Sampling(*inputs[1:]))
    upstream = torch.linspace(-1, 1, plain.numel(), dtype=plain.dtype).view_as(plain)
    found = [ours, *torch.autograd.grad(ours, inputs, upstream.to(ours.dtype))]
    wanted = [plain, *torch.autograd.grad(plain, inputs, upstream)]
    names = ("result", "value", "locations", "weights")
    errors = {
        name: float((one.double() - other.double()).detach().abs().max()) if one.numel() else 0.0
        for name, one, other in zip(names, found, wanted, strict=True)
    }
    kinds = [str(x.dtype) for x in found] == [str(x.dtype) for x in (value, *inputs)]
    shapes_agree = [x.shape for x in found] == [x.shape for x in wanted]
    return errors | {"kinds and shapes": 0.0 if kinds and shapes_agree else 1.0}


def at_locations(rows: list[tuple[float, float]], shape=(3, 4)) -> dict[str, float]:
    """One level, one head, and these locations in cells, 0 is the centre of the first cell."""
    cells = torch.tensor(rows, dtype=DOUBLE)
    size = torch.tensor([shape[1], shape[0]], dtype=DOUBLE)
    shapes, value, _, _ = made((shape,), heads=1, width=2)
    locations = ((cells + 0.5) / size).view(1, -1, 1, 1, 1, 2)
    return compared(shapes, value, locations, torch.ones(locations.shape[:-1], dtype=DOUBLE))


def borders() -> dict[str, float]:
    """Between cells, half outside, just inside and outside; the gradient is continuous here."""
    edge = (-0.999, -0.5, 0.25, 2.5, 3.001, 3.999)
    return at_locations([(x, y) for x in edge for y in (-0.999, -0.25, 1.5, 2.999)])


def exactly_on_cells() -> dict[str, float]:
    """Where the gradient is discontinuous, both forms take the cell to the right and below.

    Sides are powers of two, so that nothing is rounded.
    """
    places = [(x, y) for x in (-1.0, 0.0, 2.0, 3.0) for y in (-1.0, 0.0, 1.0)]
    return at_locations(places, shape=(2, 4))


def no_queries() -> dict[str, float]:
    shapes, value, locations, weights = made(RAGGED, queries=0)
    value.requires_grad_()
    result = deformable_kernel.sample_by_kernel(value, shapes, Sampling(locations, weights))
    result.sum().backward()
    assert value.grad is not None
    right = result.shape == (1, 0, 10) and not value.grad.any()
    return {"result": 0.0 if right else 1.0}


def outside() -> dict[str, float]:
    return at_locations([(-1.5, 1.0), (4.0, 1.0), (9.0, 9.0), (1.0, -70.0), (1.0, 3.0)])


def nan_locations() -> dict[str, float]:
    """A NaN location counts as outside; other results do not change."""
    shapes, value, locations, weights = made(((3, 4),), queries=2, heads=1)
    broken = locations.clone()
    broken[0, 0, 0, 0, 0, 0] = torch.nan
    broken[0, 0, 0, 0, 1] = torch.inf
    far = locations.clone()
    far[0, 0] = 50.0
    ways = (Sampling(broken, weights), Sampling(far, weights))
    one, other = (deformable_kernel.sample_by_kernel(value, shapes, way) for way in ways)
    return {"result": float((one - other).detach().abs().max())}


def network() -> dict[str, float]:
    """A small network with the kernel and without it."""
    model, images = random_model(TINY, 0), random_images([(64, 96)], 0)
    accelerate_training(model)
    found = []
    for wanted in ("1", "0"):
        os.environ["TRITON_INTERPRET"] = wanted
        output = model(images).final
        assert output.smplx is not None
        found.append((output.boxes, output.smplx.body_rotmat))
    os.environ["TRITON_INTERPRET"] = "1"
    boxes, rotations = ((a - b).abs().max() for a, b in zip(*found, strict=True))
    return {"boxes": boxes.item(), "rotations": rotations.item()}


def chosen() -> dict[str, float]:
    """The self-test accepts the kernel, and refuses a wrong one."""
    _, value, locations, weights = made(((2, 2),), kind=torch.float32)
    used = kernel_for(value, Sampling(locations, weights))
    right = deformable_kernel.sample_by_kernel
    deformable_kernel.sample_by_kernel = lambda *given: right(*given) * 1.1
    refused = kernel_for(value.double(), Sampling(locations, weights))
    deformable_kernel.sample_by_kernel = right
    return {"used": float(used is not right), "refused": float(refused is not None)}


def kept_by_compile() -> dict[str, float]:
    """The operator compiles as one graph, with gradients."""
    _, value, locations, weights = made(((2, 2), (1, 1)))
    table = deformable_kernel.level_table(((2, 2), (1, 1)), value.device)
    inputs = (value.requires_grad_(), table, locations.requires_grad_(), weights.requires_grad_())
    compiled = torch.compile(deformable_kernel.sample, backend="aot_eager", fullgraph=True)
    torch.library.opcheck(
        deformable_kernel.sample,
        inputs,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    error = (compiled(*inputs) - deformable_kernel.sample(*inputs)).abs().max()
    return {"result": error.item()}


CASES = {
    "ragged levels": lambda: compared(*made(RAGGED, batch=2)),
    "wider than a power of two": lambda: compared(*made(((3, 2),), heads=3, points=3, width=9)),
    "one channel, one point": lambda: compared(*made(((2, 3),), heads=1, points=1, width=1)),
    "single query": lambda: compared(*made(RAGGED, queries=1)),
    "several blocks of queries": lambda: compared(*made(((2, 3),), queries=9, heads=1, width=200)),
    "float32": lambda: compared(*made(RAGGED, kind=torch.float32)),
    "bf16 values": lambda: compared(*made(RAGGED, kind=torch.bfloat16)),
    "far away": lambda: compared(*made(RAGGED, spread=2.0)),
    "no queries": no_queries,
    "no images": lambda: compared(*made(RAGGED, batch=0)),
    "borders": borders,
    "exactly on cells": exactly_on_cells,
    "outside": outside,
    "nan locations": nan_locations,
    "network": network,
    "chosen": chosen,
    "kept by compile": kept_by_compile,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps({name: case() for name, case in CASES.items()}))
