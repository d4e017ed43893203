"""Rendering of a batch of scenes: rasterization, visibility, and deferred shading."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .accessories import accessory_primitives, sample_headwear, seat_primitives
from .appearance import COLOURS
from .assets import SceneAssets
from .background import pixel_rays, sample_background
from .characters import Characters
from .gbuffer import GBuffer, write_bodies, write_objects
from .labels import VisibilityBuffer
from .layout import Cameras
from .lighting import Lighting, render_shadow_map, sample_lighting
from .object_layout import sample_objects
from .primitives import PRIMITIVE_FACES, Primitives
from .raster import rasterize
from .raster_fill import EMPTY, active_indices, unpack
from .rng import CounterRng
from .scene_mesh import build_scene_mesh
from .surface import BodySurface


@dataclass(frozen=True)
class RenderOutput:
    """B rendered scenes of H * W = P pixels.

    Attributes:
        radiance: (B, P, 3) linear RGB before camera effects, about 0-1.
        visibility: owner and depth per pixel.
        joint: (B, H, W) SMPL-X joint with the largest skinning weight, -1 off bodies.
    """

    radiance: Tensor
    visibility: VisibilityBuffer
    joint: Tensor


def render_scenes(
    assets: SceneAssets, rng: CounterRng, characters: Characters, cameras: Cameras, vertices: Tensor
) -> RenderOutput:
    """Render people, objects and background.

    Args:
        assets: shared assets.
        rng: one key per scene.
        characters: the people.
        cameras: the cameras.
        vertices: (N, V + A, 3) vertices of the people in the camera frames, metres.
    """
    body, size_hw, test = assets.body, assets.size_hw, assets.test
    objects = _objects(rng, characters, cameras, size_hw)
    mesh = build_scene_mesh(
        characters, body, vertices, objects, (cameras.rotation, cameras.position)
    )
    lighting = _light(rng, characters)
    light_frame = (lighting.rotation, lighting.position)
    light_vertices = characters.in_frame(*light_frame, characters.body.vertices)
    light_mesh = build_scene_mesh(characters, body, light_vertices, objects, light_frame, step=2)
    depths = render_shadow_map([light_mesh.bodies, light_mesh.objects], lighting)
    people = len(vertices)
    first = rasterize(mesh.bodies, cameras.focal_length, size_hw, people=people)
    faces = people * len(body.all_faces)
    second = rasterize(
        mesh.objects, cameras.focal_length, size_hw, first.keys, people=people, first_number=faces
    )
    visibility, number = _resolve_visibility(
        second.keys, first.covered | second.covered, objects.owner, faces, body, size_hw
    )
    rays = pixel_rays(cameras, size_hw) @ cameras.rotation
    background = sample_background(rng, cameras, rays, assets.photos, test=test)
    gbuffer = GBuffer(background, cameras, size_hw, visibility, number)
    on_body = write_bodies(gbuffer, assets, characters, mesh.bodies)
    write_objects(gbuffer, objects, mesh.objects, faces, test)
    radiance = gbuffer.shade(depths, lighting)
    joints = torch.cat([body.face_joint, 15 * body.shell_of_face])
    joint = torch.where(on_body, joints[number % len(body.all_faces)], -1)
    return RenderOutput(radiance, visibility, joint.view(-1, *size_hw))


def _objects(
    rng: CounterRng, characters: Characters, cameras: Cameras, size_hw: tuple[int, int]
) -> Primitives:
    """Accessories, seats and furniture, world frame."""
    slots = characters.slots
    person = CounterRng(rng.split("people", slots.present.shape[1]).keys[slots.scene, slots.slot])
    rest, orientation = characters.body.joints_3d[:, :1], characters.orientation
    joints = (characters.body.joints_3d[:, :55] - rest) @ orientation.transpose(1, 2)
    joints = joints + characters.pelvis[:, None]
    joint_frames = (orientation[:, None] @ characters.body.rotations, joints)
    hair = characters.appearance.colours[:, COLOURS.index("hair")]
    worn = accessory_primitives(
        person,
        characters.poses.held,
        characters.poses.feet,
        sample_headwear(person),
        hair,
        joint_frames,
        slots.scene,
    )
    flat = (joints - characters.pelvis[:, None]) @ characters.yaw
    bed = torch.stack([flat[..., 0].abs().amax(1), flat[..., 2].abs().amax(1)], 1) + 0.15
    under = seat_primitives(
        person, characters.poses.support, characters.yaw, characters.pelvis, bed, slots.scene
    )
    ground = torch.zeros(*slots.present.shape, 2, device=joints.device)
    ground = ground.index_put((slots.scene, slots.slot), characters.pelvis[:, ::2])
    half_width = size_hw[1] / 2 / cameras.focal_length
    furniture = sample_objects(rng, cameras.distance, half_width, (ground, slots.present))
    # Hide the accessories of placeholders; index -1 (no owner) reads the appended True.
    visible = torch.cat([slots.visible, slots.visible.new_ones(1)])
    everything = Primitives.join([worn, under, furniture])
    everything = replace(everything, shown=everything.shown & visible[everything.owner])
    return everything.take(active_indices(everything.shown))


def _light(rng: CounterRng, characters: Characters) -> Lighting:
    """Sample one light per scene whose shadow map covers all people."""
    slots = characters.slots
    scenes = len(rng.keys)
    weight = slots.present.sum(1).clamp_min(1)[:, None]
    total = torch.zeros(scenes, 3, device=characters.pelvis.device)
    middle = total.index_add(0, slots.scene, characters.pelvis * slots.visible[:, None]) / weight
    far = (characters.pelvis - middle[slots.scene]).norm(dim=1) * slots.visible
    radius = far.new_zeros(scenes).scatter_reduce(0, slots.scene, far, "amax")
    return sample_lighting(rng, middle, (radius + 1.6).clamp(2.0, 8.0))


def _resolve_visibility(
    keys: Tensor,
    covered: Tensor,
    owners: Tensor,
    faces: int,
    body: BodySurface,
    size_hw: tuple[int, int],
) -> tuple[VisibilityBuffer, Tensor]:
    """Visibility buffer, and (B * P,) triangle number of every pixel."""
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
    return VisibilityBuffer(
        owner.view(shaped), depth.view(shaped), torch.maximum(total, visible), visible
    ), number
