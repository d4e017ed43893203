"""Data sets of the paper (AiOS, Sec. 4): default paths, sources and usable annotations.

`training/README.md` lists where the released code deviates from the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

KEYS_2D = ("ori", "smplx", "smpl", "original", "gta", "")
"""Keys of `keypoints2d_<key>` in order of preference; the empty one is `keypoints2d`."""
KEYS_3D = ("cam", "", "smplx", "smpl", "original", "gta")
"""Keys of `keypoints3d_<key>` in order of preference."""
_PUBLISHED = "HumanData annotations are listed at https://github.com/ttxskk/AiOS"


@dataclass(frozen=True)
class DataSet:
    """Properties of one data set; paths are relative to the data root."""

    images: str
    """Folder that the image paths of the annotations are relative to."""
    source: str
    """Download page, as the end of a sentence."""
    train: str = ""
    """Annotation file of the training split; empty if there is none."""
    test: str = ""
    """Annotation file of the test or validation split."""
    released_images: tuple[str, ...] = ()
    """Prefixes of the image paths in released cache files."""
    size_hw: tuple[int, int] | None = None
    """Image size, if the annotations do not have it."""
    key_2d: str | None = None
    """Key of the 2D joints; None takes the first existing one of `KEYS_2D`."""
    joints_3d: bool = True
    """3D joints are accurate enough for training."""
    parts_gate_joints: bool = False
    """Pseudo labels: use joints of a part only if the part is valid."""
    confidence_3d_from_2d: bool = False
    part_flags_in_meta: bool = False
    """Validity of hands and face is in `meta` instead of the fifth column of their boxes."""
    drop_repeated_boxes: bool = False
    box_scale: float = 1.0
    part_scale: float = 1.0
    """Factors that scale body boxes and part boxes about their centres."""
    max_occlusion: float = math.inf
    """People occluded by this percentage or more have only box and class targets."""
    train_interval: int = 1
    """Use every N-th image for training."""
    test_interval: int = 1
    excluded: str = ""
    """File beside the annotations with the names of test videos."""
    hands_from_flat: bool = False
    """Hand poses are relative to the flat hand: subtract the mean hand."""
    unlisted_people: bool = False
    """Photos may show people who are not annotated: predictions elsewhere are not penalised."""


DATA_SETS: dict[str, DataSet] = {
    "agora": DataSet(
        images="agora",
        source=f"https://agora.is.tue.mpg.de (free registration); {_PUBLISHED}",
        train="agora/annotations/agora_train_3840.npz",
        test="agora/annotations/agora_validation_3840.npz",
        released_images=("data/datasets/agora",),
        size_hw=(2160, 3840),
        box_scale=0.9996,
        part_scale=0.9996,
        max_occlusion=97.0,
    ),
    "bedlam": DataSet(
        images="bedlam/train_images",
        source=f"https://bedlam.is.tue.mpg.de (free registration); {_PUBLISHED}",
        train="bedlam/annotations/bedlam_train.npz",
        released_images=("data/datasets/bedlam/train_images",),
        train_interval=5,
    ),
    "coco": DataSet(
        images="coco_2017",
        source=f"https://cocodataset.org; {_PUBLISHED}",
        train="coco_2017/annotations/coco_wholebody_neuralannot_train.npz",
        released_images=("data/datasets/coco_2017",),
        key_2d="ori",
        joints_3d=False,
        parts_gate_joints=True,
    ),
    "ubody": DataSet(
        images="ubody",
        source=f"https://osx-ubody.github.io; {_PUBLISHED}",
        train="ubody/annotations/ubody_train_intra.npz",
        test="ubody/annotations/ubody_test_intra.npz",
        released_images=("data/osx_data/UBody",),
        key_2d="ubody",
        parts_gate_joints=True,
        confidence_3d_from_2d=True,
        part_flags_in_meta=True,
        drop_repeated_boxes=True,
        box_scale=0.9996,
        part_scale=1.2,
        train_interval=5,
        excluded="intra_scene_test_list.npy",
    ),
    "egobody": DataSet(
        images="egobody",
        source=f"https://sanweiliti.github.io/egobody/egobody.html; {_PUBLISHED}",
        train="egobody/annotations/egobody_egocentric_train.npz",
        test="egobody/annotations/egobody_egocentric_val.npz",
        released_images=("data/osx_data/EgoBody",),
        size_hw=(1080, 1920),
        train_interval=2,
    ),
    "arctic": DataSet(
        images="arctic",
        source=f"https://arctic.is.tue.mpg.de (free registration); {_PUBLISHED}",
        train="arctic/annotations/arctic_p1_train.npz",
        test="arctic/annotations/arctic_p1_val.npz",
        released_images=("data/osx_data/ARCTIC",),
        train_interval=1000,
        test_interval=30,
    ),
    "ehf": DataSet(
        images="ehf",
        source=f"https://smpl-x.is.tue.mpg.de (free registration); {_PUBLISHED}",
        test="ehf/annotations/ehf.npz",
        released_images=("data/data_weichen/ehf",),
        size_hw=(1200, 1600),
    ),
    "annotated": DataSet(
        images="annotated",
        source="`python -m training.annotate`, from your own photos",
        train="annotated/annotations.npz",
        key_2d="smplx",
        unlisted_people=True,
    ),
    "synthetic": DataSet(
        images="synthetic",
        source="`python -m training.data make-synthetic`",
        train="synthetic/annotations.npz",
        test="synthetic/annotations.npz",
    ),
}
"""By name. Every run may override the paths."""
