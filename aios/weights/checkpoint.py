"""Read weight files, write our own, and load a network strictly.

Two layouts are known: the released `.pth` of the paper (specification section 1), and our own
safetensors file that carries the network's sizes.  Nothing in a file is ever executed.
"""

from __future__ import annotations

import argparse
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

NOT_LOADED = {
    "body_model.": "SMPL-X constants; the body model comes from its own file",
    "label_enc.weight": "class embedding of the denoising queries, used in training only",
}
"""Prefixes of released names that are left out, with the reason."""

_DECODER_ALIAS = re.compile(
    r"transformer\.decoder\.((?:(?:bbox|pose)(?:_hand|_face)?(?:_hw)?_embed|class_embed)\..*)"
)
_PARALLEL = "module."
"""Put before every name where a network was saved in its wrapper for several GPUs."""
_SHARED_ALIAS = re.compile(r"(pose(?:_hand|_face)?_hw_embed)\.\d+\.(.*)")
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+)|[Uu]nsupported (?:class|global) (\S+)")
_CONFIG_KEY = "config"
_HALF_TOLERANCE = 1e-3
_NAMES_SHOWN = 3


class CheckpointError(ValueError):
    """A weight file that cannot be used; the message is one sentence naming file and tensor."""


def canonical_name(name: str) -> str:
    """The one name of a tensor that the released file lists under several (section 1)."""
    if match := _DECODER_ALIAS.fullmatch(name):
        name = match[1]
    if match := _SHARED_ALIAS.fullmatch(name):
        name = f"{match[1]}.0.{match[2]}"
    return name


def read_released(
    path: str | Path, left_out: Collection[str] = tuple(NOT_LOADED)
) -> dict[str, Tensor]:
    """Read the network of a `.pth` in the released layout, aliases checked and collapsed.

    Args:
        path: the file.
        left_out: beginnings of names that are not read; training reads more than inference.

    Returns:
        Released canonical names to tensors.  The tensors may be mapped from the file.

    Raises:
        CheckpointError: not such a file, cut off, asking to run code, or aliases that differ.
    """
    content = unpickle(Path(path))
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(v, Tensor) for v in model.values()):
        raise CheckpointError(
            f"{path} is not in the released AiOS layout: it has no entry 'model' holding tensors."
        )
    state: dict[str, Tensor] = {}
    first_names: dict[str, str] = {}
    for listed, tensor in model.items():
        name = listed.removeprefix(_PARALLEL)
        if name.startswith(tuple(left_out)):
            continue
        canonical = canonical_name(name)
        if canonical not in state:
            state[canonical], first_names[canonical] = tensor, name
        elif not _same(state[canonical], tensor):
            raise CheckpointError(
                f"{path}: {first_names[canonical]} and {name} must hold the same numbers,"
                " but they differ."
            )
    return state


def load_strictly(
    model: nn.Module, state: Mapping[str, Tensor], source: str | Path, *, take: bool = False
) -> None:
    """Put `state` into `model`, after checking all of it; on any error nothing is changed.

    Floating-point numbers are converted to the precision of the model.

    Args:
        model: the network; every name of its `state_dict()` must be in `state`.
        state: the weights; every name must be in the model.
        source: where they come from, for messages.
        take: the model takes the tensors themselves where they have its precision, instead of
            their numbers: those that are mapped from a file stay so, are read once by all processes
            of a machine, and are copied only where they are written to.

    Raises:
        CheckpointError: names missing or unexpected, wrong shapes or kinds, NaN or infinity.
    """
    wanted = model.state_dict()
    shared = [name for name in wanted if name in state]
    complaints = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} ({_shape(state[name])} instead of {_shape(wanted[name])})"
            for name in shared
            if state[name].shape != wanted[name].shape
        ],
        "of another kind": [
            f"{name} ({_kind(state[name])} instead of {_kind(wanted[name])})"
            for name in shared
            if state[name].is_floating_point() != wanted[name].is_floating_point()
        ],
        "not finite (NaN or infinity)": [
            name for name in shared if not _finite_as(state[name], wanted[name].dtype)
        ],
    }
    found = [f"{what}: {_some(names)}" for what, names in complaints.items() if names]
    if found:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(found)}.")
    if take:
        taken = {n: state[n].to(tensor.dtype).contiguous() for n, tensor in wanted.items()}
        model.load_state_dict(taken, assign=True)
        return
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(state[name])


