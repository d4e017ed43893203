"""The stand-in body as the renderer needs it: skinned vertices, joints and fixed skin samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DEFAULT_BODY = Path(__file__).parents[2] / "assets" / "body" / "standin.npz"
NUM_SAMPLES = 60_000
_SAMPLE_SEED = 20
# Vertices that count as joints 55-75 of the SMPL-X output (nose, eyes, ears, feet, finger tips).
_VERTEX_JOINTS = (
    (9120, 9929, 9448, 616, 6)
    + (5770, 5780, 8846, 8463, 8474, 8635)
    + (5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022)
)
_NECK_CHAIN = (0, 3, 6, 9, 12)
_HAND_JOINTS = {"left": (20, *range(25, 40)), "right": (21, *range(40, 55))}
_HAIR, _EYE = 4, 5


def axis_angle_to_rotmat(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula, (..., 3) radians -> (..., 3, 3)."""
    angle = axis_angle.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    x, y, z = (axis_angle / angle).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine * cross + (1 - cosine) * (cross @ cross)


@dataclass(frozen=True)
class Samples:
    """S fixed points on the skin, uniform by area; so is every prefix of them."""

    corners: tuple[Tensor, Tensor, Tensor]
    """Three times (S,) int64: vertices of the triangle that each point lies in."""
    barycentric: Tensor
    """(S, 3)"""
    rest: Tensor
    """(S, 3) metres, on the template in T-pose."""
    hair: Tensor
    """(S,) 0-1, how much the point belongs to the hairy part of the head."""
    eye: Tensor
    """(S,) bool"""
    brow: Tensor
    """(S,) bool, painted eyebrows."""
    lip: Tensor
    """(S,) bool, painted lips."""
    iris: Tensor
    """(S,) bool"""
    hand: Tensor
    """(S,) bool"""


class _SparseRows:
    """Pose corrections: a (V, 3, 486) array of which most entries are zero."""

    def __init__(self, posedirs: np.ndarray) -> None:
        matrix = posedirs.reshape(-1, posedirs.shape[-1])
        rows, columns = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix)))
        self._columns, self._starts = torch.from_numpy(columns), torch.from_numpy(starts)
        self._values = _tensor(matrix[rows, columns])

    def __call__(self, features: Tensor) -> Tensor:
        """(P, 486) -> (P, V * 3)."""
        return torch.nn.functional.embedding_bag(
            self._columns,
            features.T.contiguous(),
            self._starts,
            mode="sum",
            per_sample_weights=self._values,
        ).T


