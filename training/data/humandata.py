"""Reader of HumanData files: one row per person, one or more rows per image.

The format is documented at https://github.com/open-mmlab/mmhuman3d; `frame_range`, the rows of each
image, is an extension of AiOS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .annotation import PARAMETERS, PARTS, Annotation, clip_boxes
from .archive import Archive, DataError, read_list
from .columns import Columns
from .sets import KEYS_2D, KEYS_3D, DataSet

BOX_KEYS = {
    "body": "bbox_xywh",
    "left_hand": "lhand_bbox_xywh",
    "right_hand": "rhand_bbox_xywh",
    "face": "face_bbox_xywh",
}
PART_FLAGS = {
    "left_hand": "lefthand_valid",
    "right_hand": "righthand_valid",
    "face": "face_valid",
}
BODY_MODELS = ("smplx", "smplh", "smpl")
_GENDERS = {"male": 0, "female": 1}
_FROM_SMPL = ("global_orient", "body_pose", "transl")
_PART_PARAMETERS = {
    "left_hand": "left_hand_pose",
    "right_hand": "right_hand_pose",
    "face": "jaw_pose",
}
Rows = np.ndarray
_SMPL_POSE = 69
"""Size of an SMPL body pose, which ends with the two hands."""


def fits(name: str, count: int) -> bool:
    """Whether a parameter of `PARAMETERS` may have `count` values per person.

    Shape and expression may have more values than are used, e.g. an eleventh beta for children.
    """
    wanted = PARAMETERS[name]
    if name in ("betas", "expression"):
        return count >= wanted
    return count == wanted or (name == "body_pose" and count == _SMPL_POSE)


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading a file."""

    split: str = "train"
    """"train" or "test"; selects the interval. In training `betas_neutral` replaces `betas`,
    because the predicted body is the neutral one."""
    interval: int = 0
    """Use every N-th image; 0 takes the interval of the data set."""
    trust_pickle: bool = False
    remap: tuple[tuple[str, str], ...] = ()
    """Regular expressions and replacements, applied in order to image paths."""
    hand_means: tuple[np.ndarray, np.ndarray] | None = None
    """Mean hands (45,), left and right, subtracted from poses relative to the flat hand."""

    def step(self, data_set: DataSet) -> int:
        """Interval of images."""
        default = data_set.train_interval if self.split == "train" else data_set.test_interval
        return self.interval or default

    def image(self, path: str) -> str:
        """Image path after the replacements of `remap`."""
        for pattern, replacement in self.remap:
            path = re.sub(pattern, replacement, path)
        return path


