"""The weights that a run starts from: nothing, an own file or run, the paper's, or ED-Pose.

Every kind has its own rule of what must be there, and everything in a file must be used: a name
that is missing or left over is an error (training specification, section 1).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from aios.network.model import AiOS
from aios.weights.checkpoint import CheckpointError, load_strictly, read_released, read_safetensors
from aios.weights.official_names import rename_official

from .checkpointing import averaged_weights, load_newest

logger = logging.getLogger(__name__)

BODY_MODEL = ("body_model.",)
"""SMPL-X constants inside released files; the body model comes from its own file."""
LABELS = "label_enc.weight"
"""Released name of the embedding of the denoising queries' labels."""
_OWN_LABELS = "denoising.labels.weight"
"""The same in checkpoints of runs, where it is not averaged: it is no part of the network."""
_SMPLX_HEAD = "smpl_pose_embed."

FRESH_AFTER_ED_POSE = re.compile(
    r"decoder\.("
    r"body_expansion\.(left_hand|right_hand|face|hand_box_centre|face_box_centre)\."
    r"|whole_body_expansion\."
    r"|heads\.layers\.\d+\.(hand_box_|face_box_|hand_point_|face_point_|smplx\.)"
    r"|heads\.(hand|face)_point_size\."
    r").*"
)
"""Our names of what ED-Pose does not have: everything of hands, face and SMPL-X."""
IMAGE_FEATURES = ("backbone.", "level_projections.")
"""Beginnings of the names of what a classifier of ImageNet takes the place of."""
_JOINT_TOKENS = re.compile(
    r"decoder\.(body_expansion\.joint|heads\.(layers\.\d+\.joint_centre|joint_size)\.).*"
)
"""What a network of box tokens alone does not take from ED-Pose."""


def load_start(source: str, model: AiOS, labels: nn.Embedding, fresh: tuple[str, ...] = ()) -> None:
    """Load the weights that a run starts from, in place.

    Args:
        source: a `.safetensors` file of this program, the folder of an earlier run (its averaged
            weights), or a `.pth` / `.pt` in the layout of the released AiOS or of ED-Pose.
        model: as built, with frozen batch norm.
        labels: embedding of the denoising queries' labels; runs and released files hold it,
            `.safetensors` files do not and leave it as it is.
        fresh: beginnings of names that stay as they are, whatever the file or run has there, such
            as `IMAGE_FEATURES`.

    Raises:
        CheckpointError: nothing usable there, or it does not fit.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        state = load_newest(path)
        load_strictly(model, _but(averaged_weights(state, path)[1], model, fresh), path)
        _load_labels(path, state["learner"][_OWN_LABELS], labels)
        kind = "the averaged weights of an earlier run"
    elif path.suffix == ".safetensors":
        load_strictly(model, _but(read_safetensors(path)[1], model, fresh), path)
        kind = "weights of this program"
    else:
        kind = _load_released(path, model, labels, fresh)
    logger.info("starting from %s: %s", path, kind)


def _but(state: Mapping[str, Tensor], model: AiOS, fresh: tuple[str, ...]) -> dict[str, Tensor]:
    """The state with the present numbers of `fresh`."""
    others = {name: tensor for name, tensor in state.items() if not name.startswith(fresh)}
    return others | {n: t for n, t in model.state_dict().items() if n.startswith(fresh)}


def _load_released(path: Path, model: AiOS, labels: nn.Embedding, fresh: tuple[str, ...]) -> str:
    state = read_released(path, BODY_MODEL)
    ed_pose = not any(name.startswith(_SMPLX_HEAD) for name in state)
    label_rows = state.pop(LABELS, None)
    ours = rename_official(state, model.config)
    kind = "all of AiOS"
    if ed_pose:
        ours = _completed(path, ours, model)
        kind = "ED-Pose; hands, face and SMPL-X start fresh"
    load_strictly(model, _but(ours, model, fresh), path)
    if label_rows is not None:
        _load_labels(path, label_rows, labels)
    return kind


def _completed(path: Path, ours: dict[str, Tensor], model: AiOS) -> dict[str, Tensor]:
    """The state of ED-Pose plus the present numbers of what it does not have."""
    intruders = [name for name in ours if FRESH_AFTER_ED_POSE.fullmatch(name)]
    if intruders:
        raise CheckpointError(
            f"{path} is neither ED-Pose nor AiOS: it has {intruders[0]} but no SMPL-X heads."
        )
    if not model.config.point_tokens:
        ours = {name: t for name, t in ours.items() if not _JOINT_TOKENS.fullmatch(name)}
    fresh = {n: t for n, t in model.state_dict().items() if FRESH_AFTER_ED_POSE.fullmatch(n)}
    return ours | fresh


def _load_labels(path: Path, rows: Tensor, labels: nn.Embedding) -> None:
    if rows.shape != labels.weight.shape:
        raise CheckpointError(
            f"{path} does not fit the network: its labels have shape {tuple(rows.shape)}"
            f" instead of {tuple(labels.weight.shape)}."
        )
    with torch.no_grad():
        labels.weight.copy_(rows)
