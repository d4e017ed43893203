"""Fit of the people of one photo: placement, refinement and common floor, in this order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..geometry.camera import Camera
from ..people import People
from ..posing import BodyPoser
from .common_floor import distance_factors
from .placement import keypoint_translation
from .refinement import refine_poses


def fit_people(
    people: People,
    camera: Camera,
    poser: BodyPoser,
    *,
    place: bool,
    refine: bool,
    common_floor: bool,
) -> People:
    """Fit people to their predicted 2D keypoints; poses joints only, no meshes.

    Args:
        people: P people of one photo.
        camera: camera of the photo.
        poser: of the body model that is shown.
        place: whether `transl` comes from the keypoints, see `placement`.
        refine: whether poses are refined, see `refinement`.
        common_floor: whether refined people move closer to one floor, see `common_floor`.
    """
    if not (place or refine) or not len(people):
        return people
    joints = poser.joints(people)
    if place:
        shift = keypoint_translation(people, joints, camera).astype(np.float32)
        people, joints = replace(people, transl=people.transl + shift), joints + shift[:, None]
    if not refine:
        return people
    refined = refine_poses(people, joints, camera)
    if not common_floor:
        return refined
    depths = joints[:, 0, 2] * distance_factors(people, joints, camera)
    return _at_depths(refined, poser, depths, depths != joints[:, 0, 2])


def _at_depths(people: People, poser: BodyPoser, depths: np.ndarray, moved: np.ndarray) -> People:
    """Move people along the rays of the camera to given relative depths, and resize them.

    The median depth of the moved people stays that of the refinement, which is the better one;
    `depths` are better relative to each other. Sizes in the photo stay.

    Args:
        people: P refined people.
        poser: as in `fit_people`.
        depths: (P,) of the pelvis, metres.
        moved: (P,) bool; the others stay.
    """
    if not moved.any():
        return people
    joints = poser.joints(people)
    pelvis = joints[:, 0]
    factors = np.where(moved, depths / pelvis[:, 2], 1.0)
    factors[moved] /= np.exp(np.median(np.log(factors[moved])))
    people = poser.resized(people, joints, factors)
    shift = (pelvis * (factors - 1)[:, None]).astype(np.float32)
    return replace(people, transl=people.transl + shift)
