"""Reader of the released cache files `*_cache_*.npz`: one pickled dictionary per image.

Their boxes already include the scales of the data set, and an error of the released loader: boxes
beyond the left or upper edge are shifted instead of clipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..joints import BODY_JOINTS, FACE_JOINTS, LEFT_HAND_JOINTS, RIGHT_HAND_JOINTS
from .annotation import PARAMETERS, PARTS, Annotation
from .archive import Archive, DataError
from .columns import NUM_JOINTS
from .humandata import ReadOptions
from .sets import DataSet

_FIRST_LANDMARK = 4
CACHE_JOINTS = (
    *(*BODY_JOINTS, *LEFT_HAND_JOINTS, *RIGHT_HAND_JOINTS),
    *(FACE_JOINTS[0], FACE_JOINTS[1], FACE_JOINTS[3], FACE_JOINTS[2]),
    *FACE_JOINTS[_FIRST_LANDMARK:],
)
"""SMPL-X joint (0-143) of each of the 137 rows; the file exchanges the eyes of the face."""
_NAMES = {
    "global_orient": "root_pose",
    "body_pose": "body_pose",
    "left_hand_pose": "lhand_pose",
    "right_hand_pose": "rhand_pose",
    "jaw_pose": "jaw_pose",
    "betas": "shape",
    "expression": "expr",
    "transl": "trans",
}
_BOXES = {
    "body": "bbox",
    "left_hand": "lhand_bbox",
    "right_hand": "rhand_bbox",
    "face": "face_bbox",
}
_GENDERS = {"male": 0, "female": 1}


class ReleasedCache:
    """Annotations of one cache file."""

    def __init__(self, archive: Archive, data_set: DataSet, options: ReadOptions) -> None:
        """Open the file; images are read on demand.

        Raises:
            DataError: the file is incomplete, or unpickling is not allowed.
        """
        if not archive.trust_pickle:
            raise DataError(
                f"{archive.path} is a released cache, a pickle that can execute code when "
                "read; if you trust its source, add --trust-pickle"
            )
        self._archive, self.data_set, self.options = archive, data_set, options
        declared, found = int(archive.read("data_len")), len(archive.names) - 2
        if declared != found:
            raise DataError(f"{archive.path} declares {declared} images, but has {found}")
        self._length = declared

    def __len__(self) -> int:
        """Number of images; the cache already has the interval of the data set applied."""
        return self._length

    def __getitem__(self, index: int) -> Annotation:
        """Annotation of one image."""
        entry = self._archive.read_dictionary(str(index))
        try:
            return self._annotation(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self._archive.path}: image {index} does not have the format of a cache "
                f"({type(error).__name__}: {error})"
            ) from error

    def _annotation(self, entry: dict[str, Any]) -> Annotation:
        body = entry["smplx_param"]
        count = len(entry["bbox"])
        height, width = (int(side) for side in entry["img_shape"][:2])
        valid = np.ravel(body.get("smplx_valid", np.ones(count))) > 0
        children = np.ravel(entry.get("is_kid", np.zeros(count))) > 0
        cam = entry["joint_cam"]
        return Annotation(
            image=self.options.image(self._below_root(str(entry["img_path"]))),
            size_wh=(width, height),
            boxes={part: _xywh(entry[name], count) for part, name in _BOXES.items()},
            part_valid={
                part: np.ravel(body[f"{name.removesuffix('_bbox')}_valid"]) > 0
                for part, name in _BOXES.items()
                if part in PARTS
            },
            joints_2d=_smplx_order(np.asarray(entry["joint_img"])),
            joints_3d=None if cam is None else _smplx_order(np.asarray(cam)),
            parameters={
                name: np.asarray(body[_NAMES[name]], np.float32).reshape(count, -1)[:, :size]
                for name, size in PARAMETERS.items()
            },
            smplx_valid=valid,
            betas_valid=~children,
            expression_valid=np.ones(count, bool),
            gender=np.array([_GENDERS.get(str(g), -1) for g in np.ravel(entry["gender"])], int),
            occlusion=np.ravel(entry.get("occlusion", np.zeros(count))).astype(float),
            scaled=True,
        )

    def _below_root(self, path: str) -> str:
        for root in self.data_set.released_images:
            if path.startswith(f"{root}/"):
                return path[len(root) + 1 :]
        return path


def _xywh(boxes: list[np.ndarray | None], count: int) -> np.ndarray:
    """(n, 4) x, y, w, h; NaN where there is no box."""
    corners = np.full((count, 4), np.nan)
    for row, box in zip(corners, boxes, strict=True):
        if box is not None:
            row[:] = np.ravel(box)[:4]
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def _smplx_order(joints: np.ndarray) -> np.ndarray:
    """(n, 137, C) -> (n, 144, C); missing joints have confidence 0."""
    ordered = np.zeros((len(joints), NUM_JOINTS, joints.shape[2]), np.float32)
    ordered[:, list(CACHE_JOINTS)] = joints
    return ordered
