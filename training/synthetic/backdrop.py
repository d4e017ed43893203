"""What is behind people: rooms, streets, fields, studios and clutter by ray, or photographs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import Chance, constant
from .layout import View
from .noise import CLOUDS, SIDE, cloud_at, clouds
from .props import thing_colours
from .raster import those

_ROOM, _STREET, _FIELD, _STUDIO, _CLUTTER = range(5)
_KIND_CHANCES = (0.32, 0.22, 0.2, 0.1, 0.16)
_TEXTURES = ("plain", "tiles", "planks", "checks", "bricks", "stripes", "windows", "patches")
_FLOOR_CHANCES = (0.35, 0.2, 0.17, 0.1, 0.06, 0.04, 0.0, 0.08)
_WALL_CHANCES = (0.4, 0.08, 0.06, 0.02, 0.14, 0.1, 0.06, 0.14)
_FACADE_CHANCES = (0.1, 0.04, 0.04, 0.02, 0.15, 0.05, 0.5, 0.1)
_FAR_M = 60.0
PHOTO_PX = 288
_SOILS = (
    (0.3, 0.42, 0.16), (0.68, 0.58, 0.42), (0.33, 0.33, 0.34), (0.88, 0.9, 0.94),
    (0.2, 0.38, 0.46), (0.45, 0.36, 0.26),
)  # fmt: skip
_PHOTO_SHARE = 0.7


@dataclass(frozen=True)
class Backdrop:
    """Behind everything, in each of B pictures of P pixels.

    Attributes:
        albedo: (B, P, 3) 0-1.
        place: (B, P, 3) metres, world frame.
        normal: (B, P, 3) unit, world frame.
        flat: (B, P) bool: shines by itself (sky, photographs); shadows only darken it.
    """

    albedo: Tensor
    place: Tensor
    normal: Tensor
    flat: Tensor


def pixel_rays(view: View, size_hw: tuple[int, int]) -> Tensor:
    """(B, P, 3) world frame, as long as a depth of 1 asks."""
    height, width = size_hw
    device = view.focal_length.device
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + (0.5 - height / 2),
        torch.arange(width, device=device) + (0.5 - width / 2),
        indexing="ij",
    )
    flat = torch.stack([x.flatten(), y.flatten()], -1) / view.focal_length[:, None, None]
    rays = torch.cat([flat, torch.ones_like(flat[..., :1])], -1)
    return rays @ view.rotation


def draw_backdrop(
    chance: Chance, view: View, rays: Tensor, photos: Tensor | None, *, test: bool
) -> Backdrop:
    """Invent what is behind people, or take it from a photograph in seven of ten scenes.

    Args:
        chance: one key a scene.
        view: the cameras.
        rays: (B, P, 3) as `pixel_rays` gives them.
        photos: (n, 3, 288, 288) uint8, or none.
        test: use the textures of the test set.
    """
    source = chance.child("backdrop")
    kind = source.choice("kind", _KIND_CHANCES)[:, None]
    place, surface = _surfaces(source, kind, view, rays)
    normal = _normals(surface, rays)
    clutter, sky = kind[:, 0] == _CLUTTER, surface == _SKY
    used = chance.happens("photo", 0.0 if photos is None else _PHOTO_SHARE)

    def built(s: Tensor) -> Tensor:
        colours = _surface_colours(source.take(s), kind[s], surface[s], place[s], normal[s], test)
        painted = _sky(source.take(s), rays[s], sky[s], test)
        far = (place[s] - view.position[s, None]).norm(dim=-1)
        return _hazed(source.take(s), torch.where(sky[s][..., None], painted, colours), far)

    albedo = _replaced(torch.zeros_like(rays), ~(used | clutter), built)
    albedo = _replaced(albedo, clutter & ~used, lambda s: _patchwork(source.take(s), rays[s], test))
    if photos is not None:
        albedo = _replaced(
            albedo, used, lambda s: _photographs(source.take(s), photos, view.take(s), rays[s])
        )
    return Backdrop(albedo.clamp(0, 1), place, normal, sky | (clutter | used)[:, None])


def _replaced(albedo: Tensor, used: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Albedo (B, P, 3) with what `draw` gives for the scenes that use (B,) it."""
    scenes = those(used)
    if not len(scenes):
        return albedo
    new = torch.where(used[scenes, None, None], draw(scenes), albedo[scenes])
    return albedo.index_put((scenes,), new)


