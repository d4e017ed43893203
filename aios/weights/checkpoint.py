"""Read and write weight files and load a network strictly.

Two formats: the `.pth` released with the paper, and a safetensors file with the network's config
in its metadata.  Reading never executes code from a file.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import pickle
import re
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..network.config import AiOSConfig
from .config_sizes import find_absurd_size

NOT_LOADED = {
    "body_model.": "SMPL-X constants; the body model comes from its own file",
    "label_enc.weight": "class embedding of the denoising queries, used in training only",
}
"""Prefixes of released tensor names that are not loaded, with the reason."""

_DECODER_ALIAS = re.compile(
    r"transformer\.decoder\.((?:(?:bbox|pose)(?:_hand|_face)?(?:_hw)?_embed|class_embed)\..*)"
)
_PARALLEL = "module."
"""Prefix of every name in a file saved from `DistributedDataParallel`."""
_SHARED_ALIAS = re.compile(r"(pose(?:_hand|_face)?_hw_embed)\.\d+\.(.*)")
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)|[Uu]nsupported (?:class|global) (\S+)")
_CONFIG_KEY = "config"
_HALF_TOLERANCE = 1e-3
_NAMES_SHOWN = 3


class CheckpointError(ValueError):
    """Unusable weight file; the message is one sentence that names the file and the tensor."""


def canonical_name(name: str) -> str:
    """Canonical name of a released tensor.

    The released file lists shared modules several times: heads again under `transformer.decoder.`,
    and the `*_hw_embed` heads, one module for all layers, once per layer.
    """
    if match := _DECODER_ALIAS.fullmatch(name):
        name = match[1]
    if match := _SHARED_ALIAS.fullmatch(name):
        name = f"{match[1]}.0.{match[2]}"
    return name


def read_released(
    path: str | Path, skipped: Collection[str] = tuple(NOT_LOADED)
) -> dict[str, Tensor]:
    """Read the network from a `.pth` in the released layout.

    Args:
        path: the file.
        skipped: prefixes of names to skip; training skips fewer than inference.

    Returns:
        Canonical released names -> tensors, which may be memory-mapped from the file.

    Raises:
        CheckpointError: wrong layout, truncated file, a pickle that needs code, or different
            values under two names of one tensor.
    """
    content = unpickle(Path(path))
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(v, Tensor) for v in model.values()):
        raise CheckpointError(
            f"{path} is not in the released AiOS layout: it has no entry 'model' with tensors."
        )
    state: dict[str, Tensor] = {}
    first_names: dict[str, str] = {}
    for listed, tensor in model.items():
        name = listed.removeprefix(_PARALLEL)
        if name.startswith(tuple(skipped)):
            continue
        canonical = canonical_name(name)
        if canonical not in state:
            state[canonical], first_names[canonical] = tensor, name
        elif not _same(state[canonical], tensor):
            raise CheckpointError(
                f"{path}: {first_names[canonical]} and {name} must have equal values,"
                " but they differ."
            )
    return state


def load_strictly(
    model: nn.Module, state: Mapping[str, Tensor], source: str | Path, *, assign: bool = False
) -> None:
    """Load `state` into `model` after checking all tensors; on error the model is unchanged.

    Floating-point tensors are converted to the precision of the model.

    Args:
        model: network; `state` must have every name of its `state_dict()`.
        state: weights; the network must have every name.
        source: origin of the weights, for error messages.
        assign: use the tensors of `state` themselves where the precision is equal, instead of
            copying values.  Memory-mapped tensors then stay shared between the processes of a
            machine until written to.

    Raises:
        CheckpointError: missing or unexpected names, wrong shapes or types, NaN or infinity.
    """
    wanted = model.state_dict()
    shared = [name for name in wanted if name in state]
    problems = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "wrong shape": [
            f"{name} ({_shape(state[name])} instead of {_shape(wanted[name])})"
            for name in shared
            if state[name].shape != wanted[name].shape
        ],
        "wrong type": [
            f"{name} ({_dtype(state[name])} instead of {_dtype(wanted[name])})"
            for name in shared
            if state[name].is_floating_point() != wanted[name].is_floating_point()
        ],
        "not finite (NaN or infinity)": [
            name for name in shared if not _is_finite_as(state[name], wanted[name].dtype)
        ],
    }
    found = [f"{problem}: {_first_names(names)}" for problem, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(found)}.")
    if assign:
        assigned = {n: state[n].to(tensor.dtype).contiguous() for n, tensor in wanted.items()}
        model.load_state_dict(assigned, assign=True)
        return
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(state[name])


def save_safetensors(
    path: str | Path,
    model_state: Mapping[str, Tensor],
    config: AiOSConfig,
    extra: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write weights and config as one safetensors file, atomically.

    Vectors (biases, scales, running statistics) keep their precision: they are small, and some are
    divisors.  Tensors that `dtype` would change by more than 0.1 % (norm) keep it, too.

    Args:
        path: file to write; its folder must exist.
        model_state: `state_dict()` of the network.
        config: config of the network.
        extra: additional metadata; `load_model` reads `body_convention`, `threshold`,
            `max_overlap`, `placed_by` and `score_calibration`.
        dtype: precision of matrices and convolutions.

    Raises:
        CheckpointError: NaN or infinity, or the file cannot be written.
    """
    path = Path(path)
    damaged = [
        name for name, tensor in model_state.items() if not _is_finite_as(tensor, tensor.dtype)
    ]
    if damaged:
        raise CheckpointError(
            f"{path} was not written: not finite (NaN or infinity): {_first_names(damaged)}."
        )
    # Cloned, since safetensors refuses tensors that share memory.
    tensors = {
        name: _narrowed(tensor.detach().cpu(), dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in model_state.items()
    }
    metadata = {**(extra or {}), _CONFIG_KEY: json.dumps(config.to_dict())}
    try:
        handle, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}.") from error
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata)
        _make_durable(temporary)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}.") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def read_safetensors(path: str | Path) -> tuple[AiOSConfig, dict[str, Tensor], dict[str, str]]:
    """Read a file written by `save_safetensors`.

    Returns:
        Config of the network, weights, and the rest of the metadata.

    Raises:
        CheckpointError: wrong format, truncated file, or a config that this version cannot read.
    """
    path = Path(path)
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, MemoryError, RuntimeError) as error:
        raise CheckpointError(_unreadable(path, "a complete safetensors file", error)) from error
    if _CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{path} has no AiOS network: its safetensors metadata has no '{_CONFIG_KEY}'."
        )
    try:
        config = AiOSConfig.from_dict(json.loads(metadata.pop(_CONFIG_KEY)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has a network config of another version: {error}."
        ) from error
    if problem := find_absurd_size(config):
        raise CheckpointError(f"{path} is damaged: {problem}.")
    return config, state, metadata


def unpickle(path: Path) -> Any:  # noqa: ANN401 - a pickle may hold anything
    """`torch.load` restricted to tensors, built-in containers and `argparse.Namespace`.

    Raises:
        CheckpointError: missing file, not a pickle, truncated, or it needs any other class.
    """
    _require_file(path)
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            # With mmap, the optimizer's part of the file is never read; it needs the zip format.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged pickle can raise nearly any exception
        refused = _REFUSED_GLOBAL.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise CheckpointError(
                f"{path} was refused and none of its code was run: it needs"
                f" {refused[1] or refused[2]}, which weight files do not contain."
            ) from error
        raise CheckpointError(_unreadable(path, "a complete .pth file", error)) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"The weight file {path} does not exist.")