class BodySurface:
    """A body file in the SMPL-X layout, held as float32 tensors.

    Args:
        path: the npz file; it must have `standin_region`.

    Raises:
        ValueError: if an array is missing.
    """

    def __init__(self, path: str | Path = DEFAULT_BODY) -> None:
        """Read the file and choose the samples."""
        with np.load(path) as file:
            if "standin_region" not in file:
                raise ValueError(
                    f"{path} has no standin_region: scenes are drawn with the stand-in body."
                )
            data = {name: file[name] for name in file.files if name != "standin_note"}
        template = data["v_template"].astype(np.float64)
        shapedirs = data["shapedirs"].astype(np.float64)
        regressor = data["J_regressor"].astype(np.float64)
        self.num_vertices = len(template)
        self.template = _tensor(template)
        self.shapedirs = _tensor(shapedirs.transpose(2, 0, 1).reshape(20, -1))
        self.joint_template = _tensor(regressor @ template)
        self.joint_dirs = _tensor(np.einsum("jv,vcs->sjc", regressor, shapedirs))
        self.posedirs = _SparseRows(data["posedirs"])
        self.weights = _tensor(data["weights"])
        self.faces = torch.from_numpy(data["f"].astype(np.int64))
        parents = data["kintree_table"][0].astype(np.int64)
        parents[0] = 0
        self.parents = torch.from_numpy(parents)
        self.generations = _generations(parents.tolist())
        self.mean_hands = _tensor(np.concatenate([data["hands_meanl"], data["hands_meanr"]]))
        self.landmark_faces = torch.from_numpy(data["lmk_faces_idx"].astype(np.int64))
        self.landmark_barycentric = _tensor(data["lmk_bary_coords"])
        self.contour_faces = torch.from_numpy(data["dynamic_lmk_faces_idx"].astype(np.int64))
        self.contour_barycentric = _tensor(data["dynamic_lmk_bary_coords"])
        self.region = torch.from_numpy(data["standin_region"].astype(np.int64))
        self.normals = _vertex_normals(self.template, self.faces)
        self.hand_vertices = {
            side: torch.nonzero(self.weights[:, list(joints)].sum(1) > 0.5)[:, 0]
            for side, joints in _HAND_JOINTS.items()
        }
        self.hair = _smoothed((self.region == _HAIR).float(), self.faces)
        self.bare = self._near_labels(0.015)
        self.samples = self._sample(NUM_SAMPLES)

    def pose(
        self, pose: Tensor, betas: Tensor, expression: Tensor, offsets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pose P bodies about their pelvis' rest place, without translation.

        Args:
            pose: (P, 55, 3) axis-angle, root first, hands relative to the mean hand.
            betas: (P, 10).
            expression: (P, 10).
            offsets: (P, V, 3) metres added to the shaped template (clothes, hair), or none.

        Returns:
            vertices (P, V, 3) and joints_3d (P, 144, 3), metres.
        """
        count = len(pose)
        coefficients = torch.cat([betas, expression], 1)
        shaped = self.template + (coefficients @ self.shapedirs).view(count, -1, 3)
        rest = self.joint_template + torch.einsum("ps,sjc->pjc", coefficients, self.joint_dirs)
        if offsets is not None:
            shaped = shaped + offsets
        full = torch.cat([pose[:, :25], pose[:, 25:] + self.mean_hands.view(30, 3)], 1)
        rotations = axis_angle_to_rotmat(full)
        away = (rotations[:, 1:] - torch.eye(3)).flatten(1)
        shaped = shaped + self.posedirs(away).reshape(count, -1, 3)
        world, joints = self._chain(rotations, rest)
        shift = joints - (world @ rest[..., None])[..., 0]
        transforms = torch.cat([world, shift[..., None]], -1).flatten(2)
        blended = torch.matmul(self.weights, transforms).unflatten(-1, (3, 4))
        vertices = (blended[..., :3] * shaped[..., None, :]).sum(-1) + blended[..., 3]
        return vertices, self._all_joints(vertices, joints, rotations)

    def _chain(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Local (P, 55, 3, 3) rotations -> world rotations and joints (P, 55, 3)."""
        bones = rest - rest[:, self.parents]
        local = torch.cat([rotations, bones[..., None]], -1)
        chain = torch.cat([rotations, rest[..., None]], -1)
        for children in self.generations:
            above = chain[:, self.parents[children]]
            turned = above[..., :3] @ local[:, children]
            turned[..., 3] += above[..., 3]
            chain[:, children] = turned
        return chain[..., :3], chain[..., 3]

    def _all_joints(self, vertices: Tensor, joints: Tensor, rotations: Tensor) -> Tensor:
        """55 skeleton joints, 21 vertices, 51 landmarks and the 17 of the jaw line in sight."""
        neck = rotations[:, _NECK_CHAIN[0]]
        for joint in _NECK_CHAIN[1:]:
            neck = neck @ rotations[:, joint]
        angle = torch.atan2(neck[:, 2, 0], torch.hypot(neck[:, 0, 0], neck[:, 1, 0]))
        turn = torch.round(torch.rad2deg(angle).clamp(max=39)).long()
        row = torch.where(turn >= 0, turn, torch.where(turn < -39, 78, 39 - turn))
        people = torch.arange(len(vertices))[:, None, None]
        jaw = vertices[people, self.faces[self.contour_faces[row]]]  # (P, 17, 3, 3)
        jaw = (jaw * self.contour_barycentric[row][..., None]).sum(2)
        marks = vertices[:, self.faces[self.landmark_faces]]
        marks = (marks * self.landmark_barycentric[..., None]).sum(2)
        return torch.cat([joints, vertices[:, list(_VERTEX_JOINTS)], marks, jaw], 1)

    def _near_labels(self, reach_m: float) -> Tensor:
        """(V,) 1 at the vertices that labelled points lie on, 0 beyond `reach_m`."""
        faces = torch.cat([self.landmark_faces, self.contour_faces.unique()])
        labelled = torch.cat([self.faces[faces].flatten(), torch.tensor(_VERTEX_JOINTS)]).unique()
        distance = torch.cdist(self.template, self.template[labelled]).amin(1)
        return (1 - distance / reach_m).clamp_min(0).sqrt()

    def _sample(self, count: int) -> Samples:
        """Draw the fixed points, stratified by area and then shuffled."""
        rng = np.random.default_rng(_SAMPLE_SEED)
        corners = self.template[self.faces].double().numpy()
        area = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        ladder = np.cumsum(area) / area.sum()
        steps = (np.arange(count) + rng.random(count)) / count
        faces = np.searchsorted(ladder, steps).clip(max=len(area) - 1)[rng.permutation(count)]
        root, side = np.sqrt(rng.random(count)), rng.random(count)
        barycentric = np.stack([1 - root, root * (1 - side), root * side], 1)
        rest = (corners[faces] * barycentric[..., None]).sum(1)
        regions = self.region[self.faces].numpy()[faces]
        hands = np.zeros(self.num_vertices, bool)
        for vertices in self.hand_vertices.values():
            hands[vertices.numpy()] = True
        marks = (
            self.template[self.faces[self.landmark_faces]] * self.landmark_barycentric[..., None]
        )
        eye = (regions == _EYE).all(1)
        return Samples(
            corners=self.faces[torch.from_numpy(faces)].T.contiguous().unbind(0),
            barycentric=_tensor(barycentric),
            rest=_tensor(rest),
            hair=_tensor(((regions == _HAIR) * barycentric).sum(1)),
            eye=torch.from_numpy(eye),
            hand=torch.from_numpy(hands[self.faces.numpy()[faces]].all(1)),
            **_painted(rest, eye, marks.sum(1).double().numpy()),
        )


def _smoothed(values: Tensor, faces: Tensor, rounds: int = 3) -> Tensor:
    """(V,) values averaged with their neighbours' some times, never growing where they were 0."""
    kept = values > 0
    for _ in range(rounds):
        face = values[faces].mean(1)
        total, count = torch.zeros_like(values), torch.zeros_like(values)
        for corner in range(3):
            total.index_add_(0, faces[:, corner], face)
            count.index_add_(0, faces[:, corner], torch.ones_like(face))
        values = torch.where(kept, total / count.clamp_min(1), 0.0)
    return values


def _painted(rest: np.ndarray, eye: np.ndarray, marks: np.ndarray) -> dict[str, Tensor]:
    """Which samples are brow, lip or iris, from the 51 landmarks of the template.

    Args:
        rest: (S, 3) samples.
        eye: (S,) bool.
        marks: (51, 3): 10 brows, 9 nose, 12 eyes, 12 outer lips, 8 inner lips.
    """
    front = (rest[:, 2] > 0.08) & (rest[:, 1] > marks[:, 1].min() - 0.01) & ~eye
    brow, lip, iris = (np.zeros(len(rest), bool) for _ in range(3))
    near = np.flatnonzero(front)
    for side in (marks[:5], marks[5:10]):
        line = np.linspace(0, 4, 17)
        points = np.stack([np.interp(line, np.arange(5), side[:, axis]) for axis in range(3)], 1)
        distance = np.linalg.norm(rest[near, None] - points[None], axis=-1).min(1)
        brow[near[distance < 0.0055]] = True
    lips = marks[31:43]
    centre, reach = lips.mean(0), (lips.max(0) - lips.min(0)) / 2
    away = ((rest[near, :2] - centre[:2]) / (reach[:2] + 0.002)) ** 2
    lip[near[away.sum(1) < 1]] = True
    for side in (marks[19:25], marks[25:31]):
        middle = side.mean(0)
        iris |= eye & (np.linalg.norm(rest[:, :2] - middle[:2], axis=1) < 0.0065)
    return {name: torch.from_numpy(v) for name, v in (("brow", brow), ("lip", lip), ("iris", iris))}


def _generations(parents: list[int]) -> list[Tensor]:
    """Joints by their distance from the root, the root left out."""
    level = [0] * len(parents)
    for joint, parent in enumerate(parents[1:], 1):
        level[joint] = level[parent] + 1
    return [
        torch.tensor([joint for joint, depth in enumerate(level) if depth == wanted])
        for wanted in range(1, max(level) + 1)
    ]


def _vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals (V, 3), pointing out."""
    corners = vertices[faces]
    face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], face)
    return torch.nn.functional.normalize(normals, dim=-1)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