_NORMALS = ((0, 1, 0), (0, 0, 1), (1, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 1, 0))
_GROUND, _BACK, _LEFT, _RIGHT, _TOP, _SKY = range(6)


def _surfaces(source: Chance, kind: Tensor, view: View, rays: Tensor) -> tuple[Tensor, Tensor]:
    """First plane that each ray meets: (B, P, 3) where, and (B, P) which."""
    eye = view.position[:, None, 1]
    x, y, z = rays.unbind(-1)
    room = (kind == _ROOM) | (kind == _STUDIO)
    back = view.distance + source.uniform("back", low=0.8, high=7.0)
    street = view.distance + source.uniform("street", low=4.0, high=40.0)
    back = torch.where(room[:, 0], back, street)[:, None]
    half = torch.where(room[:, 0], source.uniform("half", low=1.8, high=5.0),
                       source.uniform("pavement", low=3.0, high=12.0))[:, None]  # fmt: skip
    half = torch.maximum(half, 0.5 * view.distance[:, None])
    top = torch.maximum(source.uniform("top", 1, low=2.3, high=3.6), eye + 0.4)
    roof = source.uniform("roof", 1, low=4.0, high=15.0)
    far = torch.full_like(x, _FAR_M)

    def meets(step: Tensor, distance: Tensor) -> Tensor:
        return torch.where(step > 1e-4, distance / step.clamp_min(1e-4), far).clamp_max(_FAR_M)

    built = room | (kind == _STREET)
    endless = torch.where(built, 0.0, _FAR_M)
    hits = torch.stack(
        [
            meets(-y, eye),
            meets(-z, back) + endless,
            meets(-x, half) + torch.where(kind == _STUDIO, _FAR_M, endless),
            meets(x, half) + torch.where(kind == _STUDIO, _FAR_M, endless),
            meets(y, top - eye) + torch.where(kind == _ROOM, 0.0, _FAR_M),
        ]
    )
    reach, surface = hits.min(0)
    place = view.position[:, None] + rays * reach[..., None]
    above = ~room & (surface > _GROUND) & (place[..., 1] > roof)
    return place, torch.where((reach >= _FAR_M) | above, _SKY, surface)


def _normals(surface: Tensor, rays: Tensor) -> Tensor:
    return constant(_NORMALS, rays.device)[surface]


def _surface_colours(
    source: Chance, kind: Tensor, surface: Tensor, place: Tensor, normal: Tensor, test: bool
) -> Tensor:
    """(B, P, 3) albedo of floors, walls, facades and ceilings."""
    each = source.split("surfaces", 6)
    walls = each.choice("wall", _WALL_CHANCES)
    facades = each.choice("facade", _FACADE_CHANCES)
    texture = torch.where(kind == _STREET, facades, walls)
    floor = each.choice("floor", _FLOOR_CHANCES)[:, :1]
    texture = torch.cat(
        [floor, texture[:, 1:2].expand(-1, 3), torch.zeros_like(floor).expand(-1, 2)], 1
    )
    texture = torch.where(kind == _FIELD, 0, texture)
    scale = each.uniform("scale", low=-1.8, high=0.7).exp()
    scale = torch.where(texture == _TEXTURES.index("windows"), 1.2 + scale, scale)
    ratio = each.uniform("ratio", low=0.3, high=2.0)
    colours = thing_colours(each.child("colours"), 2) * 0.75 + 0.15
    colours = torch.where((kind == _FIELD)[..., None, None], _soil(each), colours)
    contrast = each.uniform("contrast", low=0.15, high=1.0)
    second = torch.lerp(colours[..., 0, :], colours[..., 1, :], contrast[..., None])
    rough = each.uniform("rough", 2).prod(-1) * 0.5
    rough = torch.where(kind == _FIELD, 0.25 + rough, rough)
    u = torch.where(normal[..., 0].abs() > 0.5, place[..., 2], place[..., 0])
    v = torch.where(normal[..., 1].abs() > 0.5, place[..., 2], place[..., 1])
    a = u / scale.gather(1, surface)
    b = v / (scale * ratio).gather(1, surface)
    mask = _texture(texture.gather(1, surface), a, b, test)
    index = surface[..., None].expand(-1, -1, 3)
    answer = torch.lerp(
        colours[..., 0, :].gather(1, index), second.gather(1, index), mask[..., None]
    )
    table = clouds(test, place.device)
    which = each.choice("cloud", (1.0,) * CLOUDS).gather(1, surface)
    fine = 1.4 * cloud_at(table, which, u * 45, v * 45)
    return answer * (1 + (rough.gather(1, surface) * fine)[..., None]).clamp(0.2, 1.8)


