"""The people of a batch of scenes: posed, touching each other, put in their places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import angles_to_body_pose, rotations_to_axis_angle, turn
from .appearance import Appearance, garment_offsets, sample_appearance
from .assets import SceneAssets
from .body_parameters import sample_betas, sample_faces, sample_hand
from .contacts import CONTACT_NUMBER, PARTNER_CONTACTS, ContactPoints, full_pose, palm, reach, touch
from .labels import PosedPeople
from .layout import Cameras, sample_layout
from .poses import Poses, sample_poses
from .rng import CounterRng, constant
from .surface import BodySurface, PosedSurface

_HEAD_M = 0.22  # from the highest joint to the crown, and from the lowest to the sole
_SOLE_M = 0.06


@dataclass(frozen=True)
class CharacterSlots:
    """Which people belong to which of B scenes.

    Attributes:
        scene: (N,) int64, ascending.
        slot: (N,) int64 number within the scene.
        present: (B, P) bool.
        real: (N,) bool; a scene set with nobody in it has one person who is never shown.
    """

    scene: Tensor
    slot: Tensor
    present: Tensor
    real: Tensor


@dataclass(frozen=True)
class Characters:
    """N people in their worlds.

    Attributes:
        slots: whose scene.
        poses: what they do.
        pose: (N, 55, 3) axis-angle without the root.
        betas: (N, 10).
        expression: (N, 10).
        appearance: of all.
        body: posed about the pelvis' rest place.
        yaw: (N, 3, 3) about the vertical.
        turn: (N, 3, 3) body -> world.
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
    turn: Tensor
    pelvis: Tensor

    def placed(self, rotation: Tensor, position: Tensor, points: Tensor) -> Tensor:
        """Points (N, K, 3) about the pelvis' rest place -> frames of cameras or lamps.

        Args:
            rotation: (B, 3, 3) world -> frame.
            position: (B, 3) metres.
            points: of the body.
        """
        scene = self.slots.scene
        whole = rotation[scene] @ self.turn
        shift = (rotation[scene] @ (self.pelvis - position[scene])[..., None])[..., 0]
        return (points - self.body.joints_3d[:, :1]) @ whole.transpose(1, 2) + shift[:, None]


def sample_characters(
    assets: SceneAssets, rng: CounterRng, slots: CharacterSlots
) -> tuple[Characters, Cameras]:
    """Draw all people of B scenes and the cameras that look at them.

    Args:
        assets: what all scenes share.
        rng: one key a scene.
        slots: who is to be drawn.
    """
    body = assets.body
    everyone = rng.split("people", slots.present.shape[1])
    person = CounterRng(everyone.keys[slots.scene, slots.slot])
    scene = rng.take(slots.scene)
    poses = sample_poses(person, scene, test=assets.test, time_s=assets.time_s)
    betas = sample_betas(person)
    expression, jaw = sample_faces(person)
    hands = torch.cat([sample_hand(person, side, poses.hand_kind[:, side]) for side in (0, 1)], 1)
    coefficients = torch.cat([betas, expression], 1)
    root = torch.zeros_like(jaw)
    pose = full_pose(poses.angles, root, hands, jaw)
    swivel = person.normal("swivel", 2, std=0.3)
    angles = touch(body, assets.places, pose, coefficients, poses.angles, poses.touch, swivel)
    pose = torch.cat([pose[:, :1], angles_to_body_pose(angles), pose[:, 22:]], 1)
    _, world, joints = body.skeleton(pose, coefficients)
    standing = ((joints - joints[:, :1]) @ poses.tilt.transpose(1, 2))[:, :55]
    view, ground, yaw, partner = _layout(rng, everyone, slots, standing, assets.size_hw)
    facing = turn("Y", yaw)
    whole = facing @ poses.tilt
    lowest = standing[..., 1].amin(1) - _SOLE_M
    pelvis = torch.stack([ground[:, 0], poses.lift - lowest, ground[:, 1]], 1)
    angles = _touch_partner(
        person, assets.places, angles, (world, joints), (whole, pelvis), coefficients, partner
    )
    pose = torch.cat([pose[:, :1], angles_to_body_pose(angles), pose[:, 22:]], 1)
    appearance = sample_appearance(person, test=assets.test)
    posed = body.pose(pose, betas, expression, garment_offsets(body, appearance))
    skin = posed.vertices[:, : body.num_vertices] - posed.joints_3d[:, :1]
    lowest = (skin @ poses.tilt[:, 1, :, None])[..., 0].amin(1)
    pelvis = torch.stack([ground[:, 0], poses.lift - lowest, ground[:, 1]], 1)
    characters = Characters(
        slots, poses, pose, betas, expression, appearance, posed, facing, whole, pelvis
    )
    return characters, view


