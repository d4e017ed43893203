"""Drawing a batch of scenes: who is seen where, and in which colours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .backdrop import Backdrop, draw_backdrop, pixel_rays
from .cast import Cast
from .chance import Chance
from .furniture import draw_furniture
from .labels import Composite
from .layout import View
from .light import Light, draw_light, lit, shade, shadow_map
from .noise import cloud_at, clouds
from .primitives import BOX, Primitives, mesh_templates
from .props import draw_headwear, seats, worn_things
from .raster import EMPTY, Triangles, draw, those, unpack
from .studio import Studio
from .surface import BodySurface
from .wardrobe import COLOURS, shown_faces

_PRIMITIVE_FACES = 160


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


@dataclass(frozen=True)
class _Stage:
    """What is drawn, in the frame of the cameras.

    Attributes:
        body: triangles of people; number n * F + f.
        things: triangles of primitives.
        vertices: (N, V + A, 3) of people.
        shapes: the primitives.
    """

    body: Triangles
    things: Triangles
    vertices: Tensor
    shapes: Primitives


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
    stage = _stage(cast, body, vertices, shapes, (view.rotation, view.position))
    light = _light(chance, cast)
    lamp_vertices = cast.placed(light.rotation, light.position, cast.body.vertices)
    lamp = _stage(cast, body, lamp_vertices, shapes, (light.rotation, light.position))
    depths = shadow_map([lamp.body, lamp.things], light)
    people = len(vertices)
    first = draw(stage.body, view.focal_length, size_hw, people=people)
    faces = people * len(body.all_faces)
    second = draw(
        stage.things, view.focal_length, size_hw, first.keys, people=people, first_number=faces
    )
    composite, number = _composite(
        second.keys, first.covered | second.covered, stage, faces, body, size_hw
    )
    rays = pixel_rays(view, size_hw)
    backdrop = draw_backdrop(chance, view, rays, studio.photos, test=test)
    canvas = _Canvas(backdrop, view, rays, composite)
    _paint_bodies(canvas, studio, cast, view, stage, number, faces)
    _paint_things(canvas, view, stage, number, faces, test)
    shown = canvas.lit(depths, light)
    joints = torch.cat([body.face_joint, 15 * body.sheet_of_face])
    joint = torch.where(canvas.on_body, joints[number % len(body.all_faces)], -1)
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


def _stage(
    cast: Cast,
    body: BodySurface,
    vertices: Tensor,
    shapes: Primitives,
    frame: tuple[Tensor, Tensor],
) -> _Stage:
    """Triangles in a frame given by rotation (B, 3, 3) and position (B, 3)."""
    count, faces = len(vertices), body.all_faces
    device = vertices.device
    start = torch.arange(count, device=device)[:, None] * vertices.shape[1]
    flat = vertices.reshape(-1, 3).T.contiguous()
    corners = [flat.index_select(1, (faces[:, k] + start).flatten()) for k in range(3)]
    person = torch.arange(count, device=device)[:, None].expand(-1, len(faces)).flatten()
    sheet = torch.zeros(len(faces), dtype=torch.bool, device=device)
    sheet[len(body.faces) :] = True
    shown = shown_faces(body, cast.looks) & cast.slots.real[:, None]
    people = Triangles(
        (corners[0], corners[1], corners[2]),
        cast.slots.scene[person],
        person,
        shown.flatten(),
        sheet.repeat(count),
    )
    moved = shapes.moved(*frame)
    places, _ = moved.mesh()
    table = mesh_templates(device)[2]
    sides = [places[:, table[:, k]].reshape(-1, 3).T.contiguous() for k in range(3)]
    each = torch.arange(len(places), device=device)[:, None].expand(-1, len(table)).flatten()
    things = Triangles(
        (sides[0], sides[1], sides[2]),
        moved.scene[each],
        moved.owner[each],
        moved.shown[each],
        torch.zeros(len(each), dtype=torch.bool, device=device),
    )
    return _Stage(people, things, vertices, moved)


def _light(chance: Chance, cast: Cast) -> Light:
    """A lamp that shines on all people of each scene."""
    slots = cast.slots
    scenes = len(chance.keys)
    weight = slots.present.sum(1).clamp_min(1)[:, None]
    total = torch.zeros(scenes, 3, device=cast.pelvis.device)
    middle = total.index_add(0, slots.scene, cast.pelvis * slots.real[:, None]) / weight
    far = (cast.pelvis - middle[slots.scene]).norm(dim=1)
    radius = far.new_zeros(scenes).scatter_reduce(0, slots.scene, far, "amax")
    return draw_light(chance, middle, (radius + 1.6).clamp(2.0, 8.0))


def _composite(
    keys: Tensor,
    covered: Tensor,
    stage: _Stage,
    faces: int,
    body: BodySurface,
    size_hw: tuple[int, int],
) -> tuple[Composite, Tensor]:
    """Who is seen where, and (B * P,) number of the triangle in each pixel."""
    number, depth = unpack(keys)
    drawn, on_body = keys < EMPTY, number < faces
    shape = ((number - faces) // _PRIMITIVE_FACES).clamp_min(0)
    of_shape = torch.cat([stage.shapes.owner, stage.shapes.owner.new_full((1,), -1)])
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


class _Canvas:
    """Albedo, place and normal of every pixel, world frame, to be lit when all is painted."""

    def __init__(self, backdrop: Backdrop, view: View, rays: Tensor, picture: Composite) -> None:
        self.shape = backdrop.albedo.shape[:2]
        self.owner = picture.owner.flatten()
        depth = picture.depth.flatten()
        drawn = depth.isfinite()
        places = view.position[:, None] + rays * depth.view(self.shape)[..., None]
        self.place = torch.where(drawn[:, None], places.flatten(0, 1), backdrop.place.flatten(0, 1))
        self.albedo = backdrop.albedo.flatten(0, 1)
        self.normal = backdrop.normal.flatten(0, 1)
        self.gloss = torch.zeros_like(depth)
        self.shining = backdrop.flat.flatten() & ~drawn
        self.rays = rays.flatten(0, 1)
        self.on_body = torch.zeros_like(drawn)

    def put(
        self, pixel: Tensor, mask: Tensor, albedo: Tensor, normal: Tensor, gloss: Tensor
    ) -> None:
        """Paint pixels (M,) where mask (M,) says so."""
        normal = torch.nn.functional.normalize(normal, dim=-1)
        (nx, ny, nz), (rx, ry, rz) = normal.unbind(-1), self.rays[pixel].unbind(-1)
        away = nx * rx + ny * ry + nz * rz > 0
        normal = torch.where(away[:, None], -normal, normal)
        chosen = mask[:, None]
        self.albedo[pixel] = torch.where(chosen, albedo, self.albedo[pixel])
        self.normal[pixel] = torch.where(chosen, normal, self.normal[pixel])
        self.gloss[pixel] = torch.where(mask, gloss, self.gloss[pixel])

    def lit(self, depths: Tensor, light: Light) -> Tensor:
        """(B, P, 3) what reaches the lens."""
        shape = (*self.shape, 3)
        reached = lit(self.place.view(shape), depths, light)
        sight = -torch.nn.functional.normalize(self.rays, dim=-1).view(shape)
        albedo = self.albedo.view(shape)
        shaded = shade(
            albedo, self.normal.view(shape), reached, self.gloss.view(self.shape), sight, light
        )
        dim = albedo * (0.45 + 0.55 * reached)[..., None]
        return torch.where(self.shining.view(self.shape)[..., None], dim, shaded)


def _barycentric(triangles: Triangles, number: Tensor, ray: Tensor) -> Tensor:
    """(M, 3) weights of the corners where rays (M, 3), camera frame, meet triangles (M,)."""
    a, b, c = (corner.index_select(1, number) for corner in triangles.corners)
    x, y, z = ray.unbind(1)
    volumes = []
    for first, second in ((b, c), (c, a), (a, b)):
        across = torch.linalg.cross(first, second, dim=0)
        volumes.append(across[0] * x + across[1] * y + across[2] * z)
    total = volumes[0] + volumes[1] + volumes[2]
    total = torch.where(total.abs() < 1e-12, 1e-12, total)
    return torch.stack(volumes, 1) / total[:, None]


def _paint_bodies(
    canvas: _Canvas,
    studio: Studio,
    cast: Cast,
    view: View,
    stage: _Stage,
    number: Tensor,
    faces: int,
) -> None:
    body, paint = studio.body, studio.paint
    mask = (canvas.owner >= 0) & (number < faces)
    canvas.on_body = mask
    pixel = those(mask)
    mask, triangle = mask[pixel], torch.where(mask[pixel], number[pixel], 0)
    count = len(body.all_faces)
    person = triangle // count
    face = triangle - person * count
    scene = cast.slots.scene[person]
    world = canvas.rays[pixel]
    ray = (view.rotation[scene] @ world[..., None])[..., 0]
    weights = _barycentric(stage.body, triangle, ray)[..., None]
    corners = body.all_faces[face]
    table = torch.cat([body.all_template, body.all_hair[:, None]], 1)
    rest = (table[corners] * weights).sum(1)
    normals = cast.body.normals.reshape(-1, 3)
    start = (person * cast.body.normals.shape[1])[:, None]
    normal = (normals[corners + start] * weights).sum(1)
    normal = torch.nn.functional.normalize(normal, dim=-1)
    rest, hair = rest[:, :3], rest[:, 3]
    albedo, cloth = paint.albedo(face, rest, hair, person, cast.looks)
    folds = cast.looks.folds.index_select(0, person)
    waves = torch.cos((folds[..., :3] * rest[:, None]).sum(-1) + folds[..., 3])
    crease = (waves * folds[..., 4] / 38.0)[..., None] * folds[..., :3]
    normal = normal + crease.sum(1) * (0.15 + 0.85 * cloth)[:, None]
    normal = (cast.turn[person] @ normal[..., None])[..., 0]
    gloss = cast.looks.gloss[person].gather(1, cloth.long()[:, None])[:, 0]
    canvas.put(pixel, mask, albedo, normal, gloss)


def _paint_things(
    canvas: _Canvas, view: View, stage: _Stage, number: Tensor, faces: int, test: bool
) -> None:
    if not len(stage.shapes.kind):
        return
    mask = (canvas.owner > -2) & (number >= faces)
    pixel = those(mask)
    mask, triangle = mask[pixel], (number[pixel] - faces).clamp_min(0)
    shape = triangle // _PRIMITIVE_FACES
    face = triangle - shape * _PRIMITIVE_FACES
    turn = view.rotation[stage.shapes.scene[shape]]
    ray = (turn @ canvas.rays[pixel][..., None])[..., 0]
    weights = _barycentric(stage.things, triangle, ray)
    a, b, c = (corner.index_select(1, triangle) for corner in stage.things.corners)
    flat = torch.linalg.cross(b - a, c - a, dim=0).T
    _, normals = stage.shapes.mesh()
    corners = mesh_templates(shape.device)[2][face]
    smooth = (normals[shape[:, None], corners] * weights[..., None]).sum(1)
    normal = torch.where((stage.shapes.kind[shape] == BOX)[:, None], flat, smooth)
    normal = (normal[:, None] @ turn)[:, 0]
    place = canvas.place[pixel]
    table = clouds(test, place.device)
    colour = stage.shapes.colour[shape]
    salt = (colour * 977).sum(1).long()  # differs from thing to thing, not from batch to batch
    across, along = place[:, 0] + place[:, 1], place[:, 2]
    grain = cloud_at(table, salt % 4, across * 90, along * 90 + salt * 37)
    albedo = colour * (1 + 0.16 * grain[:, None])
    canvas.put(pixel, mask, albedo.clamp(0, 1), normal, 0.1 + 0.1 * (salt % 3))