def _soil(each: Chance) -> Tensor:
    """(B, 6, 2, 3) lawn, sand, asphalt, snow or water."""
    table = constant(_SOILS, each.keys.device)
    soil = table[each.choice("soil", (3, 1.5, 1.5, 1.5, 1.2, 1))]
    return soil[..., None, :] * each.uniform("soil shade", 2, 1, low=0.6, high=1.25)


def _texture(texture: Tensor, a: Tensor, b: Tensor, test: bool) -> Tensor:
    """(B, P) share of the second colour."""
    cell_a, cell_b = a.floor(), b.floor()
    in_a, in_b = a - cell_a, b - cell_b
    odd = torch.remainder(cell_a + cell_b, 2)
    shifted = torch.remainder(a + 0.5 * torch.remainder(cell_b, 2), 1)
    table = clouds(test, a.device)
    noise = cloud_at(table, torch.ones_like(texture), cell_a * 7, cell_b * 13) * 0.5 + 0.5
    glass = (in_a > 0.28) & (in_a < 0.75) & (in_b > 0.2) & (in_b < 0.8)
    patch = (noise > 0.6) & (in_a > 0.15) & (in_a < 0.85) & (in_b > 0.2)
    masks = (
        torch.zeros_like(a),
        ((in_a < 0.05) | (in_b < 0.05)).float(),
        (in_a < 0.03).float() + 0.5 * noise,
        odd,
        ((shifted < 0.06) | (in_b < 0.12)).float(),
        (in_a < 0.5).float(),
        glass * (0.6 + 0.4 * noise),
        patch * noise,
    )
    answer = masks[0]
    for number, mask in enumerate(masks[1:], 1):
        answer = torch.where(texture == number, mask, answer)
    return answer.clamp(0, 1)


def _sky(source: Chance, rays: Tensor, sky: Tensor, test: bool) -> Tensor:
    """(B, P, 3) sky with clouds, hills and rows of trees at its foot, where sky (B, P) is."""
    scenes = torch.arange(len(sky), device=sky.device)[:, None].expand_as(sky).flatten()
    pixel = those(sky.flatten())
    scene = scenes[pixel]
    ray = rays.flatten(0, 1)[pixel]
    level = torch.hypot(ray[:, 0], ray[:, 2]).clamp_min(1e-3)
    height = ray[:, 1] / level
    around = torch.atan2(ray[:, 0], -ray[:, 2])
    grey = source.uniform("overcast", 1)
    blue = constant((0.35, 0.55, 0.85), grey.device) * source.uniform(
        "zenith", 1, low=0.6, high=1.2
    )
    zenith = torch.lerp(blue, torch.full_like(blue, 0.8), grey)
    share = (height * 1.8).clamp(0, 1)[:, None]
    answer = torch.lerp((0.4 * zenith + 0.6)[scene], zenith[scene], share)
    table = clouds(test, rays.device)
    zero = torch.zeros_like(scene)
    puff = cloud_at(table, zero + 5, height * 120, around * 60 + height * 30)
    cover = source.uniform("cover", low=0.0, high=0.35)[scene]
    answer = answer + (cover * puff)[:, None]
    rough = source.uniform("ragged", low=0.02, high=0.14)[scene]
    start = source.uniform("start", high=SIDE)[scene]
    ridge = rough * (1.0 + cloud_at(table, zero + 3, start + around * 40, zero))
    ridge = ridge + 0.3 * rough * cloud_at(table, zero + 1, start + around * 250, zero)
    hill = thing_colours(source.child("hill"), 1)[:, 0] * 0.5 + 0.1
    leaf = constant((0.22, 0.32, 0.16), hill.device) * source.uniform("leaf", 1, low=0.5, high=1.6)
    hill = torch.where(source.happens("woods", 0.6)[:, None], leaf, hill)[scene]
    shade = 1 + 0.25 * cloud_at(table, zero + 2, around * 400, height * 400)
    answer = torch.where((height < ridge)[:, None], hill * shade[:, None], answer)
    whole = torch.zeros(rays.flatten(0, 1).shape, device=rays.device)
    return whole.index_put((pixel,), answer).view_as(rays)


