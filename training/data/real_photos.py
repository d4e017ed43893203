"""Leeds Sports Pose Extended (LSPET), and photos without people.

LSPET annotates one person per photo with 14 joints, 12 of which are COCO keypoints.  There are no
targets for face, hands or SMPL-X, and detections of other people in the photo are not penalised.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ..targets import Targets
from .archive import DataError
from .batch import Sample

COCO_FROM_LSPET = (9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0)
"""LSPET joint of each of the COCO keypoints 5 to 16 (shoulders to ankles, left first)."""
_FIRST_LIMB = 5
_MARGIN = 0.07
_FEWEST_JOINTS = 8
_SMALLEST_PX = 40


class RealDataError(DataError):
    """A folder of real photos cannot be used."""


def read_archives(paths: list[Path]) -> dict[str, np.ndarray]:
    """Read tar archives: file name -> encoded image (uint8 bytes)."""
    pictures = {}
    for path in paths:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    pictures[member.name] = np.frombuffer(file.read(), np.uint8)
    return pictures


def decode(encoded: np.ndarray) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8 RGB."""
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if picture is None:
        raise RealDataError("an image in the archives cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def person_extent(
    joints_px: np.ndarray, size_wh: Sequence[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Normalised corners of a box around the annotated joints; None for too few or too small ones.

    The box has a margin, because joints are inside the body.
    """
    known = joints_px[:, 2] > 0
    if known.sum() < _FEWEST_JOINTS:
        return None
    low, high = joints_px[known, :2].min(0), joints_px[known, :2].max(0)
    side = (high - low).max()
    size = np.array(size_wh, np.float32)
    low = np.clip((low - _MARGIN * side) / size, 0, 1)
    high = np.clip((high + _MARGIN * side) / size, 0, 1)
    if side < _SMALLEST_PX or (high - low).min() <= 0:
        return None
    return low, high


def lspet_targets(joints_px: np.ndarray, size_wh: tuple[int, int]) -> Targets:
    """Targets of one annotated person.

    Args:
        joints_px: (14, 3) x, y in pixels, visibility.
        size_wh: of the photo.

    Raises:
        RealDataError: too few joints are annotated.
    """
    extent = person_extent(joints_px, size_wh)
    if extent is None:
        raise RealDataError("too few joints are annotated to locate the person")
    low, high = extent
    size = np.array(size_wh, np.float32)
    limbs = joints_px[list(COCO_FROM_LSPET)]
    keypoints = np.zeros((17, 2), np.float32)
    keypoints[_FIRST_LIMB:] = limbs[:, :2] / size
    visible = np.zeros(17, np.float32)
    visible[_FIRST_LIMB:] = limbs[:, 2] > 0
    visible *= ((keypoints >= 0) & (keypoints <= 1)).all(-1)
    box = np.concatenate([(low + high) / 2, high - low]).astype(np.float32)
    return replace(
        Targets.unannotated(1, ignore_unmatched=True),
        boxes=torch.from_numpy(box)[None],
        box_valid=torch.ones(1, dtype=torch.bool),
        keypoints_2d=torch.from_numpy(keypoints)[None],
        keypoints_visible=torch.from_numpy(visible.astype(np.float32))[None],
    )


class LspetPhotos:
    """Photos of `ROOT/lspet.npz` and `ROOT/lspet_*.tar`, kept in memory in encoded form."""

    def __init__(self, root: Path) -> None:
        """Read all files.

        Raises:
            RealDataError: files are missing or do not match.
        """
        table, archives = root / "lspet.npz", sorted(root.glob("lspet_*.tar"))
        if not table.is_file() or not archives:
            raise RealDataError(f"{root} needs lspet.npz and lspet_00.tar, lspet_01.tar, ...")
        pictures = read_archives(archives)
        with np.load(table, allow_pickle=False) as arrays:
            rows = zip(arrays["name"], arrays["joints_px"], arrays["size_wh"], strict=True)
            self._samples = [
                (pictures[str(name)], joints, (int(size[0]), int(size[1])))
                for name, joints, size in rows
                if str(name) in pictures and person_extent(joints, size) is not None
            ]
        if not self._samples:
            raise RealDataError(f"no photo of {table} is in the archives beside it")

    def __len__(self) -> int:
        """Number of photos with a usable annotation."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Decode one photo."""
        encoded, joints, size_wh = self._samples[index]
        return Sample(decode(encoded), lspet_targets(joints, size_wh))


class EmptyPhotos:
    """Photos without people of `ROOT/backgrounds_*.tar`, kept in memory in encoded form."""

    def __init__(self, root: Path) -> None:
        """Read all files.

        Raises:
            RealDataError: there are no archives.
        """
        archives = sorted(root.glob("backgrounds_*.tar"))
        if not archives:
            raise RealDataError(f"{root} needs backgrounds_00.tar, ...")
        self._pictures = list(read_archives(archives).values())

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Decode one photo."""
        return Sample(decode(self._pictures[index]), Targets.empty())
