"""Assembles the stand-in body and writes the file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from .decimate import decimate_symmetric
from .hands import hand_components, relaxed_hand
from .landmarks import LandmarkFinder
from .pose_directions import pose_directions
from .regions import clothing_regions
from .regressor import joint_regressor
from .shape_space import ShapeSpace, build_shape_space
from .smplx_joints import JOINTS, PARENTS, JointFinder, skin_weights
from .source import Source
from .symmetry import symmetrised

NUM_VERTICES = 10475
NUM_CONTOUR_ROWS = 79
EXTRA_JOINT_VERTICES = {
    "nose": 9120, "reye": 9929, "leye": 9448, "rear": 616, "lear": 6,
    "rthumb": 8079, "rindex": 7669, "rmiddle": 7794, "rring": 7905, "rpinky": 8022,
    "lthumb": 5361, "lindex": 4933, "lmiddle": 5058, "lring": 5169, "lpinky": 5286,
    "LBigToe": 5770, "LSmallToe": 5780, "LHeel": 8846,
    "RBigToe": 8463, "RSmallToe": 8474, "RHeel": 8635,
}  # fmt: skip
"""Vertex indices that the `smplx` package uses for the extra joints of this layout."""
NOTE = "NOT SMPL-X: stand-in body derived from CC0 MakeHuman / MPFB2 assets and CC0 skin weights"

_log = logging.getLogger(__name__)


def build_standin(source: Source, out: Path) -> None:
    """Build the body and write it to `out` as a compressed, reproducible .npz."""
    mesh = source.base_mesh()
    groups = source.vertex_groups()
    weights = skin_weights(source.bone_weights(), len(mesh.vertices))
    space = build_shape_space(source, mesh, JointFinder(groups), weights)
    space = symmetrised(space, mesh.mirror)
    _log.info("shape space explains %.2f %% of the variance", 100 * space.explained)

    finder = LandmarkFinder(mesh, space, weights, groups)
    extra, landmarks, contour = finder.extra_joints(), finder.landmarks(), finder.contour()
    eyes = np.concatenate([groups["helper-l-eye"], groups["helper-r-eye"]])
    protected = {*extra.values(), *landmarks, *contour, *eyes.tolist()}
    kept, triangles = decimate_symmetric(mesh, space.template, weights, NUM_VERTICES, protected)
    order = _ordered(kept, extra)
    number = np.full(len(mesh.vertices), -1)
    number[order] = np.arange(len(order))

    mirror = number[mesh.mirror[order]]
    small = _at_vertices(space, order)
    faces = number[triangles]
    regressor = joint_regressor(small, mirror)
    _log.info("joint regression error is at most %.2f mm", 1e3 * _regressor_error(small, regressor))
    arrays = {
        **_surface_arrays(small, weights[order], faces, regressor),
        **_hand_arrays(),
        **_landmark_arrays(faces, number[landmarks], number[contour]),
        "standin_region": clothing_regions(small, weights[order], np.isin(order, eyes)),
        "standin_mirror": mirror.astype(np.uint16),
        "standin_note": np.array(NOTE),
    }
    np.savez_compressed(out, allow_pickle=False, **arrays)
    _log.info("wrote %s, %d vertices, %d faces", out, len(order), len(faces))


def _ordered(kept: np.ndarray, extra: dict[str, int]) -> np.ndarray:
    """Base mesh vertices in output order, extra joints at their fixed indices."""
    rest = iter(np.setdiff1d(kept, list(extra.values())))
    fixed = {EXTRA_JOINT_VERTICES[name]: vertex for name, vertex in extra.items()}
    return np.array([fixed[n] if n in fixed else next(rest) for n in range(len(kept))])


def _at_vertices(space: ShapeSpace, index: np.ndarray) -> ShapeSpace:
    return replace(
        space,
        template=space.template[index],
        shape_directions=space.shape_directions[index],
        expression_directions=space.expression_directions[index],
    )


def _regressor_error(space: ShapeSpace, regressor: np.ndarray) -> float:
    """Largest joint error along an axis, metres, on the template or for a coefficient of 1."""
    template = np.abs(regressor @ space.template - space.joints).max()
    directions = np.einsum("jv,vck->jck", regressor, space.shape_directions, optimize=True)
    return float(max(template, np.abs(directions - space.joint_directions).max()))


def _surface_arrays(
    space: ShapeSpace, weights: np.ndarray, faces: np.ndarray, regressor: np.ndarray
) -> dict[str, np.ndarray]:
    parents = np.where(PARENTS < 0, 2**32 - 1, PARENTS)
    components = np.concatenate([space.shape_directions, space.expression_directions], -1)
    return {
        "v_template": space.template.astype(np.float32),
        "f": faces.astype(np.uint32),
        "shapedirs": components.astype(np.float32),
        "posedirs": pose_directions(space.template, space.joints, weights).astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.stack([parents, np.arange(len(JOINTS))]).astype(np.uint32),
    }


def _hand_arrays() -> dict[str, np.ndarray]:
    arrays = {}
    for letter, side in (("l", 1.0), ("r", -1.0)):
        arrays[f"hands_mean{letter}"] = relaxed_hand(side).astype(np.float32)
        arrays[f"hands_components{letter}"] = hand_components(side).astype(np.float32)
    return arrays


def _landmark_arrays(
    faces: np.ndarray, landmarks: np.ndarray, contour: np.ndarray
) -> dict[str, np.ndarray]:
    """Landmarks at vertices, as face corners; the contour is the same for every head rotation."""
    landmark_faces, landmark_weights = _corners(faces, landmarks)
    contour_faces, contour_weights = _corners(faces, contour)
    return {
        "lmk_faces_idx": landmark_faces,
        "lmk_bary_coords": landmark_weights,
        "dynamic_lmk_faces_idx": np.tile(contour_faces, (NUM_CONTOUR_ROWS, 1)),
        "dynamic_lmk_bary_coords": np.tile(contour_weights, (NUM_CONTOUR_ROWS, 1, 1)),
    }


def _corners(faces: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A face (K,) int64 at each vertex, and the vertex in barycentric coordinates (K, 3)."""
    found = [np.argwhere(faces == vertex)[0] for vertex in vertices]
    index = np.array(found)
    return index[:, 0].astype(np.int64), np.eye(3, dtype=np.float32)[index[:, 1]]