class HumanData:
    """Usable images of one file, in its order."""

    def __init__(self, archive: Archive, data_set: DataSet, options: ReadOptions) -> None:
        """Read all annotations; the file is not needed afterwards.

        Raises:
            DataError: data are missing or inconsistent.
        """
        self.data_set, self.options = data_set, options
        self._path = archive.path
        images = archive.read("image_path")
        self._meta = archive.read_dictionary("meta")
        rows, image_number = self._chosen_rows(archive, len(images))
        self._columns = columns = Columns(archive, len(images), rows)
        self._images = images[rows]
        self._boxes = {
            part: columns.boxes(key, needed=part == "body") for part, key in BOX_KEYS.items()
        }
        self._sizes_wh = self._sizes()
        joints_2d = columns.joints("keypoints2d", self._keys_2d(), 3)
        self._joints_3d = columns.joints("keypoints3d", KEYS_3D, 4)
        if joints_2d is None:
            wanted = f"keypoints2d_{data_set.key_2d or 'smplx'}"
            raise DataError(f"{archive.path} has no 2D joints, e.g. {wanted}")
        self._joints_2d = joints_2d
        self._read_bodies(archive)
        self._frames = self._usable(image_number)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._frames)

    def __getitem__(self, index: int) -> Annotation:
        """Annotation of one image."""
        rows = self._frames[index]
        width, height = self._sizes_wh[rows[0]].tolist()
        return Annotation(
            image=self.options.image(str(self._images[rows[0]])),
            size_wh=(width, height),
            boxes={part: boxes[rows, :4] for part, boxes in self._boxes.items()},
            part_valid={part: valid[rows] for part, valid in self._part_valid.items()},
            joints_2d=self._joints_2d[rows],
            joints_3d=None if self._joints_3d is None else self._joints_3d[rows],
            parameters={name: values[rows] for name, values in self._parameters.items()},
            smplx_valid=self._flags["smplx_valid"][rows],
            betas_valid=self._flags["betas_valid"][rows],
            expression_valid=self._flags["expression_valid"][rows],
            gender=self._gender[rows],
            occlusion=self._occlusion[rows],
        )

    def _chosen_rows(self, archive: Archive, count: int) -> tuple[Rows, Rows]:
        """Rows of every interval-th image, and the image number of each row."""
        if "frame_range" in archive:
            frames = np.asarray(archive.read("frame_range"), np.int64)
        else:
            frames = np.stack([np.arange(count), np.arange(1, count + 1)], 1)
        bad = frames.ndim != 2 or frames.shape[1:] != (2,)
        if bad or (len(frames) and (frames.min() < 0 or frames.max() > count)):
            raise DataError(f"{self._path}: frame_range must be pairs of rows from 0 to {count}")
        frames = frames[:: self.options.step(self.data_set)]
        sizes = np.maximum(frames[:, 1] - frames[:, 0], 0)
        image_number = np.repeat(np.arange(len(frames)), sizes)
        first = np.cumsum(sizes) - sizes
        rows = np.arange(sizes.sum()) - first[image_number] + frames[image_number, 0]
        return rows, image_number

    def _sizes(self) -> np.ndarray:
        """(R, 2) int64 width and height."""
        width, height = (self._columns.numbers(self._meta, n) for n in ("width", "height"))
        if width is not None and height is not None:
            sizes = np.stack([width, height], 1)
            if not (sizes >= 1).all():
                raise DataError(f"{self._path}: meta has images without width or height")
            return sizes.astype(np.int64)
        if self.data_set.size_hw is None:
            raise DataError(f"{self._path}: meta lacks the width and height of the images")
        size = np.array(self.data_set.size_hw[::-1], np.int64)
        return np.tile(size, (len(self._columns.rows), 1))

    def _keys_2d(self) -> tuple[str, ...]:
        key = self.data_set.key_2d
        return KEYS_2D if key is None else (key,)

    def _read_bodies(self, archive: Archive) -> None:
        """Read poses, shapes and their validity."""
        name = next((n for n in BODY_MODELS if n in archive), None)
        if name is None:
            raise DataError(f"{self._path} has no smplx, smplh or smpl parameters")
        body = archive.read_dictionary(name)
        if name != "smplx":
            body = {key: body[key] for key in _FROM_SMPL if key in body}
        if self.options.split == "train" and body.get("betas_neutral") is not None:
            body = body | {"betas": body["betas_neutral"]}
            self._gender = np.full(len(self._images), -1)
        else:
            self._gender = self._genders()
        self._parameters = {p: self._parameter(body, p) for p in PARAMETERS}
        self._subtract_mean_hands()
        flags = {key: self._columns.flag(self._meta, key) for key in ("smplx_valid", "is_kid")}
        children = flags["is_kid"] if "is_kid" in self._meta else np.zeros(len(self._images), bool)
        posed = all(p in body for p in ("global_orient", "body_pose"))
        self._flags = {
            "smplx_valid": flags["smplx_valid"] & posed,
            "betas_valid": ~children & ("betas" in body),
            "expression_valid": np.full(len(self._images), "expression" in body),
        }
        self._part_valid = {}
        for part in PARTS:
            boxed = self._boxes[part][:, 4] > 0
            named = self.data_set.part_flags_in_meta and PART_FLAGS[part] in self._meta
            valid = self._columns.flag(self._meta, PART_FLAGS[part]) if named else boxed
            self._part_valid[part] = valid & (_PART_PARAMETERS[part] in body)
        occlusion = self._columns.numbers(self._meta, "occ")
        self._occlusion = np.zeros(len(self._images)) if occlusion is None else occlusion

    def _parameter(self, body: Mapping[str, Any], name: str) -> np.ndarray:
        """(R, size) float32; zeros if the file lacks the parameter."""
        size = PARAMETERS[name]
        values = self._columns.vectors(body, name)
        if values is None:
            return np.zeros((len(self._images), size), np.float32)
        if not fits(name, values.shape[1]):
            found = values.shape[1]
            raise DataError(f"{self._path}: {name} has {found} values per person instead of {size}")
        return values[:, :size].astype(np.float32)

    def _subtract_mean_hands(self) -> None:
        if not self.data_set.hands_from_flat:
            return
        if self.options.hand_means is None:
            raise DataError(
                f"{self._path} has hand poses relative to the flat hand, which need the mean hand "
                "of SMPL-X: set the environment variable AIOS_SMPLX to the path of the model"
            )
        for side, mean in zip(("left", "right"), self.options.hand_means, strict=True):
            self._parameters[f"{side}_hand_pose"] -= mean.astype(np.float32)

    def _genders(self) -> np.ndarray:
        names = self._columns.of(self._meta, "gender")
        if names is None:
            return np.full(len(self._images), -1)
        return np.array([_GENDERS.get(str(name), -1) for name in names], np.int64)

    def _usable(self, image_number: Rows) -> list[np.ndarray]:
        """Rows of each usable image."""
        body = np.nan_to_num(self._boxes["body"][:, :4])
        possible = clip_boxes(body, self._sizes_wh, self.data_set.box_scale)[1]
        kept = possible & self._selected()
        if self.data_set.drop_repeated_boxes and len(image_number):
            keyed = np.column_stack([image_number, self._boxes["body"][:, :4]])
            first = np.zeros(len(image_number), bool)
            first[np.unique(keyed, axis=0, return_index=True)[1]] = True
            kept &= first
        dropped = self._excluded_images(image_number)
        frames = np.split(np.arange(len(image_number)), np.flatnonzero(np.diff(image_number)) + 1)
        found = [frame[kept[frame]] for frame in frames if len(frame)]
        return [frame for frame in found if len(frame) and image_number[frame[0]] not in dropped]

    def _selected(self) -> np.ndarray:
        """(R,) bool, people that pass the filters of the data set."""
        selected = np.ones(len(self._images), bool)
        if self.data_set.part_flags_in_meta:
            crowd = self._columns.numbers(self._meta, "iscrowd")
            if crowd is not None:
                selected &= crowd == 0
            selected &= self._columns.flag(self._meta, "valid_label")
            selected &= (self._joints_2d[..., 2] > 0).any(1)
        return selected

    def _excluded_images(self, image_number: Rows) -> set[int]:
        """Images with 3D joints that are not finite, and images of test videos."""
        excluded: set[int] = set()
        if self._joints_3d is not None:
            broken = ~np.isfinite(self._joints_3d).all((1, 2))
            excluded |= set(image_number[broken].tolist())
        if self.data_set.excluded and self.options.split == "train":
            path = self._path.parent / self.data_set.excluded
            if not path.is_file():
                raise DataError(
                    f"{path} does not exist: it lists the test videos; get it from the folder "
                    "`splits` of the data set"
                )
            held_out = set(read_list(path))
            videos = [str(image).split("/")[-2:][0].split("_Trim")[0] for image in self._images]
            excluded |= {int(p) for p, v in zip(image_number, videos, strict=True) if v in held_out}
        return excluded
