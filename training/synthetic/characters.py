"""Sampling of the people of a batch of scenes: pose, shape, appearance, contacts, placement."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import angles_to_body_pose, axis_rotation, rotations_to_axis_angle
from .appearance import Appearance, garment_offsets, sample_appearance
from .assets import SceneAssets
from .body_parameters import sample_betas, sample_faces, sample_hand
from .contacts import CONTACT_NUMBER, PARTNER_CONTACTS, ContactPoints, full_pose, palm, reach, touch
from .labels import PosedPeople
from .layout import Cameras, sample_layout
from .poses import Poses, sample_poses, with_mocap
from .rng import CounterRng, constant
from .surface import BodySurface, PosedSurface

_HEAD_M = 0.22  # highest joint to the top of the head, plus lowest joint to the sole
_SOLE_M = 0.06  # lowest joint to the sole


@dataclass(frozen=True)
class CharacterSlots:
    """Assignment of N people to B scenes.

    Attributes:
        scene: (N,) int64 scene index, ascending.
        slot: (N,) int64 index within the scene.
        present: (B, P) bool occupied slots.
        visible: (N,) bool; false for placeholders, which are never drawn. A batch without people
            has one placeholder.
    """

    scene: Tensor
    slot: Tensor
    present: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Characters:
    """N people, posed and placed in world coordinates (y up, metres).

    Attributes:
        slots: scene of each person.
        poses: sampled poses and activities.
        pose: (N, 55, 3) axis-angle; the root rotation is zero.
        betas: (N, 10).
        expression: (N, 10).
        appearance: clothing and colours.
        body: posed meshes, without root rotation and translation.
        yaw: (N, 3, 3) rotation about the vertical axis.
        orientation: (N, 3, 3) body -> world.
        pelvis: (N, 3) metres, world.
    """

    slots: CharacterSlots
    poses: Poses
    pose: Tensor
    betas: Tensor
    expression: Tensor
    appearance: Appearance
    body: PosedSurface
    yaw: Tensor
    orientation: Tensor
    pelvis: Tensor

    def in_frame(self, rotation: Tensor, position: Tensor, points: Tensor) -> Tensor:
        """Transform body points into camera or light frames.

        Args:
            rotation: (B, 3, 3) world -> frame.
            position: (B, 3) origin of the frame, world, metres.
            points: (N, K, 3) in the frame of `body`.

        Returns:
            (N, K, 3) metres.
        """
        scene = self.slots.scene
        orientation = rotation[scene] @ self.orientation
        shift = (rotation[scene] @ (self.pelvis - position[scene])[..., None])[..., 0]
        return (points - self.body.joints_3d[:, :1]) @ orientation.transpose(1, 2) + shift[:, None]


def sample_characters(
    assets: SceneAssets, rng: CounterRng, slots: CharacterSlots
) -> tuple[Characters, Cameras]:
    """Sample all people of B scenes, and the cameras.

    Args:
        assets: shared assets.
        rng: one key per scene.
        slots: assignment of people to scenes.
    """
    body = assets.body
    people_rng = rng.split("people", slots.present.shape[1])
    person = CounterRng(people_rng.keys[slots.scene, slots.slot])
    scene = rng.take(slots.scene)
    poses = sample_poses(person, scene, test=assets.test, time_s=assets.time_s)
    if assets.mocap is not None:
        poses = with_mocap(poses, person, assets.mocap, assets.time_s)
    betas = sample_betas(person)
    expression, jaw = sample_faces(person)
    hands = torch.cat([sample_hand(person, side, poses.hand_kind[:, side]) for side in (0, 1)], 1)
    coefficients = torch.cat([betas, expression], 1)
    root = torch.zeros_like(jaw)
    pose = full_pose(poses.angles, root, hands, jaw)
    swivel = person.normal("swivel", 2, std=0.3)
    angles = touch(
        body, assets.contact_points, pose, coefficients, poses.angles, poses.touch, swivel
    )
    pose = _replace_body(pose, angles, poses)
    _, world, joints = body.pose_joints(pose, coefficients)
    standing = ((joints - joints[:, :1]) @ poses.tilt.transpose(1, 2))[:, :55]
    cameras, ground, yaw, partner = _layout(rng, people_rng, slots, standing, assets.size_hw)
    if poses.captured is not None:
        partner = torch.where(poses.captured.used, -1, partner)
    facing = axis_rotation("Y", yaw)
    orientation = facing @ poses.tilt
    lowest = standing[..., 1].amin(1) - _SOLE_M
    pelvis = torch.stack([ground[:, 0], poses.lift - lowest, ground[:, 1]], 1)
    angles = _touch_partner(
        person,
        assets.contact_points,
        angles,
        (world, joints),
        (orientation, pelvis),
        coefficients,
        partner,
    )
    pose = _replace_body(pose, angles, poses)
    appearance = sample_appearance(person, test=assets.test)
    posed = body.pose(pose, betas, expression, garment_offsets(body, appearance))
    skin = posed.vertices[:, : body.num_vertices] - posed.joints_3d[:, :1]
    lowest = (skin @ poses.tilt[:, 1, :, None])[..., 0].amin(1)
    pelvis = torch.stack([ground[:, 0], poses.lift - lowest, ground[:, 1]], 1)
    characters = Characters(
        slots, poses, pose, betas, expression, appearance, posed, facing, orientation, pelvis
    )
    return characters, cameras


def _replace_body(pose: Tensor, angles: Tensor, poses: Poses) -> Tensor:
    """Pose (N, 55, 3) with joints 1-21 from angles (N, A), or from motion capture where used."""
    body_pose = angles_to_body_pose(angles)
    if poses.captured is not None:
        used = poses.captured.used[:, None, None]
        body_pose = torch.where(used, poses.captured.body_pose, body_pose)
    return torch.cat([pose[:, :1], body_pose, pose[:, 22:]], 1)


def _layout(
    rng: CounterRng,
    people_rng: CounterRng,
    slots: CharacterSlots,
    standing: Tensor,
    size_hw: tuple[int, int],
) -> tuple[Cameras, Tensor, Tensor, Tensor]:
    """Cameras, ground position (N, 2), yaw (N,) and partner (N,; index of a person, or -1)."""
    spans = standing.amax(1) - standing.amin(1)
    extents = torch.maximum(spans[:, 1] + _HEAD_M, 0.8 * spans[:, ::2].amax(1) + 0.15)
    table = torch.full(slots.present.shape, 1.7, device=extents.device)
    table = table.index_put((slots.scene, slots.slot), extents)
    cameras, layout = sample_layout(rng, people_rng, slots.present, table, size_hw)
    index = (slots.scene, slots.slot)
    numbers = torch.arange(len(slots.scene), device=extents.device)
    partner = layout.partner[index]
    partner = torch.where(partner >= 0, numbers - slots.slot + partner, -1)
    return cameras, layout.ground[index], layout.yaw[index], partner


def _touch_partner(
    person: CounterRng,
    contact_points: ContactPoints,
    angles: Tensor,
    posed_joints: tuple[Tensor, Tensor],
    stance: tuple[Tensor, Tensor],
    coefficients: Tensor,
    partner: Tensor,
) -> Tensor:
    """Angles (N, A) with the palm nearer to the partner placed on the partner."""
    orientation, pelvis = stance
    world, joints = posed_joints
    swivel = person.normal("swivel to partner", 2, std=0.3)
    other = partner.clamp_min(0)
    options = tuple(CONTACT_NUMBER[name] for name in PARTNER_CONTACTS)
    contact = constant(options, angles.device, torch.int64)[
        person.choice("partner's place", (3.0, 1.5, 1.0, 0.7))
    ]
    target = torch.zeros_like(pelvis)
    for side in (0, 1):
        local = contact_points.positions(
            world[other], joints[other], coefficients[other], contact, side
        )
        local = (local - joints[other, 0])[..., None]
        found = (orientation[other] @ local)[..., 0] + pelvis[other]
        own = (orientation.transpose(1, 2) @ (found - pelvis)[..., None])[..., 0] + joints[:, 0]
        # Of a pair of contact points (left and right), use the nearer one.
        nearer = (own - joints[:, 0]).norm(dim=-1) < (target - joints[:, 0]).norm(dim=-1)
        target = torch.where((nearer | (side == 0))[:, None], own, target)
    left = target[:, 0] > joints[:, 0, 0]
    for side in (0, 1):
        gap = (palm(world, joints, side) - target).norm(dim=-1)
        wanted = (partner >= 0) & (left == (side == 0)) & (gap < 1.3)
        bent = reach(angles, world, joints, target, side, swivel[:, side])
        angles = torch.where(wanted[:, None], bent, angles)
    return angles


def camera_space_people(
    characters: Characters, cameras: Cameras, body: BodySurface
) -> tuple[PosedPeople, Tensor]:
    """Transform people into the camera frame and compute the matching SMPL-X parameters.

    Returns:
        The people (skin vertices only), and (N, V + A, 3) vertices including the shells.
    """
    vertices = characters.in_frame(cameras.rotation, cameras.position, characters.body.vertices)
    joints = characters.in_frame(cameras.rotation, cameras.position, characters.body.joints_3d)
    coefficients = torch.cat([characters.betas, characters.expression], 1)
    rest = body.joint_template[0] + coefficients @ body.joint_dirs[:, 0]
    rotation = cameras.rotation[characters.slots.scene] @ characters.orientation
    parameters = {
        "global_orient": rotations_to_axis_angle(rotation),
        "body_pose": characters.pose[:, 1:22].flatten(1),
        "jaw_pose": characters.pose[:, 22],
        "left_hand_pose": characters.pose[:, 25:40].flatten(1),
        "right_hand_pose": characters.pose[:, 40:].flatten(1),
        "betas": characters.betas,
        "expression": characters.expression,
        "transl": joints[:, 0] - rest,
    }
    skin = vertices[:, : body.num_vertices]
    return PosedPeople(characters.slots.scene, skin, joints, parameters), vertices
