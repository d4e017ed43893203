"""The data sets of the paper: one table of where they lie and what in them may be used.

Columns follow the data specification, sections 1 and 2; where the released code contradicts its
own table or the paper, `training/README.md` lists it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

KEYS_2D = ("ori", "smplx", "smpl", "original", "gta", "")
"""`keypoints2d_<key>` in the order of preference, `keypoints2d` last."""
KEYS_3D = ("cam", "", "smplx", "smpl", "original", "gta")
"""`keypoints3d_<key>` likewise."""
_PUBLISHED = "HumanData annotations are listed at https://github.com/ttxskk/AiOS"


@dataclass(frozen=True)
class DataSet:
    """What is peculiar to one data set; paths are relative to the folder of all data."""

    images: str
    """Folder that the image paths of the annotations start from."""
    source: str
    """Where the data are to be had, as the end of a sentence."""
    train: str = ""
    """Annotation file of the training split; empty if there is none."""
    test: str = ""
    """Annotation file of the test or validation split."""
    released_images: tuple[str, ...] = ()
    """What released cache files put before the image path."""
    size_hw: tuple[int, int] | None = None
    """Size of every picture where the annotations do not give it."""
    key_2d: str | None = None
    """The one key of 2D joints to read; None takes the first there is."""
    joints_3d: bool = True
    """3D joints are good enough to teach."""
    parts_gate_joints: bool = False
    """Pseudo labels: joints of a part count only where the part is valid."""
    confidence_3d_from_2d: bool = False
    part_flags_in_meta: bool = False
    """`meta` says which hands and faces are valid, not the fifth column of their boxes."""
    drop_repeated_boxes: bool = False
    box_scale: float = 1.0
    part_scale: float = 1.0
    """Boxes are scaled by these about their centres."""
    most_occluded: float = math.inf
    """People hidden by this percentage or more teach their box and class alone."""
    train_interval: int = 1
    """Every so many-th picture is trained on."""
    test_interval: int = 1
    excluded: str = ""
    """File beside the annotations that names videos kept for the test."""
    hands_from_flat: bool = False
    """Hand poses are given from the flat hand: the mean hand is subtracted."""


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
        most_occluded=97.0,
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
    "synthetic": DataSet(
        images="synthetic",
        source="`python -m training.data make-synthetic`",
        train="synthetic/annotations.npz",
        test="synthetic/annotations.npz",
    ),
}
"""By name. The paths are where this program looks first; every run may name others."""
