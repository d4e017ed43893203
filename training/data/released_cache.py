"""Read the released cache files `*_cache_*.npz`: one pickled dictionary a picture.

Data specification, section 1, "Cache files". The scales of the data set are in their boxes already,
and so is the mistake that boxes over the left or upper edge are shifted instead of cut.
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
"""Joint (0-143) of each of the 137 rows; the eyes of the face come in the file's own order."""
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
    """The pictures of one cache file."""

    def __init__(self, archive: Archive, data_set: DataSet, options: ReadOptions) -> None:
        """Look at the file; pictures are read when asked for.

        Raises:
            DataError: it is incomplete, or pickles are not trusted.
        """
        if not archive.trust_pickle:
            raise DataError(
                f"{archive.path} is a released cache, which is pickled through and through and "
                "could run anything; if you know where it comes from, say --trust-pickle"
            )
        self._archive, self.data_set, self.options = archive, data_set, options
        declared, found = int(archive.read("data_len")), len(archive.names) - 2
        if declared != found:
            raise DataError(f"{archive.path} says it has {declared} pictures, but has {found}")
        self._length = declared

    def __len__(self) -> int:
        """Number of pictures; the interval of the data set was applied when the cache was made."""
        return self._length

    def __getitem__(self, index: int) -> Annotation:
        """What is known of one picture."""
        entry = self._archive.read_dictionary(str(index))
        try:
            return self._annotation(entry)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self._archive.path}: picture {index} is not as caches are "
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
            joints_2d=_in_order(np.asarray(entry["joint_img"])),
            joints_3d=None if cam is None else _in_order(np.asarray(cam)),
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
    """(n, 4); not numbers where there is no box."""
    corners = np.full((count, 4), np.nan)
    for row, box in zip(corners, boxes, strict=True):
        if box is not None:
            row[:] = np.ravel(box)[:4]
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def _in_order(joints: np.ndarray) -> np.ndarray:
    """(n, 137, C) -> (n, 144, C); what the cache leaves out has no confidence."""
    ordered = np.zeros((len(joints), NUM_JOINTS, joints.shape[2]), np.float32)
    ordered[:, list(CACHE_JOINTS)] = joints
    return ordered
