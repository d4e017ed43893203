"""Everything that is drawn as triangles, in the frame of cameras or of lamps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .appearance import visible_faces
from .characters import Characters
from .primitives import Primitives, mesh_templates
from .raster import Triangles
from .surface import BodySurface


@dataclass(frozen=True)
class SceneMesh:
    """What is drawn, in one frame.

    Attributes:
        body: triangles of people; number n * F + f.
        things: triangles of primitives; number m * 160 + f.
    """

    body: Triangles
    things: Triangles


def build_scene_mesh(
    characters: Characters,
    body: BodySurface,
    vertices: Tensor,
    shapes: Primitives,
    frame: tuple[Tensor, Tensor],
    *,
    step: int = 1,
) -> SceneMesh:
    """Triangles in a frame.

    Args:
        characters: the people.
        body: their surface.
        vertices: (N, V + A, 3) of the people in the frame.
        shapes: everything else, world frame.
        frame: rotation (B, 3, 3) from and position (B, 3) in the world.
        step: take every so-manieth triangle of people; shadows need no more than every other.
    """
    count, faces = len(vertices), body.all_faces[::step]
    device = vertices.device
    start = torch.arange(count, device=device)[:, None] * vertices.shape[1]
    flat = vertices.reshape(-1, 3).T.contiguous()
    corners = [flat.index_select(1, (faces[:, k] + start).flatten()) for k in range(3)]
    person = torch.arange(count, device=device)[:, None].expand(-1, len(faces)).flatten()
    sheet = torch.zeros(len(faces), dtype=torch.bool, device=device)
    sheet[-(-len(body.faces) // step) :] = True
    shown = (
        visible_faces(body, characters.appearance)[:, ::step] & characters.slots.visible[:, None]
    )
    people = Triangles(
        (corners[0], corners[1], corners[2]),
        characters.slots.scene[person],
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
    return SceneMesh(people, things)
