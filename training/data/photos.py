"""Photos of a data set with targets."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aios.body.model import BodyModel

from ..targets import Targets
from .annotation import Annotation, annotation_targets
from .archive import Archive, DataError
from .batch import Sample
from .humandata import HumanData, ReadOptions
from .released_cache import ReleasedCache
from .sets import DataSet


class Annotations(Protocol):
    """Indexable annotations of images."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int) -> Annotation:
        """Annotation of one image."""


def open_annotations(path: Path, data_set: DataSet, options: ReadOptions) -> Annotations:
    """Open a HumanData file or a released cache; the format is detected.

    Raises:
        DataError: the file cannot be used.
    """
    archive = Archive(path, options.trust_pickle)
    if "data_len" in archive:
        return ReleasedCache(archive, data_set, options)
    missing = [name for name in ("image_path", "bbox_xywh") if name not in archive]
    if missing:
        raise DataError(f"{path} is not a HumanData file: it lacks {' and '.join(missing)}")
    return HumanData(archive, data_set, options)


def mean_hands() -> tuple[np.ndarray, np.ndarray] | None:
    """Mean hand poses (45,) of SMPL-X, left and right; None if only the stand-in is available."""
    body = BodyModel.load()
    return None if body.is_standin else (body.left_hand_mean, body.right_hand_mean)


def read_image_as_stored(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, as stored: what a camera noted about turning is ignored.

    Raises:
        DataError: it is not there or no picture.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(encoded, flags) if len(encoded) else None
    if picture is None:
        raise DataError(f"{path} cannot be decoded as an image")
    return picture


class PhotoSet:
    """Samples of one data set; photos are read on demand."""

    def __init__(self, annotations: Annotations, images: Path, data_set: DataSet) -> None:
        """Create the set; image paths are relative to the folder `images`.

        Raises:
            DataError: there are no usable images.
        """
        if not len(annotations):
            raise DataError(f"the annotations for {images} have no usable image")
        self.annotations, self.images, self.data_set = annotations, images, data_set

    @classmethod
    def open(cls, path: Path, images: Path, data_set: DataSet, options: ReadOptions) -> PhotoSet:
        """Read the annotations at `path`.

        Raises:
            DataError: the annotations cannot be used.
        """
        return cls(open_annotations(path, data_set, options), images, data_set)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        """Read one whole photo with its targets.

        Raises:
            DataError: the photo is missing or does not have the annotated size.
        """
        annotation = self.annotations[index]
        path = self.images / annotation.image
        picture = read_image_as_stored(path)
        height, width = picture.shape[:2]
        if (width, height) != annotation.size_wh:
            raise DataError(
                f"{path} is {width} x {height} pixels, but annotated as "
                f"{annotation.size_wh[0]} x {annotation.size_wh[1]}; is it rotated or resized?"
            )
        return Sample(picture, annotation_targets(annotation, self.data_set))

    def targets(self, index: int) -> Targets:
        """Targets of one photo, without reading the photo."""
        return annotation_targets(self.annotations[index], self.data_set)