def _layout(
    rng: CounterRng,
    everyone: CounterRng,
    slots: CharacterSlots,
    standing: Tensor,
    size_hw: tuple[int, int],
) -> tuple[Cameras, Tensor, Tensor, Tensor]:
    """Cameras; ground (N, 2), yaw (N,) and partner (N,; a person's number or -1) of everyone."""
    spans = standing.amax(1) - standing.amin(1)
    extents = torch.maximum(spans[:, 1] + _HEAD_M, 0.8 * spans[:, ::2].amax(1) + 0.15)
    table = torch.full(slots.present.shape, 1.7, device=extents.device)
    table = table.index_put((slots.scene, slots.slot), extents)
    view, layout = sample_layout(rng, everyone, slots.present, table, size_hw)
    here = (slots.scene, slots.slot)
    numbers = torch.arange(len(slots.scene), device=extents.device)
    partner = layout.partner[here]
    partner = torch.where(partner >= 0, numbers - slots.slot + partner, -1)
    return view, layout.ground[here], layout.yaw[here], partner


def _touch_partner(
    person: CounterRng,
    places: ContactPoints,
    angles: Tensor,
    skeleton: tuple[Tensor, Tensor],
    stance: tuple[Tensor, Tensor],
    coefficients: Tensor,
    partner: Tensor,
) -> Tensor:
    """Angles (N, A) with one palm on the partner, the one on whose side the partner is."""
    whole, pelvis = stance
    world, joints = skeleton
    swivel = person.normal("swivel to partner", 2, std=0.3)
    other = partner.clamp_min(0)
    options = tuple(CONTACT_NUMBER[name] for name in PARTNER_CONTACTS)
    place = constant(options, angles.device, torch.int64)[
        person.choice("partner's place", (3.0, 1.5, 1.0, 0.7))
    ]
    target = torch.zeros_like(pelvis)
    for side in (0, 1):
        local = places.of(world[other], joints[other], coefficients[other], place, side)
        local = (local - joints[other, 0])[..., None]
        found = (whole[other] @ local)[..., 0] + pelvis[other]
        own = (whole.transpose(1, 2) @ (found - pelvis)[..., None])[..., 0] + joints[:, 0]
        # The nearer of the two shoulders, hips ...
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
    characters: Characters, view: Cameras, body: BodySurface
) -> tuple[PosedPeople, Tensor]:
    """Everyone in the camera's frame with the parameters that say the same.

    Returns:
        the people (skin vertices only), and all vertices (N, V + A, 3) with those of the sheets.
    """
    vertices = characters.placed(view.rotation, view.position, characters.body.vertices)
    joints = characters.placed(view.rotation, view.position, characters.body.joints_3d)
    coefficients = torch.cat([characters.betas, characters.expression], 1)
    rest = body.joint_template[0] + coefficients @ body.joint_dirs[:, 0]
    orient = rotations_to_axis_angle(view.rotation[characters.slots.scene] @ characters.turn)
    parameters = {
        "global_orient": orient,
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
