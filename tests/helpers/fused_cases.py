"""Compare fused with plain steps in Triton's interpreter: `python -m tests.helpers.fused_cases`.

A separate process, because the interpreter must be selected before Triton is imported. Prints the
largest differences of each case as JSON.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import nn

from aios.accelerate import fused, fused_kernels
from aios.accelerate.bf16 import convert_to_bf16
from aios.accelerate.fold_batch_norm import fold_batch_norm
from tests.helpers.networks import SMALL, TINY, random_images, random_model

HALF = torch.bfloat16


def normed(shape: tuple[int, ...], kind=HALF, scale=1.0) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    tokens, update = (torch.randn(shape, generator=generator) * scale + scale for _ in range(2))
    norm = nn.LayerNorm(shape[-1]).requires_grad_(False)
    norm.weight.copy_(torch.randn(shape[-1], generator=generator))
    norm.bias.copy_(torch.randn(shape[-1], generator=generator))
    found, half = fused_kernels.add_norm_by_kernel(tokens, update.to(kind), norm)
    wanted = norm(tokens + update.to(kind))
    assert found.dtype == torch.float32
    assert half.dtype == HALF
    return {"full": largest(found, wanted), "half": largest(half, found.to(HALF))}


def summed(shape: tuple[int, int, int, int], adds: bool) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    maps, shortcut = (
        torch.randn(shape, generator=generator)
        .to(HALF)
        .contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    bias = torch.randn(shape[1], generator=generator)
    wanted = maps.float() + bias[:, None, None] + (shortcut.float() if adds else 0.0)
    found = fused_kernels.add_relu_by_kernel(maps, bias, shortcut if adds else None)
    assert found is maps
    return {"maps": largest(found, wanted.relu().to(HALF))}


def nan() -> dict[str, float]:
    maps = torch.full((1, 4, 1, 2), torch.nan, dtype=HALF)
    maps[0, 1] = -torch.inf
    found = fused.add_relu_(maps.contiguous(memory_format=torch.channels_last), torch.zeros(4))
    right = found[0, [0, 2, 3]].isnan().all() and not found[0, 1].any()
    return {"maps": 0.0 if right else 1.0}


def network(config) -> dict[str, float]:
    """Error of the tokens against float32: with kernels, relative to without."""
    images = random_images([(64, 96)], 0)
    exact = random_model(config, 0)(images).encoded.memory
    model = random_model(config, 0).requires_grad_(False)
    fold_batch_norm(model.backbone)
    model.backbone.to(memory_format=torch.channels_last)
    convert_to_bf16(model)
    distances, relus, kernel = [], [], fused_kernels.add_relu_by_kernel
    fused_kernels.add_relu_by_kernel = lambda *given: relus.append(1) or kernel(*given)
    for wanted in ("1", "0"):
        os.environ["TRITON_INTERPRET"] = wanted
        distances.append(float((model(images).encoded.memory - exact).norm()))
    os.environ["TRITON_INTERPRET"] = "1"
    fused_kernels.add_relu_by_kernel = kernel
    per_block = 2 if config.backbone.block == "basic" else 3
    assert len(relus) >= 1 + per_block * sum(config.backbone.depths)  # and a few trials
    return {"memory": distances[0] / distances[1]}


def chosen() -> dict[str, float]:
    """The self-tests accept the kernels, and refuse wrong or failing ones."""
    device, found = torch.device("cpu"), {}

    def norm_works(width: int) -> bool:
        return fused._norm_works(device, width)

    def relu_works(_: int) -> bool:
        fused._relu_works.cache_clear()
        return fused._relu_works(device)

    for module, name, works in (
        (fused_kernels, "add_norm_by_kernel", norm_works),
        (fused_kernels, "add_relu_by_kernel", relu_works),
    ):
        found[f"{name} used"] = float(not works(2))
        right = getattr(module, name)

        def wrong(*given, right=right):
            answer = right(*given)
            return answer * 1.1 if torch.is_tensor(answer) else (answer[0] * 1.1, answer[1])

        def broken(*given):
            raise RuntimeError("no kernel image")

        for width, way in ((13, wrong), (14, broken)):
            setattr(module, name, way)
            found[f"{name} refused at {width}"] = float(works(width))
        setattr(module, name, right)
    return found


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


CASES = {
    "norm": lambda: normed((2, 5, 256)),
    "norm, no power of two": lambda: normed((3, 11, 96)),
    "norm of float32": lambda: normed((1, 3, 32), torch.float32),
    "norm of large numbers": lambda: normed((2, 9, 64), torch.float32, 100.0),
    "norm of nothing": lambda: normed((2, 0, 32)),
    "relu": lambda: summed((2, 64, 3, 5), False),
    "relu of a sum": lambda: summed((2, 64, 3, 5), True),
    "relu of many channels": lambda: summed((1, 512, 2, 3), True),
    "relu, no power of two": lambda: summed((3, 24, 7, 9), True),
    "relu of nothing": lambda: summed((0, 8, 2, 2), False),
    "nan": nan,
    "network": lambda: network(TINY),
    "larger network": lambda: network(SMALL),
    "chosen": chosen,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        sys.stdout.write(json.dumps({name: case() for name, case in CASES.items()}))
