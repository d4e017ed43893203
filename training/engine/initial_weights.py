"""Initial weights of a run: an earlier run, a weights file, the released AiOS, or ED-Pose.

Every file is loaded strictly: a missing or an unused tensor is an error.  Only the tensors that
ED-Pose does not have (`FRESH_AFTER_ED_POSE`) keep their random values.
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
"""Prefix of SMPL-X constants in released files; they are not loaded."""
LABELS = "label_enc.weight"
"""Released name of the label embedding of the denoising queries."""
_OWN_LABELS = "denoising.labels.weight"
"""Its name in checkpoints of runs; it is not part of the network and not averaged."""
_SMPLX_HEAD = "smpl_pose_embed."

FRESH_AFTER_ED_POSE = re.compile(
    r"decoder\.("
    r"body_expansion\.(left_hand|right_hand|face|hand_box_centre|face_box_centre)\."
    r"|whole_body_expansion\."
    r"|heads\.layers\.\d+\.(hand_box_|face_box_|hand_point_|face_point_|smplx\.)"
    r"|heads\.(hand|face)_point_size\."
    r").*"
)
"""Our names of tensors that ED-Pose does not have: hands, face and SMPL-X."""
IMAGE_FEATURES = ("backbone.", "level_projections.")
"""Name prefixes of the tensors that an ImageNet classifier replaces."""
_JOINT_TOKENS = re.compile(
    r"decoder\.(body_expansion\.joint|heads\.(layers\.\d+\.joint_centre|joint_size)\.).*"
)
"""Tensors of ED-Pose that a network without point tokens does not have."""


def load_initial_weights(
    source: str, model: AiOS, labels: nn.Embedding, fresh: tuple[str, ...] = ()
) -> None:
    """Load initial weights in place.

    Args:
        source: a `.safetensors` file of this program, the folder of an earlier run (its averaged
            weights), or a `.pth` / `.pt` in the layout of the released AiOS or of ED-Pose.
        model: as built, with frozen batch norm.
        labels: label embedding of the denoising queries; `.safetensors` files do not hold it and
            leave it unchanged.
        fresh: name prefixes of tensors that stay unchanged, e.g. `IMAGE_FEATURES`.

    Raises:
        CheckpointError: `source` is missing, damaged or does not fit.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        state = load_newest(path)
        load_strictly(model, _except_fresh(averaged_weights(state, path)[1], model, fresh), path)
        _load_labels(path, state["learner"][_OWN_LABELS], labels)
        kind = "averaged weights of an earlier run"
    elif path.suffix == ".safetensors":
        load_strictly(model, _except_fresh(read_safetensors(path)[1], model, fresh), path)
        kind = "weights of this program"
    else:
        kind = _load_released(path, model, labels, fresh)
    logger.info("starting from %s: %s", path, kind)


def _except_fresh(
    state: Mapping[str, Tensor], model: AiOS, fresh: tuple[str, ...]
) -> dict[str, Tensor]:
    """`state` with the present values of the tensors whose names start with `fresh`."""
    others = {name: tensor for name, tensor in state.items() if not name.startswith(fresh)}
    return others | {n: t for n, t in model.state_dict().items() if n.startswith(fresh)}


def _load_released(path: Path, model: AiOS, labels: nn.Embedding, fresh: tuple[str, ...]) -> str:
    state = read_released(path, BODY_MODEL)
    ed_pose = not any(name.startswith(_SMPLX_HEAD) for name in state)
    label_rows = state.pop(LABELS, None)
    ours = rename_official(state, model.config)
    kind = "released AiOS"
    if ed_pose:
        ours = _with_fresh(path, ours, model)
        kind = "ED-Pose; hands, face and SMPL-X start at random"
    load_strictly(model, _except_fresh(ours, model, fresh), path)
    if label_rows is not None:
        _load_labels(path, label_rows, labels)
    return kind


def _with_fresh(path: Path, ours: dict[str, Tensor], model: AiOS) -> dict[str, Tensor]:
    """Tensors of ED-Pose plus the present values of those that it does not have."""
    unexpected = [name for name in ours if FRESH_AFTER_ED_POSE.fullmatch(name)]
    if unexpected:
        raise CheckpointError(
            f"{path} is neither ED-Pose nor AiOS: it has {unexpected[0]} but no SMPL-X heads."
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
