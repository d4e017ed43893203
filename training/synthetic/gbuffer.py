"""Colour, place and direction of every pixel, gathered before any of them is lit.

Inner loops keep coordinates in the first dimension: on a CPU that is what makes them fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .assets import SceneAssets
from .background import Background, pixel_rays
from .characters import Characters
from .labels import VisibilityBuffer
from .layout import Cameras
from .lighting import Lighting, lit, shade
from .noise import cloud_at, clouds
from .primitives import BOX, PRIMITIVE_FACES, Primitives, mesh_templates
from .raster import Triangles
from .raster_fill import active_indices


class GBuffer:
    """B pictures of H * W = P pixels; all tensors have a leading B * P, world frame.

    Args:
        background: what is painted first.
        view: the cameras.
        size_hw: pixels.
        picture: who is seen where.
        number: (B * P,) triangle in each pixel.
    """

    def __init__(
        self,
        background: Background,
        cameras: Cameras,
        size_hw: tuple[int, int],
        picture: VisibilityBuffer,
        number: Tensor,
    ) -> None:
        """Start with the backdrop."""
        self.shape = background.albedo.shape[:2]
        self.owner, self.number = picture.owner.flatten(), number
        depth = picture.depth.flatten()
        drawn = depth.isfinite()
        seen = pixel_rays(cameras, size_hw)
        rays = seen @ cameras.rotation
        places = cameras.position[:, None] + rays * depth.view(self.shape)[..., None]
        self.place = torch.where(
            drawn[:, None], places.flatten(0, 1), background.place.flatten(0, 1)
        )
        self.albedo = background.albedo.flatten(0, 1)
        self.normal = background.normal.flatten(0, 1)
        self.gloss = torch.zeros_like(depth)
        self.shining = background.flat.flatten() & ~drawn
        self.rays, self.camera_rays = rays.flatten(0, 1), seen.flatten(0, 1)

    def put(
        self, pixel: Tensor, mask: Tensor, albedo: Tensor, normal: Tensor, gloss: Tensor
    ) -> None:
        """Paint pixels (M,) where mask (M,) says so; normals (3, M) are turned to the camera."""
        rays = self.rays.index_select(0, pixel).T
        length = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).clamp_min(1e-20).sqrt()
        away = normal[0] * rays[0] + normal[1] * rays[1] + normal[2] * rays[2] > 0
        normal = (normal / torch.where(away, -length, length)).T
        chosen = mask[:, None]
        self.albedo[pixel] = torch.where(chosen, albedo, self.albedo.index_select(0, pixel))
        self.normal[pixel] = torch.where(chosen, normal, self.normal.index_select(0, pixel))
        self.gloss[pixel] = torch.where(mask, gloss, self.gloss.index_select(0, pixel))

    def lit(self, depths: Tensor, light: Lighting) -> Tensor:
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


def _barycentric(triangles: Triangles, number: Tensor, ray: Tensor) -> tuple[Tensor, ...]:
    """Weights (M,) of the three corners where rays (M, 3), camera frame, meet triangles (M,)."""
    a, b, c = (corner.index_select(1, number) for corner in triangles.corners)
    x, y, z = ray.unbind(1)
    volumes = []
    for first, second in ((b, c), (c, a), (a, b)):
        across = torch.linalg.cross(first, second, dim=0)
        volumes.append(across[0] * x + across[1] * y + across[2] * z)
    total = volumes[0] + volumes[1] + volumes[2]
    total = torch.where(total.abs() < 1e-12, 1e-12, total)
    return tuple(volume / total for volume in volumes)


def _mixed(table: Tensor, corners: list[Tensor], weights: tuple[Tensor, ...]) -> Tensor:
    """(C, M) columns of (C, V) at the three corners (M,) mixed by their weights."""
    parts = [table.index_select(1, c) * w for c, w in zip(corners, weights, strict=True)]
    return parts[0] + parts[1] + parts[2]


def write_bodies(
    gbuffer: GBuffer, assets: SceneAssets, characters: Characters, triangles: Triangles
) -> Tensor:
    """Paint everybody's skin and clothes; gives (B * P,) bool where."""
    body = assets.body
    count = len(body.all_faces)
    on_body = (gbuffer.owner >= 0) & (gbuffer.number < triangles.owner.shape[0])
    pixel = active_indices(on_body)
    mask = on_body[pixel]
    triangle = torch.where(mask, gbuffer.number[pixel], 0)
    person = triangle // count
    face = triangle - person * count
    ray = gbuffer.camera_rays.index_select(0, pixel)
    weights = _barycentric(triangles, triangle, ray)
    corners = [body.all_faces[:, k][face] for k in range(3)]
    table = torch.cat([body.all_template, body.all_hair[:, None]], 1).T.contiguous()
    x, y, z, hair = _mixed(table, corners, weights)
    normals = characters.body.normals @ characters.orientation.transpose(1, 2)
    each = person * normals.shape[1]
    normals = normals.reshape(-1, 3).T.contiguous()
    normal = _mixed(normals, [corner + each for corner in corners], weights)
    normal = torch.nn.functional.normalize(normal, dim=0)
    albedo, cloth = assets.texture.albedo(
        face, torch.stack([x, y, z]), hair, person, characters.appearance
    )
    # Creases: waves over the T-pose that lean the normal.
    folds = (
        characters.appearance.folds.flatten(1)
        .T.contiguous()
        .index_select(1, person)
        .unflatten(0, (4, 5))
    )
    strength = 0.15 + 0.85 * cloth
    for along_x, along_y, along_z, phase, depth in folds:
        wave = torch.cos(along_x * x + along_y * y + along_z * z + phase)
        wave = wave * depth * strength / 38.0
        normal = normal + wave * torch.stack([along_x, along_y, along_z])
    gloss = characters.appearance.gloss.flatten()[2 * person + cloth.long()]
    gbuffer.put(pixel, mask, albedo, normal, gloss)
    return on_body


