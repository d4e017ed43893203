"""Drawing a batch of scenes: who is seen where, and in which colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .backdrop import draw_backdrop, pixel_rays
from .canvas import Canvas, paint_bodies, paint_things
from .cast import Cast
from .chance import Chance
from .furniture import draw_furniture
from .labels import Composite
from .layout import View
from .light import Light, draw_light, shadow_map
from .primitives import PRIMITIVE_FACES, Primitives
from .props import draw_headwear, seats, worn_things
from .raster import EMPTY, draw, those, unpack
from .stage import build_stage
from .studio import Studio
from .surface import BodySurface
from .wardrobe import COLOURS


@dataclass(frozen=True)
class Picture:
    """B drawn scenes of H * W = P pixels.

    Attributes:
        light: (B, P, 3) what reaches the lens, about 0-1.
        composite: who is seen where.
        joint: (B, H, W) joint that moves most what is seen, -1 off bodies.
    """

    light: Tensor
    composite: Composite
    joint: Tensor


def draw_picture(
    studio: Studio, chance: Chance, cast: Cast, view: View, vertices: Tensor
) -> Picture:
    """Draw everything.

    Args:
        studio: what all scenes share.
        chance: one key a scene.
        cast: the people.
        view: the cameras.
        vertices: (N, V + A, 3) of the people in the cameras' frames.
    """
    body, size_hw, test = studio.body, studio.size_hw, studio.test
    shapes = _things(chance, cast, view, size_hw)
    stage = build_stage(cast, body, vertices, shapes, (view.rotation, view.position))
    light = _light(chance, cast)
    lamp_vertices = cast.placed(light.rotation, light.position, cast.body.vertices)
    place = (light.rotation, light.position)
    lamp = build_stage(cast, body, lamp_vertices, shapes, place, step=2)
    depths = shadow_map([lamp.body, lamp.things], light)
    people = len(vertices)
    first = draw(stage.body, view.focal_length, size_hw, people=people)
    faces = people * len(body.all_faces)
    second = draw(
        stage.things, view.focal_length, size_hw, first.keys, people=people, first_number=faces
    )
    composite, number = _composite(
        second.keys, first.covered | second.covered, shapes.owner, faces, body, size_hw
    )
    rays = pixel_rays(view, size_hw) @ view.rotation
    backdrop = draw_backdrop(chance, view, rays, studio.photos, test=test)
    canvas = Canvas(backdrop, view, size_hw, composite, number)
    on_body = paint_bodies(canvas, studio, cast, stage.body)
    paint_things(canvas, shapes, stage.things, faces, test)
    shown = canvas.lit(depths, light)
    joints = torch.cat([body.face_joint, 15 * body.sheet_of_face])
    joint = torch.where(on_body, joints[number % len(body.all_faces)], -1)
    return Picture(shown, composite, joint.view(-1, *size_hw))


def _things(chance: Chance, cast: Cast, view: View, size_hw: tuple[int, int]) -> Primitives:
    """Everything that is no body, world frame."""
    slots = cast.slots
    person = Chance(chance.split("people", slots.present.shape[1]).keys[slots.scene, slots.slot])
    rest, whole = cast.body.joints_3d[:, :1], cast.turn
    joints = (cast.body.joints_3d[:, :55] - rest) @ whole.transpose(1, 2) + cast.pelvis[:, None]
    skeleton = (whole[:, None] @ cast.body.rotations, joints)
    hair = cast.looks.colours[:, COLOURS.index("hair")]
    worn = worn_things(
        person, cast.poses.held, cast.poses.feet, draw_headwear(person), hair, skeleton, slots.scene
    )
    flat = (joints - cast.pelvis[:, None]) @ cast.yaw
    bed = torch.stack([flat[..., 0].abs().amax(1), flat[..., 2].abs().amax(1)], 1) + 0.15
    under = seats(person, cast.poses.support, cast.yaw, cast.pelvis, bed, slots.scene)
    ground = torch.zeros(*slots.present.shape, 2, device=joints.device)
    ground = ground.index_put((slots.scene, slots.slot), cast.pelvis[:, ::2])
    half_width = size_hw[1] / 2 / view.focal_length
    furniture = draw_furniture(chance, view.distance, half_width, (ground, slots.present))
    # Nobody's things are not drawn either.
    real = torch.cat([slots.real, slots.real.new_ones(1)])
    everything = Primitives.join([worn, under, furniture])
    everything = replace(everything, shown=everything.shown & real[everything.owner])
    return everything.take(those(everything.shown))


def _light(chance: Chance, cast: Cast) -> Light:
    """A lamp that shines on all people of each scene."""
    slots = cast.slots
    scenes = len(chance.keys)
    weight = slots.present.sum(1).clamp_min(1)[:, None]
    total = torch.zeros(scenes, 3, device=cast.pelvis.device)
    middle = total.index_add(0, slots.scene, cast.pelvis * slots.real[:, None]) / weight
    far = (cast.pelvis - middle[slots.scene]).norm(dim=1) * slots.real
    radius = far.new_zeros(scenes).scatter_reduce(0, slots.scene, far, "amax")
    return draw_light(chance, middle, (radius + 1.6).clamp(2.0, 8.0))


def _composite(
    keys: Tensor,
    covered: Tensor,
    owners: Tensor,
    faces: int,
    body: BodySurface,
    size_hw: tuple[int, int],
) -> tuple[Composite, Tensor]:
    """Who is seen where, and (B * P,) number of the triangle in each pixel."""
    number, depth = unpack(keys)
    drawn, on_body = keys < EMPTY, number < faces
    shape = ((number - faces) // PRIMITIVE_FACES).clamp_min(0)
    of_shape = torch.cat([owners, owners.new_full((1,), -1)])
    owner = torch.where(on_body, number // len(body.all_faces), of_shape[shape])
    owner = torch.where(drawn, owner, -2)
    people = len(covered)
    visible = torch.zeros(people + 1, device=keys.device)
    visible.index_add_(0, torch.where(owner >= 0, owner, people), torch.ones_like(depth))
    total = covered.sum(1).float()
    visible = visible[:people]
    shaped = (-1, *size_hw)
    return Composite(
        owner.view(shaped), depth.view(shaped), torch.maximum(total, visible), visible
    ), number
