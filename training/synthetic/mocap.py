"""Motion-capture poses for synthetic people.

A folder of packs is optional and not part of the repository. It holds `index.jsonl` and one `.npz`
file per pack:

* `index.jsonl`: one JSON object per clip with `file` (name of the pack), `clip` (name), `start`
  (first frame in the pack), `frames` (number of frames), `fps`, `source` and `licence`.
* pack: `quat` (F, 22, 4) float16, w x y z, local rotations of the pelvis and joints 1-21 of SMPL-X
  (`joint_names`, (22,)); y up, +z forwards, +x left, zero rotation is the T-pose. Quaternions are
  normalised after reading. Other arrays are ignored.

Clips under a licence that allows every use (CMU, MIT, CC0, CC BY) are loaded by default; all other
clips, such as those for non-commercial use, only on request. Packs have no fingers and no face, and
the zero rotations of collars, wrists and feet can be some degrees off: poses are clamped to the
joint limits, and frames far beyond them are dropped.

This module needs no renderer: `MocapLibrary.sample` returns rotations for any consumer.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aios.geometry.rotations import rotmat_to_quaternion
from aios.network.config import ConfigError

from .anatomy import axis_rotation
from .joint_limits import clamp_to_limits
from .rng import CounterRng, constant

MOCAP_VARIABLE = "AIOS_MOCAP"
"""Environment variable that names the folder of packs for command lines without `--mocap`."""
JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar",
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist",
)  # fmt: skip
_PARENTS = (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parents of joints 1-21."""
_MIRRORED = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
_FREE_LICENCE = re.compile(r"free for all uses|\bMIT\b|\bCC0\b|\bCC BY(-SA)? \d", re.IGNORECASE)
_ZERO_PITCH = {
    "cmu_iclone_15fps.npz": {
        "pelvis": -0.25, "spine1": -0.5, "spine2": 0.33, "spine3": 0.2, "left_ankle": 0.3,
        "right_ankle": 0.3, "left_foot": 0.3, "right_foot": 0.3,
    }
}  # fmt: skip
"""Corrections of the zero rotation by pack and joint, radians about the left-right axis.

Measured as differences of the median pitch in walking clips from the other CMU pack, with which
thighs and shanks agree: in this pack the pelvis and spine1 lean forwards, spine2 and spine3
backwards, and the toes point up."""
_CORE = tuple(range(9)) + (11, 14, 15, 16, 17, 18)
"""Rows of joints 1-9, neck, head, shoulders and elbows in `body_pose`."""
_MAX_EXCESS = 0.6
"""Frames that exceed the limits of a core joint by more than this angle, radians, are dropped."""

_log = logging.getLogger(__name__)


class MocapError(ValueError):
    """The packs cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class MocapConfig:
    """Use of motion capture in scene generation.

    Attributes:
        folder: folder of packs; None uses procedural poses only.
        share: share of people posed by motion capture, 0-1.
        restricted: also use clips whose licence limits their use, e.g. to non-commercial purposes.
    """

    folder: str | None = None
    share: float = 0.5
    restricted: bool = False

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.share <= 1:
            raise ConfigError(f"mocap.share is {self.share}; use 0 to 1")


@dataclass(frozen=True)
class MocapLibrary:
    """F frames of C clips, on one device.

    Attributes:
        quaternions: (F, 22, 4) float32 unit quaternions w x y z; local rotations; neighbouring
            frames of a clip lie on the same hemisphere.
        first: (C,) int64 first frame of each clip.
        count: (C,) int64 number of frames of each clip.
        fps: (C,) float32 frames per second.
        weights: (C,) float32 sampling weight, the square root of the duration in seconds.
        share: share of people that take their pose from the library, 0-1.
    """

    quaternions: Tensor
    first: Tensor
    count: Tensor
    fps: Tensor
    weights: Tensor
    share: float

    def to(self, device: torch.device | str) -> MocapLibrary:
        """The same library on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def sample(self, rng: CounterRng, time_s: float | None = None) -> tuple[Tensor, Tensor]:
        """Sample poses: a random clip, a random time in it, mirrored with probability 0.5.

        Args:
            rng: one key per person.
            time_s: time that has passed since the sampled moment, seconds; the clip is played
                forwards and backwards.

        Returns:
            (N, 3, 3) rotation of the pelvis without its heading: the body faces +z, only pitch and
            roll remain; and (N, 21, 3, 3) local rotations of joints 1-21.
        """
        source = rng.child("mocap")
        clip = source.choice("clip", self.weights)
        last = (self.count[clip] - 1).float()
        position = source.uniform("time") * last
        if time_s is not None:
            position = _ping_pong(position + time_s * self.fps[clip], last)
        frame = position.long().clamp_max((self.count[clip] - 2).clamp_min(0))
        share = (position - frame)[:, None, None]
        start = self.first[clip] + frame
        after = (start + 1).minimum(self.first[clip] + self.count[clip] - 1)
        mixed = torch.lerp(self.quaternions[start], self.quaternions[after], share)
        mixed = torch.where(source.bernoulli("mirror", 0.5)[:, None, None], mirror(mixed), mixed)
        rotations = quaternions_to_rotations(mixed)
        return without_heading(rotations[:, 0]), rotations[:, 1:]


