"""Random people and batches for the tests of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from aios.body.model import BodyModel
from training.data.batch import Batch, Sample, build_batch
from training.targets import Targets, joint_keypoints

FOCAL_PX = 200.0
SIZE_HW = (64, 96)


def random_targets(body: BodyModel, people: int, seed: int = 0) -> Targets:
    """Posed stand-in bodies in front of a camera of `FOCAL_PX`, fully annotated."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    upright = torch.tensor([[torch.pi, 0.0, 0.0]]).expand(people, 3)
    parameters = {
        "global_orient": upright + normal(people, 3, scale=0.2),
        "body_pose": normal(people, 63, scale=0.2),
        "left_hand_pose": normal(people, 45, scale=0.1),
        "right_hand_pose": normal(people, 45, scale=0.1),
        "jaw_pose": normal(people, 3, scale=0.05),
        "betas": normal(people, 10, scale=0.5),
        "expression": normal(people, 10, scale=0.5),
        "transl": torch.tensor([0.0, 0.0, 7.0]) + normal(people, 3, scale=0.4),
    }
    joints_3d = body.joints(parameters)
    height, width = SIZE_HW
    size = torch.tensor([width, height])
    joints_2d = joints_3d[..., :2] / joints_3d[..., 2:] * FOCAL_PX / size + 0.5
    low, high = joints_2d.amin(1).clamp(0, 1), joints_2d.amax(1).clamp(0, 1)
    boxes = torch.cat([(low + high) / 2, high - low], -1)
    yes = torch.ones(people, dtype=torch.bool)
    parts = {}
    for part, index in (("left_hand", 20), ("right_hand", 21), ("face", 15)):
        centre = joints_2d[:, index].clamp(0.1, 0.9)
        parts[f"{part}_boxes"] = torch.cat([centre, torch.full_like(centre, 0.1)], -1)
        parts[f"{part}_box_valid"] = yes
    return replace(
        Targets.unannotated(people, focal_length=FOCAL_PX),
        boxes=boxes,
        box_valid=yes,
        smplx_valid=yes,
        joints_3d=joints_3d,
        joints_3d_valid=yes,
        joints_2d=joints_2d,
        **joint_keypoints(joints_2d),
        **parts,
        **parameters,
    )


def random_picture(seed: int) -> np.ndarray:
    """(64, 96, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (*SIZE_HW, 3), np.uint8)


def random_batch(body: BodyModel, counts: tuple[int, ...] = (2, 0, 3), seed: int = 0) -> Batch:
    """One image per entry of `counts`, with that number of people."""
    samples = [
        Sample(random_picture(seed + k), random_targets(body, count, seed + k))
        for k, count in enumerate(counts)
    ]
    return build_batch(samples, FOCAL_PX)
