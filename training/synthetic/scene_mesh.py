"""Triangles of all people and objects, in the frame of cameras or lights."""

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
    """Triangles of a batch of scenes in one frame.

    Attributes:
        bodies: triangles of people; face f of person n has number n * F + f.
        objects: triangles of primitives; face f of primitive m has number m * 160 + f.
    """

    bodies: Triangles
    objects: Triangles


def build_scene_mesh(
    characters: Characters,
    body: BodySurface,
    vertices: Tensor,
    shapes: Primitives,
    frame: tuple[Tensor, Tensor],
    *,
    step: int = 1,
) -> SceneMesh:
    """Build the triangles in a frame.

    Args:
        characters: the people.
        body: their surface.
        vertices: (N, V + A, 3) vertices of the people in the frame, metres.
        shapes: all other objects, world frame.
        frame: rotation (B, 3, 3) world -> frame, and origin (B, 3), world.
        step: use every `step`-th triangle of people; every second suffices for shadows.
    """
    count, faces = len(vertices), body.all_faces[::step]
    device = vertices.device
    start = torch.arange(count, device=device)[:, None] * vertices.shape[1]
    flat = vertices.reshape(-1, 3).T.contiguous()
    corners = [flat.index_select(1, (faces[:, k] + start).flatten()) for k in range(3)]
    person = torch.arange(count, device=device)[:, None].expand(-1, len(faces)).flatten()
    shell = torch.zeros(len(faces), dtype=torch.bool, device=device)
    shell[-(-len(body.faces) // step) :] = True
    shown = (
        visible_faces(body, characters.appearance)[:, ::step] & characters.slots.visible[:, None]
    )
    people = Triangles(
        (corners[0], corners[1], corners[2]),
        characters.slots.scene[person],
        person,
        shown.flatten(),
        shell.repeat(count),
    )
    moved = shapes.moved(*frame)
    places, _ = moved.mesh()
    table = mesh_templates(device)[2]
    sides = [places[:, table[:, k]].reshape(-1, 3).T.contiguous() for k in range(3)]
    each = torch.arange(len(places), device=device)[:, None].expand(-1, len(table)).flatten()
    objects = Triangles(
        (sides[0], sides[1], sides[2]),
        moved.scene[each],
        moved.owner[each],
        moved.shown[each],
        torch.zeros(len(each), dtype=torch.bool, device=device),
    )
    return SceneMesh(people, objects)