def _hazed(source: Chance, albedo: Tensor, distance: Tensor) -> Tensor:
    """Farther things fade, in half of the scenes."""
    reach = source.uniform("haze", 1, low=2.5, high=5.0).exp()
    reach = torch.where(source.happens("hazy", 0.5)[:, None], reach, 1e4)
    fade = torch.exp(-distance / reach)[..., None]
    return albedo * fade + 0.75 * (1 - fade)


def _patchwork(source: Chance, rays: Tensor, test: bool) -> Tensor:
    """(B, P, 3) flat shapes of all sizes over each other, as if much lay about."""
    table = clouds(test, rays.device)
    x, y = rays[..., 0] / rays[..., 2].abs().clamp_min(0.1), rays[..., 1]
    zero = torch.zeros_like(x, dtype=torch.int64)
    answer = (thing_colours(source.child("under"), 1) * 0.8 + 0.1).expand(*x.shape, 3)
    for layer in range(3):
        each = source.child("layer", layer)
        size = each.uniform("size", 1, low=-2.6, high=-0.6).exp()
        lean = each.uniform("lean", 1, high=math.pi)
        aspect = each.uniform("aspect", 1, low=0.4, high=2.0)
        u = (x * lean.cos() + y * lean.sin()) / size
        v = (y * lean.cos() - x * lean.sin()) / (size * aspect)
        cell_u, cell_v = u.floor(), v.floor()
        start = each.uniform("start", 1, high=SIDE)

        def pick(number: int, cells: tuple[Tensor, Tensor] = (cell_u, cell_v),
                 start: Tensor = start) -> Tensor:  # fmt: skip
            """A number 0-1 of each cell."""
            place = (cells[0] * 89 + start + 31 * number, cells[1] * 137 + 53 * number)
            return (cloud_at(table, zero + number, *place) * 0.5 + 0.5).clamp(0, 1)

        off_u, off_v = u - cell_u - 0.5, v - cell_v - 0.5
        disc = off_u**2 + off_v**2 < 0.2
        box = (off_u.abs() < 0.42) & (off_v.abs() < 0.3)
        shape = torch.where(pick(0) < 0.4, disc, box) & (pick(1) < 0.45)
        paint = torch.stack([pick(number) for number in (2, 3, 4)], -1)
        answer = torch.where(shape[..., None], paint, answer)
    noise = cloud_at(table, zero + 4, x * 150, y * 150)
    return answer * (1 + 0.15 * noise[..., None])


def _photographs(source: Chance, photos: Tensor, view: View, rays: Tensor) -> Tensor:
    """(B, P, 3) windows of photographs, mirrored half of the time."""
    number = (source.uniform("which photo") * len(photos)).long()
    zoom = source.uniform("zoom", 1, low=0.45, high=1.0)
    flip = torch.where(source.happens("flip", 0.5), -1.0, 1.0)[:, None]
    local = (rays @ view.rotation.transpose(1, 2))[..., :2] * view.focal_length[:, None, None]
    local = local / local.abs().amax((1, 2), keepdim=True)
    shift = source.uniform("shift", 2, low=-1, high=1) * (1 - zoom)
    u = local[..., 0] * zoom * flip + shift[:, :1]
    v = local[..., 1] * zoom + shift[:, 1:]
    chosen = photos[number].float() / 255
    shown = torch.nn.functional.grid_sample(
        chosen, torch.stack([u, v], -1)[:, None], padding_mode="reflection", align_corners=False
    )
    return shown[:, :, 0].transpose(1, 2) * source.uniform("bright", 1, 1, low=0.75, high=1.15)
