"""Prediction for one photo: network outputs and posed bodies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np

from .attention import Attention
from .geometry.boxes import nms
from .geometry.camera import Camera, fit_translation
from .geometry.tiles import Tile
from .network.config import NUM_BODY_JOINTS
from .people import People

_MAX_TILE_OVERLAP = 0.5
"""IoU above which people of two tiles are one."""
_MAX_TILE_PEOPLE = 1000

FocalLengthSource = Literal["model", "exif", "chosen"]


@dataclass(frozen=True)
class Candidates:
    """Network outputs for one photo before thresholding, for repeated `AiOSPredictor.assemble`.

    Attributes:
        people: all queries, best score first.
        camera: camera of the photo.
        attention: decoder attention for the best people, if requested.
        placed: whether `AiOSPredictor.placed` has already been applied to `transl`.
    """

    people: People
    camera: Camera
    attention: Attention | None = None
    placed: bool = False


def candidates_of_tiles(
    found: Sequence[Candidates], parts: Sequence[Tile], camera: Camera
) -> Candidates:
    """People of all tiles in pixels and camera of the whole photo.

    Of a person in two tiles only one is kept. Attention is not.

    Args:
        found: people of each tile.
        parts: the tiles.
        camera: of the photo.
    """
    together: list[People] = []
    for index, (candidates, tile) in enumerate(zip(found, parts, strict=True)):
        own = _in_core(_in_photo(candidates, tile, camera), tile, camera)
        queries = own.query_indices + index * len(candidates.people)
        together.append(replace(own, query_indices=queries))
    people = People(
        **{
            field.name: np.concatenate([getattr(each, field.name) for each in together])
            for field in fields(People)
        }
    )
    best = people.select(np.argsort(-people.scores, kind="stable")[:_MAX_TILE_PEOPLE])
    return Candidates(best.select(nms(best.boxes_xyxy_px, _MAX_TILE_OVERLAP)), camera)


def _in_core(people: People, tile: Tile, camera: Camera) -> People:
    axis = 0 if camera.width > camera.height else 1
    centres = (people.boxes_xyxy_px[:, axis] + people.boxes_xyxy_px[:, axis + 2]) / 2
    low, high = tile.core
    return people.select((centres >= low) & (centres < high))


def _in_photo(candidates: Candidates, tile: Tile, camera: Camera) -> People:
    """People with the pixels of the photo, at the distance that gives the same size there."""
    people, view = candidates.people, candidates.camera
    moved = {}
    for field in fields(People):
        if field.name.endswith("_px"):  # points (x, y) or boxes (x, y, x, y)
            values = getattr(people, field.name)
            moved[field.name] = values + np.resize(
                np.array(tile.origin, np.float32), values.shape[-1]
            )
    x, y, depth = people.transl.astype(np.float64).T
    far = depth * camera.focal_length / view.focal_length
    # Sideways, the ray through the same pixel: x / depth * focal length + principal point.
    shifts = [
        (of_tile + origin - of_photo) / camera.focal_length
        for of_tile, origin, of_photo in zip(
            view.principal_point, tile.origin, camera.principal_point, strict=True
        )
    ]
    transl = np.stack([x + shifts[0] * far, y + shifts[1] * far, far], 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # people that the network has skipped
        weak_camera = np.concatenate([transl[:, :2], np.ones((len(transl), 1))], 1) / transl[:, 2:]
    return replace(
        people,
        transl=transl.astype(np.float32),
        weak_camera=weak_camera[:, [2, 0, 1]].astype(np.float32),
        **moved,
    )


@dataclass(frozen=True)
class Prediction:
    """Prediction for one photo, the source of all views and files.

    Attributes:
        people: P people, best score first.
        camera: perspective camera in photo pixels.
        vertices: (P, V, 3) float32 metres, camera frame (x right, y down, z forward).
        joints_3d: (P, 144, 3) float32 metres, camera frame, SMPL-X order.
        faces: (F, 3) int64 vertex indices of one body.
        weights: name of the weights, see `WeightsInfo.name`.
        body: name of the body model, "SMPL-X" or "stand-in".
        refined: whether poses and distances were refined to the predicted keypoints, see `fitting`.
        focal_length_from: whether the focal length is that of the model, of the photo's EXIF data,
            or chosen.
        kept: (P,) int64 indices among all people found, after `select`; None before.
    """

    people: People
    camera: Camera
    vertices: np.ndarray
    joints_3d: np.ndarray
    faces: np.ndarray
    weights: str
    body: str
    refined: bool = False
    focal_length_from: FocalLengthSource = "model"
    kept: np.ndarray | None = None

    @property
    def person_indices(self) -> np.ndarray:
        """(P,) int64 indices among all people found, on which names and colours depend."""
        return np.arange(len(self)) if self.kept is None else self.kept

    @property
    def depth_order(self) -> np.ndarray:
        """(P,) int64 rank by depth of the pelvis, 0 for the nearest person."""
        order = np.argsort(self.joints_3d[:, 0, 2], kind="stable")
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def select(self, indices: Sequence[int]) -> Self:
        """Keep some of the people, with their names and colours.

        Args:
            indices: from 0, in the order of the result.
        """
        chosen = np.array(indices, np.int64)
        return replace(
            self,
            people=self.people.select(chosen),
            vertices=self.vertices[chosen],
            joints_3d=self.joints_3d[chosen],
            kept=self.person_indices[chosen],
        )

    def with_field_of_view(
        self, degrees: float, focal_length_from: FocalLengthSource = "chosen"
    ) -> Self:
        """Change the field of view and move people so that their projections stay in place.

        `transl`, vertices and joints change; pose, shape, orientation and `weak_camera` do not.

        Args:
            degrees: field of view across the longer side of the photo.
            focal_length_from: where it comes from.

        Raises:
            ValueError: not between 0 and 180 degrees.
        """
        camera = self.camera.with_field_of_view(degrees)
        joints = self.joints_3d[:, :NUM_BODY_JOINTS]
        shift = fit_translation(joints, self.camera.project(joints), camera)
        moved = self._moved(shift)
        return replace(moved, camera=camera, focal_length_from=focal_length_from)

    def _moved(self, shift: np.ndarray) -> Self:
        """Move people by (P, 3) metres."""
        shift = shift.astype(np.float32)
        return replace(
            self,
            people=replace(self.people, transl=self.people.transl + shift),
            vertices=self.vertices + shift[:, None],
            joints_3d=self.joints_3d + shift[:, None],
        )

    def __len__(self) -> int:
        """Number of people."""
        return len(self.people)

    def __iter__(self) -> Iterator[int]:
        """Indices of the people, best score first."""
        return iter(range(len(self.people)))
