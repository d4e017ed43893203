"""Compile the Triton kernels for GPUs: `python -m tests.helpers.kernel_compiled`.

A separate process, without Triton's interpreter. Prints as JSON, for each kernel and GPU
architecture, the number of 16-byte loads and the stack bytes per thread (register spills).
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from aios.accelerate.deformable_kernel import backward_kernel, forward_kernel, launch_sizes
from aios.accelerate.fused_kernels import norm_kernel, norm_sizes, relu_kernel, relu_sizes
from training.synthetic.raster_kernel import SIZES as RASTER_SIZES
from training.synthetic.raster_kernel import fill_kernel

ARCHITECTURES = (90,)
HEADS, CHANNELS, LEVELS, POINTS = 8, 32, 4, 4  # as in the paper
INPUTS = {"value": "*bf16", "levels": "*i32", "locations": "*fp32", "weights": "*fp32"}
GRADIENTS = {"grad_result": "*bf16"} | {
    f"grad_{name}": "*fp32" for name in ("value", "locations", "weights")
}
NORM = {name: "*fp32" for name in ("tokens", "weight", "bias", "result")} | {
    name: "*bf16" for name in ("update", "rounded")
}
RASTER = {name: "*fp32" for name in ("planes", "low", "span", "focal_length")} | {
    **{name: "*i64" for name in ("areas", "image_of", "owner", "label", "keys")},
    "covered": "*u8",
}
EVEN = ("channels",)
"""Integer arguments that are multiples of 16 in the paper's network."""
RELU = {"maps": "*bf16", "bias": "*fp32", "shortcut": "*bf16"}


def sampling_sizes() -> dict:
    value = torch.empty(1, 1, HEADS, CHANNELS, dtype=torch.bfloat16)
    return launch_sizes(value, torch.empty(1, 1, HEADS, LEVELS, POINTS))


def compiled(kernel, pointers: dict[str, str], constants: dict, architecture: int):
    names = kernel.arg_names
    kinds = {name: "constexpr" if name in constants else "i32" for name in names} | pointers
    # As at a launch: the compiler may rely on the alignment of torch's memory.
    aligned = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name in (*pointers, *EVEN)
        if name in names
    }
    fixed = {(names.index(name),): number for name, number in constants.items()}
    source = ASTSource(kernel, kinds, fixed, aligned)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32))


def stack_bytes(program: bytes) -> int:
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(program)
        file.flush()
        command = [str(folder / "cuobjdump"), "-res-usage", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"STACK:(\d+)", report)[0])


def main() -> None:
    found = {}
    for name, kernel, pointers, constants in (
        ("forward", forward_kernel, INPUTS | {"result": "*bf16"}, sampling_sizes()),
        ("backward", backward_kernel, INPUTS | GRADIENTS, sampling_sizes()),
        ("norm", norm_kernel, NORM, norm_sizes(HEADS * CHANNELS) | {"EPS": 1e-5}),
        ("relu", relu_kernel, RELU, relu_sizes(256, True)),
        ("raster", fill_kernel, RASTER, RASTER_SIZES | {"PEOPLE": True}),
    ):
        for architecture in ARCHITECTURES:
            code = compiled(kernel, pointers, constants, architecture).asm
            wide = len(re.findall(r"ld\.global\.v4\.b32", code["ptx"]))
            found[f"{name} sm_{architecture}"] = (wide, stack_bytes(code["cubin"]))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
