"""G-buffer for deferred shading: albedo, position, normal and gloss of every pixel.

Inner loops keep coordinates in the first dimension, which is much faster on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .assets import SceneAssets
from .background import Background, pixel_rays
from .characters import Characters
from .labels import VisibilityBuffer
from .layout import Cameras
from .lighting import Lighting, blinn_phong, light_visibility
from .noise import cloud_at, clouds
from .primitives import BOX, PRIMITIVE_FACES, Primitives, mesh_templates
from .raster import Triangles
from .raster_fill import active_indices


class GBuffer:
    """G-buffer of B images of H * W = P pixels; tensors are (B * P, ...), world frame.

    Args:
        background: initial content.
        cameras: the cameras.
        size_hw: image size, pixels.
        visibility: owner and depth per pixel.
        number: (B * P,) triangle number of every pixel.
    """

    def __init__(
        self,
        background: Background,
        cameras: Cameras,
        size_hw: tuple[int, int],
        visibility: VisibilityBuffer,
        number: Tensor,
    ) -> None:
        """Initialise with the background."""
        self.shape = background.albedo.shape[:2]
        self.owner, self.number = visibility.owner.flatten(), number
        depth = visibility.depth.flatten()
        drawn = depth.isfinite()
        camera_rays = pixel_rays(cameras, size_hw)
        rays = camera_rays @ cameras.rotation
        positions = cameras.position[:, None] + rays * depth.view(self.shape)[..., None]
        self.position = torch.where(
            drawn[:, None], positions.flatten(0, 1), background.position.flatten(0, 1)
        )
        self.albedo = background.albedo.flatten(0, 1)
        self.normal = background.normal.flatten(0, 1)
        self.gloss = torch.zeros_like(depth)
        self.emissive = background.emissive.flatten() & ~drawn
        self.rays, self.camera_rays = rays.flatten(0, 1), camera_rays.flatten(0, 1)

    def write(
        self, pixel: Tensor, mask: Tensor, albedo: Tensor, normal: Tensor, gloss: Tensor
    ) -> None:
        """Write pixels (M,) where `mask` is true; normals (3, M) are flipped to the camera."""
        rays = self.rays.index_select(0, pixel).T
        length = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).clamp_min(1e-20).sqrt()
        away = normal[0] * rays[0] + normal[1] * rays[1] + normal[2] * rays[2] > 0
        normal = (normal / torch.where(away, -length, length)).T
        chosen = mask[:, None]
        self.albedo[pixel] = torch.where(chosen, albedo, self.albedo.index_select(0, pixel))
        self.normal[pixel] = torch.where(chosen, normal, self.normal.index_select(0, pixel))
        self.gloss[pixel] = torch.where(mask, gloss, self.gloss.index_select(0, pixel))

    def shade(self, depths: Tensor, light: Lighting) -> Tensor:
        """Shade all pixels: (B, P, 3) linear RGB."""
        shape = (*self.shape, 3)
        reached = light_visibility(self.position.view(shape), depths, light)
        sight = -torch.nn.functional.normalize(self.rays, dim=-1).view(shape)
        albedo = self.albedo.view(shape)
        shaded = blinn_phong(
            albedo, self.normal.view(shape), reached, self.gloss.view(self.shape), sight, light
        )
        dim = albedo * (0.45 + 0.55 * reached)[..., None]
        return torch.where(self.emissive.view(self.shape)[..., None], dim, shaded)


def _barycentric(triangles: Triangles, number: Tensor, ray: Tensor) -> tuple[Tensor, ...]:
    """Three barycentric weights (M,) where rays (M, 3), camera frame, hit triangles (M,)."""
    a, b, c = (corner.index_select(1, number) for corner in triangles.corners)
    x, y, z = ray.unbind(1)
    volumes = []
    for first, second in ((b, c), (c, a), (a, b)):
        across = torch.linalg.cross(first, second, dim=0)
        volumes.append(across[0] * x + across[1] * y + across[2] * z)
    total = volumes[0] + volumes[1] + volumes[2]
    total = torch.where(total.abs() < 1e-12, 1e-12, total)
    return tuple(volume / total for volume in volumes)


def _interpolate(table: Tensor, corners: list[Tensor], weights: tuple[Tensor, ...]) -> Tensor:
    """Interpolate vertex attributes (C, V) at corners (M,) with barycentric weights: (C, M)."""
    parts = [table.index_select(1, c) * w for c, w in zip(corners, weights, strict=True)]
    return parts[0] + parts[1] + parts[2]


def write_bodies(
    gbuffer: GBuffer, assets: SceneAssets, characters: Characters, triangles: Triangles
) -> Tensor:
    """Write the skin and clothes of all people; returns the (B * P,) bool mask of their pixels."""
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
    x, y, z, hair = _interpolate(table, corners, weights)
    normals = characters.body.normals @ characters.orientation.transpose(1, 2)
    each = person * normals.shape[1]
    normals = normals.reshape(-1, 3).T.contiguous()
    normal = _interpolate(normals, [corner + each for corner in corners], weights)
    normal = torch.nn.functional.normalize(normal, dim=0)
    albedo, cloth = assets.texture.albedo(
        face, torch.stack([x, y, z]), hair, person, characters.appearance
    )
    # Cloth folds: sine waves over the T-pose perturb the normal.
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
    gbuffer.write(pixel, mask, albedo, normal, gloss)
    return on_body


def write_objects(
    gbuffer: GBuffer, objects: Primitives, triangles: Triangles, first: int, test: bool
) -> None:
    """Write primitives (world frame); their triangle numbers start at `first`."""
    if not len(objects.kind):
        return
    on_object = (gbuffer.owner > -2) & (gbuffer.number >= first)
    pixel = active_indices(on_object)
    mask = on_object[pixel]
    triangle = (gbuffer.number[pixel] - first).clamp_min(0)
    shape = triangle // PRIMITIVE_FACES
    face = triangle - shape * PRIMITIVE_FACES
    weights = _barycentric(triangles, triangle, gbuffer.camera_rays.index_select(0, pixel))
    vertices, normals = objects.mesh()
    faces = mesh_templates(shape.device)[2]
    a, b, c = (vertices[:, faces[:, k]] for k in range(3))
    flat = torch.linalg.cross(b - a, c - a).reshape(-1, 3).T.index_select(1, triangle)
    corners = [shape * normals.shape[1] + faces[:, k][face] for k in range(3)]
    smooth = _interpolate(normals.reshape(-1, 3).T.contiguous(), corners, weights)
    normal = torch.where(objects.kind[shape] == BOX, flat, smooth)
    x, y, z = gbuffer.position.index_select(0, pixel).T
    colour = objects.colour.index_select(0, shape)
    # Texture offset derived from the colour: independent of the batch.
    salt = (objects.colour * 977).sum(1).long()[shape]
    table = clouds(test, x.device)
    grain = cloud_at(table, salt % 4, (x + y) * 90, z * 90 + salt * 37)
    albedo = (colour * (1 + 0.16 * grain[:, None])).clamp(0, 1)
    gbuffer.write(pixel, mask, albedo, normal, 0.1 + 0.1 * (salt % 3))
