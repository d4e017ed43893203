"""Scenes of stand-in people with exact labels, made as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..targets import Targets
from .appearance import Looks, draw_light, draw_looks, garment_offsets, shade
from .backgrounds import draw_background
from .effects import cast_shadow, draw_occluders, photograph
from .labels import PosedPeople, build_targets
from .layout import View, draw_layout, draw_yaw
from .poses import PersonPose, draw_pose
from .raster import composite, sample_counts, splat
from .surface import BodySurface

Rng = np.random.Generator

TRAIN_SEED = 1
TEST_SEED = 1_000_003
_COUNT_CHANCES = np.array([0.06, 0.34, 0.2, 0.15, 0.1, 0.08, 0.07])
_BETA_LIMIT, _EXPRESSION_LIMIT = 2.2, 1.8
_STATURE_M = 1.7
_SHADOW_STEP = 7  # every seventh vertex is enough for a blurred shadow


@dataclass(frozen=True)
class Scene:
    """One labelled picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        targets: who is in it.
        owner: (H, W) int64 person drawn at each pixel (before any is dropped from the targets),
            their number for a thing in front, -1 for background.
    """

    image: np.ndarray
    targets: Targets
    owner: np.ndarray


@dataclass(frozen=True)
class Cast:
    """People before they have a place: P poses and shapes.

    Attributes:
        poses: P of them.
        turns: (P, 3, 3) pelvis -> world.
        betas: (P, 10).
        expression: (P, 10).
        looks: of all.
    """

    poses: list[PersonPose]
    turns: np.ndarray
    betas: Tensor
    expression: Tensor
    looks: Looks


def draw_cast(rng: Rng, count: int) -> Cast:
    """`count` people at random."""
    poses = [draw_pose(rng) for _ in range(count)]
    turns = (
        np.stack([draw_yaw(rng) @ pose.tilt for pose in poses]) if poses else np.zeros((0, 3, 3))
    )
    betas = rng.standard_normal((count, 10)).clip(-_BETA_LIMIT, _BETA_LIMIT)
    face = rng.normal(0, 0.7, (count, 10)).clip(-_EXPRESSION_LIMIT, _EXPRESSION_LIMIT)
    return Cast(poses, turns, _float(betas), _float(face), draw_looks(rng, count))


class SceneGenerator:
    """Labelled scenes; each depends on the seed and its number alone.

    Args:
        size_hw: pixels of the pictures.
        body: the stand-in body.
        seed: `TRAIN_SEED`, `TEST_SEED` or another; different seeds share nothing.
        backgrounds: RGB uint8 photographs with nobody in them, or none for invented ones only.
        max_people: 0 to 6 people are drawn, up to this number.
        people: instead, the fewest and the most people, 0 to 6, each number as likely.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        body: BodySurface,
        seed: int,
        backgrounds: Sequence[np.ndarray] | None = None,
        max_people: int = 6,
        people: tuple[int, int] | None = None,
    ) -> None:
        """Keep what all scenes share; raises ValueError if `max_people` is out of range."""
        if not 0 <= max_people < len(_COUNT_CHANCES):
            raise ValueError(f"max_people is {max_people}, wanted 0 to {len(_COUNT_CHANCES) - 1}.")
        self.size_hw = size_hw
        self.body = body
        self.seed = seed
        self.backgrounds = backgrounds
        chances = _COUNT_CHANCES[: max_people + 1]
        if people is not None:
            numbers = np.arange(len(_COUNT_CHANCES))
            chances = ((numbers >= people[0]) & (numbers <= people[1])).astype(np.float64)
        self._chances = chances / chances.sum()

    @torch.no_grad()
    def generate(self, index: int) -> Scene:
        """The scene with this number."""
        rng = np.random.default_rng([self.seed, index])
        cast = draw_cast(rng, int(rng.choice(len(self._chances), p=self._chances)))
        offsets = garment_offsets(self.body, cast.looks)
        vertices, joints = pose_cast(self.body, cast, offsets)
        extents = _extents(vertices)
        view, places = draw_layout(rng, extents, self.size_hw)
        return self._draw(rng, cast, (vertices, joints), view, places)

    def _draw(
        self,
        rng: Rng,
        cast: Cast,
        standing: tuple[Tensor, Tensor],
        view: View,
        places: np.ndarray,
    ) -> Scene:
        """Put people (world frame, above the origin) at their places and take the picture."""
        shift = _float(np.stack([places[:, 0], 0 * places[:, 0], places[:, 1]], 1))[:, None]
        world = standing[0] + shift
        people = to_camera(cast, self.body, world, standing[1] + shift, view)
        focal, count = view.focal_length, len(cast.poses)
        depths = people.joints_3d[:, 0, 2].numpy()
        nearest = people.vertices[..., 2].amin(1).numpy() if count else depths
        heights = focal * _STATURE_M / (0.5 * depths + 0.5 * nearest).clip(0.5)
        counts, footprints = sample_counts(heights)
        splats = splat(self.body, people.vertices, counts, footprints, focal, self.size_hw)
        occluder_depth, occluder_colour = draw_occluders(rng, depths, self.size_hw)
        picture = composite(splats, torch.from_numpy(occluder_depth))
        light, lamp = draw_light(rng, view.rotation)
        image = draw_background(rng, view, self.size_hw, self.backgrounds)
        if count:
            dark = rng.uniform(0.1, 0.7)
            some = world[:, ::_SHADOW_STEP].reshape(-1, 3).numpy().astype(np.float64)
            image *= cast_shadow(some, view, lamp, self.size_hw, dark)[..., None]
        owner = picture.owner.numpy()
        front = np.zeros_like(image)
        drawn = (picture.owner >= 0) & (picture.owner < count)
        colours = shade(splats, picture.winner[drawn], self.body, cast.looks, light)
        front[drawn.numpy()] = colours.numpy()
        front[owner == count] = occluder_colour[owner == count]
        image = _lay_over(image, front, owner >= 0, rng.uniform(0.35, 0.7))
        targets = build_targets(people, picture, self.body, focal, self.size_hw)
        return Scene(photograph(rng, image), targets, owner)


