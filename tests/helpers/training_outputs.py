"""Synthetic network outputs for the tests of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aios.geometry.rotations import axis_angle_to_rotmat
from aios.network.outputs import AiOSOutput, LayerOutput, ProposalOutput, SmplxOutput
from training.data.batch import Batch
from training.losses.projection import fit_weak_camera

STAGES = ("locate", "refine_body", "refine_body", "refine_whole_body", "refine_whole_body")
_PARTS = ("left_hand", "right_hand", "face")


def output_of(layer: LayerOutput) -> AiOSOutput:
    """Output of a network with one decoder layer."""
    return AiOSOutput(final=layer, proposals=None, selected_queries=None, encoded=None)


def perfect_layer(batch: Batch, slots: int = 4) -> LayerOutput:
    """Last layer with correct predictions; person k of an image is in slot k."""
    targets, size = batch.targets, len(batch)
    pairs, used = [], {}
    for image in batch.image_index.tolist():
        pairs.append((image, used.setdefault(image, 0)))
        used[image] += 1
    image, slot = (torch.tensor(column, dtype=torch.int64) for column in zip(*pairs, strict=True))

    def fill(values, blank):
        full = blank.expand(size, slots, *values.shape[1:]).clone()
        full[image, slot] = values
        return full

    eye = torch.eye(3)

    def rotations(values):
        return fill(axis_angle_to_rotmat(values.unflatten(-1, (-1, 3))), eye)

    sizes_hw = batch.sizes_hw[batch.image_index]
    camera, usable = fit_weak_camera(targets, batch.focal_length, sizes_hw)
    assert bool(usable.all())
    logits = torch.full((size, slots, 2), -12.0)
    logits[image, slot, 1] = 12.0
    box = torch.tensor([0.5, 0.5, 0.1, 0.1])
    zero = torch.zeros(())
    whole = torch.cat([targets.global_orient, targets.body_pose], -1)
    return LayerOutput(
        stage="refine_whole_body",
        class_logits=logits,
        boxes=fill(targets.boxes, box),
        left_hand_boxes=fill(targets.left_hand_boxes, box),
        right_hand_boxes=fill(targets.right_hand_boxes, box),
        face_boxes=fill(targets.face_boxes, box),
        keypoints_2d=fill(targets.keypoints_2d, zero),
        left_hand_keypoints_2d=fill(targets.left_hand_keypoints_2d, zero),
        right_hand_keypoints_2d=fill(targets.right_hand_keypoints_2d, zero),
        face_keypoints_2d=fill(targets.face_keypoints_2d, zero),
        smplx=SmplxOutput(
            body_rotmat=rotations(whole),
            left_hand_rotmat=rotations(targets.left_hand_pose),
            right_hand_rotmat=rotations(targets.right_hand_pose),
            jaw_rotmat=rotations(targets.jaw_pose),
            betas=fill(targets.betas, zero),
            expression=fill(targets.expression, zero),
            weak_camera=fill(camera, torch.tensor(0.1)),
        ),
    )


def random_output(
    batch: Batch, slots: int = 5, extra: int = 6, kind: torch.dtype = torch.float32
) -> AiOSOutput:
    """Random output of five layers and of the proposals, with `extra` denoising queries."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int, low: float = 0.2, high: float = 0.8) -> Tensor:
        values = torch.rand(len(batch), *shape, generator=generator, dtype=torch.float64)
        return (values * (high - low) + low).to(kind)

    def rotations(joints: int) -> Tensor:
        return axis_angle_to_rotmat(uniform(slots, joints, 3, low=-0.9, high=0.9))

    def layer(stage: str) -> LayerOutput:
        values: dict[str, Any] = {
            "class_logits": uniform(slots, 2, low=-2, high=2),
            "boxes": uniform(slots, 4),
            "prefix_class_logits": uniform(extra, 2, low=-2, high=2),
            "prefix_boxes": uniform(extra, 4),
        }
        if stage == "locate":
            return LayerOutput(stage, **values)
        values |= {f"{part}_boxes": uniform(slots, 4) for part in _PARTS}
        values["keypoints_2d"] = uniform(slots, 17, 2)
        if stage == "refine_whole_body":
            values |= {f"{part}_keypoints_2d": uniform(slots, 6, 2) for part in _PARTS}
        camera = uniform(slots, 3, low=-0.2, high=0.2)
        camera[..., 0] += 0.4
        smplx = SmplxOutput(
            body_rotmat=rotations(22),
            left_hand_rotmat=rotations(15),
            right_hand_rotmat=rotations(15),
            jaw_rotmat=rotations(1),
            betas=uniform(slots, 10, low=-1, high=1),
            expression=uniform(slots, 10, low=-1, high=1),
            weak_camera=camera,
        )
        return LayerOutput(stage, **values, smplx=smplx)

    *before, final = (layer(stage) for stage in STAGES)
    nothing = torch.zeros(len(batch), 0, dtype=kind)
    proposals = ProposalOutput(
        nothing, nothing, uniform(slots, 2, low=-2, high=2), uniform(slots, 4)
    )
    return AiOSOutput(final, proposals, nothing, None, tuple(before))


def change_tensors(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor of an output."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple):
        return tuple(change_tensors(value, change) for value in output)
    if not is_dataclass(output):
        return output
    names = [field.name for field in fields(output)]
    return replace(output, **{n: change_tensors(getattr(output, n), change) for n in names})


def leaves(output: AiOSOutput) -> tuple[AiOSOutput, list[Tensor]]:
    """The output with fresh leaf tensors that require gradients, and a list of them."""
    found: list[Tensor] = []

    def leaf(value: Tensor) -> Tensor:
        found.append(value.detach().clone().requires_grad_())
        return found[-1]

    return change_tensors(output, leaf), found