def write_objects(
    gbuffer: GBuffer, shapes: Primitives, triangles: Triangles, first: int, test: bool
) -> None:
    """Paint primitives (world frame), whose triangles are numbered from `first` on."""
    if not len(shapes.kind):
        return
    on_thing = (gbuffer.owner > -2) & (gbuffer.number >= first)
    pixel = active_indices(on_thing)
    mask = on_thing[pixel]
    triangle = (gbuffer.number[pixel] - first).clamp_min(0)
    shape = triangle // PRIMITIVE_FACES
    face = triangle - shape * PRIMITIVE_FACES
    weights = _barycentric(triangles, triangle, gbuffer.camera_rays.index_select(0, pixel))
    vertices, normals = shapes.mesh()
    faces = mesh_templates(shape.device)[2]
    a, b, c = (vertices[:, faces[:, k]] for k in range(3))
    flat = torch.linalg.cross(b - a, c - a).reshape(-1, 3).T.index_select(1, triangle)
    corners = [shape * normals.shape[1] + faces[:, k][face] for k in range(3)]
    smooth = _mixed(normals.reshape(-1, 3).T.contiguous(), corners, weights)
    normal = torch.where(shapes.kind[shape] == BOX, flat, smooth)
    x, y, z = gbuffer.place.index_select(0, pixel).T
    colour = shapes.colour.index_select(0, shape)
    # Differs from thing to thing, not from batch to batch.
    salt = (shapes.colour * 977).sum(1).long()[shape]
    table = clouds(test, x.device)
    grain = cloud_at(table, salt % 4, (x + y) * 90, z * 90 + salt * 37)
    albedo = (colour * (1 + 0.16 * grain[:, None])).clamp(0, 1)
    gbuffer.put(pixel, mask, albedo, normal, 0.1 + 0.1 * (salt % 3))