def save_own(
    path: str | Path,
    model_state: Mapping[str, Tensor],
    config: AiOSConfig,
    extra: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write weights and sizes as one safetensors file; the old file stays until the new is whole.

    Vectors (biases, scales, running statistics) keep their precision: they cost nothing and some
    are divided by.  So does any tensor that `dtype` would change by more than 0.1 %.

    Args:
        path: the file to write; its folder must exist.
        model_state: `state_dict()` of the network.
        config: the sizes of the network.
        extra: further entries of the metadata; `weights` reads `body_convention` and `threshold`.
        dtype: precision of matrices and convolutions.

    Raises:
        CheckpointError: a number is NaN or infinite, or the file cannot be written.
    """
    path = Path(path)
    damaged = [name for name, tensor in model_state.items() if not _finite_as(tensor, tensor.dtype)]
    if damaged:
        raise CheckpointError(f"{path} was not written, not finite: {_some(damaged)}.")
    # Each tensor gets memory of its own: the format has no shared ones.
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


def read_own(path: str | Path) -> tuple[AiOSConfig, dict[str, Tensor], dict[str, str]]:
    """Read a file of `save_own`.

    Returns:
        The sizes of the network, the weights, and the metadata without the sizes.

    Raises:
        CheckpointError: not such a file, cut off, or sizes that this version does not know.
    """
    path = Path(path)
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            _not_a_weight_file(path, "a whole safetensors file", error)
        ) from error
    if _CONFIG_KEY not in metadata:
        raise CheckpointError(
            f"{path} holds no AiOS network: its safetensors metadata has no '{_CONFIG_KEY}'."
        )
    try:
        config = AiOSConfig.from_dict(json.loads(metadata.pop(_CONFIG_KEY)))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} describes a network unknown here: {error}.") from error
    return config, state, metadata


def unpickle(path: Path) -> Any:  # noqa: ANN401 - a pickle may hold anything
    """`torch.load` that builds tensors, plain containers and `argparse.Namespace`, no more.

    Raises:
        CheckpointError: no such file, not a pickle, cut off, or asking for anything else.
    """
    _require_file(path)
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Mapped, the optimizer's share of the file is never read; only zip files can be.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # damaged pickles raise nearly any class
        refused = _REFUSED_GLOBAL.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise CheckpointError(
                f"{path} was refused, nothing in it was run: it asks for"
                f" {refused[1] or refused[2]}, which is no part of a weight file."
            ) from error
        raise CheckpointError(_not_a_weight_file(path, "a whole .pth file", error)) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"There is no weight file {path}.")


def _not_a_weight_file(path: Path, wanted: str, error: Exception) -> str:
    """One sentence on what `path` is instead of `wanted`, for the mistakes people make."""
    with path.open("rb") as file:
        start = file.read(64)
    size = path.stat().st_size
    if not size:
        return f"{path} is empty: download it again."
    if start.startswith(b"version https://git-lfs"):
        return f"{path} is only a pointer of Git LFS: fetch the file itself with `git lfs pull`."
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f"{path} is a web page, not weights: download the file itself."
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "it ends too early"
    return (
        f"{path} ({size / 1e6:.1f} MB) is not {wanted}, perhaps cut off:"
        f" download it again ({reason})."
    )


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.data_ptr() == second.data_ptr() and first.stride() == second.stride():
        return True
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def _finite_as(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether every number is finite once converted to `dtype`."""
    return not tensor.is_floating_point() or bool(tensor.to(dtype).isfinite().all())


def _narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    narrow = tensor.to(dtype)
    error = (narrow.to(tensor.dtype) - tensor).norm()
    return narrow if bool(error <= _HALF_TOLERANCE * tensor.norm()) else tensor


def _make_durable(path: str) -> None:
    os.chmod(path, 0o644)  # mkstemp's 0o600 would lock out everyone else
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(names: list[str]) -> str:
    """The first few of `names`, and their number when those are not all."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown}, ... ({len(names)} in all)"