def _unreadable(path: Path, expected: str, error: Exception) -> str:
    """Error message for a file that is not `expected`; detects common download mistakes."""
    if is_out_of_memory(error):
        return f"There is not enough memory to read {path}: close other programs."
    with path.open("rb") as file:
        start = file.read(64)
    size = path.stat().st_size
    if not size:
        return f"{path} is empty: download it again."
    if start.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer: fetch the file itself with `git lfs pull`."
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f"{path} is a web page, not weights: download the file itself."
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "unexpected end"
    return (
        f"{path} ({size / 1e6:.1f} MB) is not {expected}, perhaps truncated:"
        f" download it again ({reason})."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, the system or the allocator of torch ran out of memory."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) == errno.ENOMEM
        or any(words in text for words in ("allocate memory", "out of memory", "not enough memory"))
    )


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.data_ptr() == second.data_ptr() and first.stride() == second.stride():
        return True
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def _is_finite_as(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether all values are finite after conversion to `dtype`."""
    return not tensor.is_floating_point() or bool(tensor.to(dtype).isfinite().all())


def _narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    narrow = tensor.to(dtype)
    error = (narrow.to(tensor.dtype) - tensor).norm()
    return narrow if bool(error <= _HALF_TOLERANCE * tensor.norm()) else tensor


def _make_durable(path: str) -> None:
    os.chmod(path, 0o644)  # mkstemp creates 0o600, unreadable for other users
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first_names(names: list[str]) -> str:
    """First few of `names`, with the total if there are more."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ... ({len(names)} in total)"
