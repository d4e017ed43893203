"""Cache of rendered scenes on disk, for CPUs, on which rendering costs as much as training.

`python -m training.data.cache --out DIR --count 6000 [--real ROOT]` writes shards; repeating an
interrupted call continues with the first missing shard.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from aios.resources import STANDIN_BODY

from ..synthetic.background_photos import load_backgrounds
from ..synthetic.generator import TRAIN_SEED, SceneGenerator
from ..synthetic.mocap import MOCAP_VARIABLE, MocapConfig, load_mocap
from ..synthetic.surface import BodySurface
from ..targets import TENSOR_FIELDS, Targets, joint_keypoints
from .batch import Sample, join_targets
from .real_photos import decode

logger = logging.getLogger(__name__)

SHARD_SCENES = 200
_RENDER_BATCH = 8
SHAPES_HW = ((352, 352), (304, 400), (400, 304))
"""Image sizes; all images of a shard have one size, and shards alternate."""
_QUALITY = 92


def encode_samples(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Encode images as JPEG and targets as concatenated arrays."""
    pictures, sizes = [], []
    for sample in samples:
        bgr = cv2.cvtColor(sample.picture, cv2.COLOR_RGB2BGR)
        pictures.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].ravel())
        sizes.append(len(pictures[-1]))
    joined, _ = join_targets([s.targets for s in samples])
    arrays = {name: getattr(joined, name).numpy() for name in TENSOR_FIELDS}
    arrays["picture_bytes"] = np.concatenate(pictures)
    arrays["picture_sizes"] = np.array(sizes)
    arrays["people"] = np.array([len(s.targets) for s in samples])
    arrays["focal_lengths"] = np.array([s.targets.focal_length for s in samples])
    arrays["ignore_unmatched"] = np.array([s.targets.ignore_unmatched for s in samples])
    return arrays


class CachedScenes:
    """Samples of all shards in a folder, kept in memory in encoded form."""

    def __init__(self, folder: Path) -> None:
        """Read every shard.

        Raises:
            FileNotFoundError: the folder has no shards.
        """
        self._pictures: list[np.ndarray] = []
        self._targets: list[Targets] = []
        paths = sorted(folder.glob("scenes_[0-9][0-9][0-9][0-9][0-9].npz"))
        if not paths:
            raise FileNotFoundError(
                f"{folder} holds no cached scenes; make some with `python -m training.data.cache`"
            )
        for path in paths:
            self._read(path)

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Decode one scene."""
        return Sample(decode(self._pictures[index]), self._targets[index])

    def _read(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["picture_sizes"])[:-1]
            self._pictures += np.split(arrays["picture_bytes"], ends)
            joined = _joined_targets(arrays)
            counts = arrays["people"].tolist()
            parts = {name: value.split(counts) for name, value in joined.items()}
            focal, ignore = arrays["focal_lengths"], arrays["ignore_unmatched"]
            for index in range(len(counts)):
                values: dict[str, Any] = {name: parts[name][index] for name in TENSOR_FIELDS}
                values["focal_length"] = float(focal[index])
                values["ignore_unmatched"] = bool(ignore[index])
                self._targets.append(Targets(**values))


def _joined_targets(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """All tensors of a shard; fields missing in older shards are derived."""
    joined: dict[str, Any] = {n: torch.from_numpy(arrays[n]) for n in TENSOR_FIELDS if n in arrays}
    if "joints_2d_visible" not in joined:
        known = joined["joints_3d_valid"].float()[:, None].expand(-1, 144)
        joined["joints_2d_visible"] = joint_keypoints(joined["joints_2d"], known)[
            "joints_2d_visible"
        ]
        for part in ("left_hand", "right_hand"):
            joined[f"{part}_pose_valid"] = joined[f"{part}_box_valid"]
        for name in ("jaw_pose_valid", "expression_valid"):
            joined[name] = joined["face_box_valid"]
    whole = replace(Targets.unannotated(len(joined["boxes"])), **joined)
    return {name: getattr(whole, name) for name in TENSOR_FIELDS}


def write_shard(path: Path, generator: SceneGenerator, first: int) -> None:
    """Render `SHARD_SCENES` scenes from number `first` on, and write the file atomically."""
    samples = []
    for start in range(first, first + SHARD_SCENES, _RENDER_BATCH):
        scenes = generator.generate_many(range(start, start + _RENDER_BATCH))
        samples += [Sample(scene.image, scene.targets) for scene in scenes]
    temporary = path.with_name(f".{path.name}")
    np.savez(temporary, allow_pickle=False, **encode_samples(samples))
    temporary.replace(path)


def has_crowds(shard: int, share: float) -> bool:
    """Whether a shard belongs to the evenly spread `share` of shards with crowds."""
    return math.floor((shard + 1) * share) > math.floor(shard * share)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.data.cache", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6000, help="total number of scenes")
    parser.add_argument("--seed", type=int, default=TRAIN_SEED)
    parser.add_argument("--first-shard", type=int, default=0)
    parser.add_argument("--real", type=Path, help="folder with backgrounds_*.tar")
    parser.add_argument(
        "--crowds",
        type=float,
        default=0.5,
        help="share of the shards in which all numbers of people, up to 20, are equally frequent",
    )
    parser.add_argument("--mocap", default=os.environ.get(MOCAP_VARIABLE), help="folder of packs")
    options = parser.parse_args(arguments)
    if not 0 <= options.crowds <= 1:
        parser.error(f"--crowds must be between 0 and 1, not {options.crowds}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    archives = sorted(options.real.glob("backgrounds_*.tar")) if options.real else []
    photos = load_backgrounds(archives) or None
    body = BodySurface(STANDIN_BODY)
    mocap = load_mocap(MocapConfig(options.mocap))
    shards = -(-options.count // SHARD_SCENES)
    (options.out / "cache.json").write_text(
        json.dumps(
            {
                "seed": options.seed,
                "scenes": shards * SHARD_SCENES,
                "mocap": mocap is not None,
                "crowds": options.crowds,
            }
        )
    )
    for shard in range(options.first_shard, options.first_shard + shards):
        path = options.out / f"scenes_{shard:05d}.npz"
        if path.exists():
            continue
        size_hw = SHAPES_HW[shard % len(SHAPES_HW)]
        generator = SceneGenerator(
            size_hw,
            body,
            options.seed,
            photos,
            uniform_counts=has_crowds(shard, options.crowds),
            mocap=mocap,
        )
        write_shard(path, generator, shard * SHARD_SCENES)
        logger.info("wrote %s", path.name)


if __name__ == "__main__":
    main()