def pose_cast(body: BodySurface, cast: Cast, offsets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Vertices (P, V, 3) and joints (P, 144, 3) in the world, feet on the ground at the origin."""
    count = len(cast.poses)
    if not count:
        return torch.zeros(0, body.num_vertices, 3), torch.zeros(0, 144, 3)
    pose = torch.zeros(count, 55, 3)
    for person, one in enumerate(cast.poses):
        pose[person, 1:22] = torch.from_numpy(one.body_pose)
        pose[person, 22] = torch.from_numpy(one.jaw_pose)
        pose[person, 25:40] = torch.from_numpy(one.left_hand_pose)
        pose[person, 40:] = torch.from_numpy(one.right_hand_pose)
    vertices, joints = body.pose(pose, cast.betas, cast.expression, offsets)
    pelvis = joints[:, :1].clone()
    turns = _float(cast.turns).transpose(1, 2)
    vertices, joints = (vertices - pelvis) @ turns, (joints - pelvis) @ turns
    lowest = vertices[..., 1].amin(1)
    up = torch.zeros(count, 1, 3)
    up[:, 0, 1] = _float(np.array([one.lift for one in cast.poses])) - lowest
    return vertices + up, joints + up


def to_camera(
    cast: Cast, body: BodySurface, vertices: Tensor, joints: Tensor, view: View
) -> PosedPeople:
    """World -> camera frame, with the SMPL-X parameters that say the same."""
    turn, eye = _float(view.rotation), _float(view.position)
    vertices, joints = (vertices - eye) @ turn.T, (joints - eye) @ turn.T
    count = len(cast.poses)
    coefficients = torch.cat([cast.betas, cast.expression], 1)
    rest = body.joint_template[0] + coefficients @ body.joint_dirs[:, 0]
    orient = (
        Rotation.from_matrix(view.rotation @ cast.turns).as_rotvec() if count else np.zeros((0, 3))
    )

    def stack(name: str, size: int) -> Tensor:
        rows = [getattr(pose, name).reshape(size) for pose in cast.poses]
        return _float(np.stack(rows)) if rows else torch.zeros(0, size)

    parameters = {
        "global_orient": _float(orient),
        "body_pose": stack("body_pose", 63),
        "left_hand_pose": stack("left_hand_pose", 45),
        "right_hand_pose": stack("right_hand_pose", 45),
        "jaw_pose": stack("jaw_pose", 3),
        "betas": cast.betas,
        "expression": cast.expression,
        "transl": joints[:, 0] - rest,
    }
    return PosedPeople(vertices, joints, parameters)


def _lay_over(
    image: np.ndarray, front: np.ndarray, mask: np.ndarray, softness_px: float
) -> np.ndarray:
    """Blend people over the background with an edge as soft as a lens makes it."""
    opaque = mask.astype(np.float32)
    soft = cv2.GaussianBlur(opaque, (0, 0), softness_px)
    paint = cv2.GaussianBlur(front * opaque[..., None], (0, 0), softness_px)
    return image * (1 - soft[..., None]) + paint


def _extents(vertices: Tensor) -> np.ndarray:
    """(P,) metres: height, or most of the length of those who lie."""
    if not len(vertices):
        return np.zeros(0)
    spans = vertices.amax(1) - vertices.amin(1)
    return torch.maximum(spans[:, 1], 0.8 * spans[:, [0, 2]].amax(1)).numpy()


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))