def load_mocap(config: MocapConfig) -> MocapLibrary | None:
    """Load the clips of a folder of packs; None if the configuration names no folder.

    Raises:
        MocapError: a file is missing or malformed, or no clip remains.
    """
    if config.folder is None:
        return None
    folder = Path(config.folder)
    packs: dict[str, tuple[Tensor, Tensor]] = {}
    clips: list[Tensor] = []
    fps: list[float] = []
    skipped = 0
    for entry in _read_index(folder / "index.jsonl"):
        if not (config.restricted or is_free(entry["licence"])):
            skipped += 1
            continue
        if entry["file"] not in packs:
            packs[entry["file"]] = _read_pack(folder / entry["file"])
        frames = slice(entry["start"], entry["start"] + entry["frames"])
        quaternions, usable = packs[entry["file"]]
        parts = _usable_parts(quaternions[frames], usable[frames])
        clips += parts
        fps += [float(entry["fps"])] * len(parts)
    if not clips:
        raise MocapError(
            f"{folder} has no usable clips; {skipped} clips have a restricted licence."
        )
    _log.info("%d motion-capture clips, %d left out for their licence", len(clips), skipped)
    count = torch.tensor([len(clip) for clip in clips])
    rate = torch.tensor(fps)
    return MocapLibrary(
        torch.cat(clips), count.cumsum(0) - count, count, rate, (count / rate).sqrt(), config.share
    )


def is_free(licence: str) -> bool:
    """Whether a licence is known to allow every use, including commercial use."""
    return bool(_FREE_LICENCE.search(licence))


def mirror(quaternions: Tensor) -> Tensor:
    """Mirror local rotations (..., 22, 4) left to right."""
    order = constant(_MIRRORED, quaternions.device, torch.int64)
    sign = constant((1.0, 1.0, -1.0, -1.0), quaternions.device)
    return quaternions[..., order, :] * sign


def quaternions_to_rotations(quaternions: Tensor) -> Tensor:
    """Quaternions (..., 4), w x y z, of any length -> rotation matrices (..., 3, 3)."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def without_heading(rotations: Tensor) -> Tensor:
    """Remove the rotation about the vertical (y) from pelvis rotations (N, 3, 3).

    The heading is the horizontal direction of the body's front plus its left-to-right normal, which
    remains defined when a body lies on its back or front.
    """
    front, up = rotations[..., 2], rotations[..., 1]
    # Lying on the back, the front points up and the head direction (up) backwards, and vice versa.
    x = front[:, 0] - front[:, 1] * up[:, 0]
    z = front[:, 2] - front[:, 1] * up[:, 2]
    heading = torch.atan2(x, z)
    cosine, sine, zero, one = heading.cos(), heading.sin(), 0 * heading, 0 * heading + 1
    rows = (cosine, zero, -sine, zero, one, zero, sine, zero, cosine)
    return torch.stack(rows, -1).unflatten(-1, (3, 3)) @ rotations


def _ping_pong(position: Tensor, last: Tensor) -> Tensor:
    """Fold positions into 0 to `last`, forwards and backwards."""
    period = (2 * last).clamp_min(1e-3)
    folded = torch.remainder(position, period)
    return torch.minimum(folded, period - folded).clamp_min(0)


def _usable_parts(quaternions: Tensor, usable: Tensor) -> list[Tensor]:
    """Split a clip (F, 22, 4) into its runs of usable frames."""
    edges = torch.diff(usable.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    starts, ends = (torch.nonzero(edges == step)[:, 0].tolist() for step in (1, -1))
    return [_one_hemisphere(quaternions[a:b]) for a, b in zip(starts, ends, strict=True)]


def _one_hemisphere(quaternions: Tensor) -> Tensor:
    """Flip signs in (F, ..., 4) so that neighbouring frames can be interpolated linearly."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1)
    signs = torch.where(dots < 0, -1.0, 1.0).cumprod(0)
    return torch.cat([quaternions[:1], quaternions[1:] * signs[..., None]])


def _read_index(path: Path) -> list[dict[str, Any]]:
    try:
        entries = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        for entry in entries:
            if not {"file", "start", "frames", "fps", "licence"} <= set(entry):
                raise MocapError(f"{path} has a clip without file, start, frames, fps or licence.")
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise MocapError(f"{path} is not a readable index of motion-capture packs.") from error
    return entries


def _read_pack(path: Path) -> tuple[Tensor, Tensor]:
    """(F, 22, 4) clamped quaternions of a pack, and (F,) bool mask of usable frames."""
    try:
        with np.load(path, allow_pickle=False) as pack:
            quaternions, names = pack["quat"], tuple(str(name) for name in pack["joint_names"])
    except (OSError, KeyError, ValueError) as error:
        raise MocapError(f"{path} is not a readable motion-capture pack.") from error
    if quaternions.ndim != 3 or quaternions.shape[1:] != (22, 4) or names != JOINT_NAMES:
        raise MocapError(f"{path} does not have 22 quaternions per frame in SMPL-X joint order.")
    frames = torch.from_numpy(quaternions.astype(np.float32))
    rotations = quaternions_to_rotations(frames)
    if path.name in _ZERO_PITCH:
        rotations = _calibrate(rotations, _ZERO_PITCH[path.name])
    clamped, excess = clamp_to_limits(rotations[:, 1:])
    usable = (excess[:, _CORE].amax(1) <= _MAX_EXCESS) & frames.isfinite().all(-1).all(-1)
    return rotmat_to_quaternion(torch.cat([rotations[:, :1], clamped], 1)), usable


def _calibrate(rotations: Tensor, pitch: Mapping[str, float]) -> Tensor:
    """Rotate the rest frames of joints about x; local rotations (F, 22, 3, 3) are adapted."""
    angles = torch.tensor([pitch.get(name, 0.0) for name in JOINT_NAMES])
    after = axis_rotation("X", angles)
    before = axis_rotation("X", -torch.cat([torch.zeros(1), angles[list(_PARENTS)]]))
    return before @ rotations @ after
