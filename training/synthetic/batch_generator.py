"""Generator of synthetic scenes in batches, on any device, with plain tensor operations.

A scene depends only on the seed and its index, not on the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from aios.accelerate.cuda_graphs import Capturer, CudaGraph, cuda_graphs_available

from ..targets import TENSOR_FIELDS, Targets
from .assets import SceneAssets
from .background_textures import PHOTO_PX
from .body_texture import BodyTexture
from .camera_effects import antialias, apply_camera_effects
from .characters import CharacterSlots, camera_space_people, sample_characters
from .contacts import ContactPoints
from .labels import label_people
from .mocap import MocapLibrary
from .renderer import render_scenes
from .rng import CounterRng
from .surface import BodySurface

TRAIN_SEED = 1
TEST_SEED = 1_000_003
"""Seeds from here on use the pose clips and textures of the test set."""
MAX_PEOPLE = 20
_COUNT_WEIGHTS = (0.06, 0.34, 0.19, 0.13, 0.09, 0.06, 0.04, 0.025, 0.02, 0.01, 0.01) + (
    0.0025,
) * 10


@dataclass(frozen=True)
class SceneBatch:
    """B scenes with N people in total, including barely visible ones; all on one device.

    Attributes:
        images: (B, 3, H, W) uint8 RGB 0-255.
        people: labels of the N people.
        kept: (N,) bool, visible enough to be a training target.
        scene_index: (N,) int64, ascending.
        focal_length: (B,) pixels; the principal point is the image centre.
        owner: (B, H, W) int64 person 0..N-1, -1 for an object, -2 for the background.
        depth: (B, H, W) float32 metres, infinite on the background.
        joint: (B, H, W) int64 SMPL-X joint 0-54 with the largest skinning weight, -1 off bodies.
        joints_occluded: (N, 144) bool, the joint is behind another person or an object.
    """

    images: Tensor
    people: Targets
    kept: Tensor
    scene_index: Tensor
    focal_length: Tensor
    owner: Tensor
    depth: Tensor
    joint: Tensor
    joints_occluded: Tensor

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.images)

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, in the order that `from_tensors` expects."""
        own = (getattr(self, field.name) for field in fields(self) if field.name != "people")
        return (*own, *(getattr(self.people, name) for name in TENSOR_FIELDS))

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Self:
        """Rebuild a batch from `tensors`."""
        names = [field.name for field in fields(cls) if field.name != "people"]
        own, rest = tensors[: len(names)], tensors[len(names) :]
        people = Targets(
            **dict(zip(TENSOR_FIELDS, rest, strict=True)), focal_length=0.0, ignore_unmatched=False
        )
        return cls(**dict(zip(names, own, strict=True)), people=people)

    def targets(self) -> tuple[Targets, Tensor]:
        """Concatenated targets of all scenes, and (P,) scene of each person.

        Synchronises with a GPU, because the number of kept people must be known.
        """
        index = torch.nonzero(self.kept)[:, 0]
        return self.people.select(index), self.scene_index[index]

    def targets_of(self, scene: int) -> Targets:
        """Targets of one scene."""
        mine = self.kept & (self.scene_index == scene)
        return replace(self.people.select(mine), focal_length=float(self.focal_length[scene]))


class SceneBatchGenerator:
    """Generates the scenes of one seed.

    Args:
        size_hw: image size, pixels.
        body: the stand-in body; scenes are generated on its device.
        seed: `TRAIN_SEED`, or `TEST_SEED` and above for tests; scenes of different seeds are
            independent.
        photos: (n, 3, 288, 288) uint8 background photos from `stack_photos`, or None.
        people: least and most people per scene; small numbers are more frequent.
        uniform_counts: sample all numbers of people with equal probability.
        capturer: captures CUDA graphs; shared by several generators on one device.
        mocap: motion-capture poses for a share of the people; not for test seeds.

    Raises:
        ValueError: `people` is not a range within 0 to 20, or a test seed is used with `mocap`.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        body: BodySurface,
        seed: int,
        photos: Tensor | None = None,
        people: tuple[int, int] = (0, MAX_PEOPLE),
        *,
        uniform_counts: bool = False,
        capturer: Capturer | None = None,
        mocap: MocapLibrary | None = None,
    ) -> None:
        """Build the shared assets."""
        if not 0 <= people[0] <= people[1] <= MAX_PEOPLE:
            raise ValueError(f"people is {people}; use a range within 0 to {MAX_PEOPLE}.")
        self.size_hw, self.seed = size_hw, seed
        moved = None if photos is None else photos.to(body.device)
        test = seed >= TEST_SEED
        if test and mocap is not None:
            raise ValueError("Test scenes have procedural poses only; use a seed below TEST_SEED.")
        self._assets = SceneAssets(
            body=body,
            contact_points=ContactPoints(body),
            texture=BodyTexture(body),
            size_hw=size_hw,
            photos=moved,
            test=test,
            mocap=None if mocap is None else mocap.to(body.device),
        )
        number = torch.arange(len(_COUNT_WEIGHTS))
        weights = torch.ones(len(number)) if uniform_counts else torch.tensor(_COUNT_WEIGHTS)
        self._count_weights = weights * ((number >= people[0]) & (number <= people[1]))
        # A batch takes thousands of small kernels; launching them one by one dominates the time.
        self._graph: CudaGraph | None = None
        if cuda_graphs_available(body.device):
            self._graph = CudaGraph(self._generate_tensors, capturer)

    @torch.no_grad()
    def generate(self, indices: Sequence[int]) -> SceneBatch:
        """Generate the scenes with these indices, without synchronising with a GPU."""
        device = self._assets.body.device
        rng_cpu = CounterRng.for_scenes(self.seed, indices)
        slots = _slots(rng_cpu.choice("count", self._count_weights), padded=self._graph is not None)
        given = (rng_cpu.keys, slots.scene, slots.slot, slots.present, slots.visible)
        moved = (tensor.to(device, non_blocking=True) for tensor in given)
        return SceneBatch.from_tensors((self._graph or self._generate_tensors)(*moved))

    @torch.no_grad()
    def video_frames(self, index: int, times_s: Sequence[float]) -> Iterator[Tensor]:
        """Render one scene at several times while its people move through their pose clips.

        Camera effects are the same in every frame; the camera is sampled once per frame from the
        same random numbers.

        Args:
            index: scene index.
            times_s: time of each frame, seconds.

        Yields:
            (3, H, W) uint8 RGB 0-255.
        """
        rng = CounterRng.for_scenes(self.seed, [index])
        slots = _slots(rng.choice("count", self._count_weights), padded=False)
        device = self._assets.body.device
        slots = CharacterSlots(*(getattr(slots, field.name).to(device) for field in fields(slots)))
        for time_s in times_s:
            assets = replace(self._assets, time_s=time_s)
            yield self._generate(assets, rng.to(device), slots).images[0]

    def _generate_tensors(self, keys: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        """`SceneBatch.tensors` from keys (B,) and `CharacterSlots` fields, for a CUDA graph."""
        return self._generate(self._assets, CounterRng(keys), CharacterSlots(*slots)).tensors()

    def _generate(self, assets: SceneAssets, rng: CounterRng, slots: CharacterSlots) -> SceneBatch:
        body = assets.body
        characters, cameras = sample_characters(assets, rng, slots)
        posed, vertices = camera_space_people(characters, cameras, body)
        rendered = render_scenes(assets, rng, characters, cameras, vertices)
        people, kept, occluded = label_people(
            posed, rendered.visibility, body, cameras.focal_length
        )
        owner = rendered.visibility.owner
        radiance = rendered.radiance.transpose(1, 2).unflatten(2, self.size_hw)
        return SceneBatch(
            images=apply_camera_effects(rng, antialias(radiance, owner)),
            people=people,
            kept=kept & slots.visible,
            scene_index=slots.scene,
            focal_length=cameras.focal_length,
            owner=owner,
            depth=rendered.visibility.depth,
            joint=rendered.joint,
            joints_occluded=occluded,
        )


def _slots(counts: Tensor, *, padded: bool) -> CharacterSlots:
    """Assign people to scenes, from the numbers of people (B,) on the CPU.

    With `padded`, invisible placeholders round the number of people up to a multiple of B: a CUDA
    graph fits one number of people, so few different numbers mean few graphs.
    """
    scenes = len(counts)
    used = counts.clone()
    if int(counts.sum()) == 0:
        used[0] = 1
    scene = torch.repeat_interleave(torch.arange(scenes), used)
    slot = torch.arange(len(scene)) - (used.cumsum(0) - used)[scene]
    visible = slot < counts[scene]
    most = MAX_PEOPLE + 1 if padded else max(1, int(counts.max()))
    if padded:
        # No person has the last slot of a scene, so placeholders overwrite nothing.
        extra = -len(scene) % scenes
        scene = torch.cat([scene, scene.new_full((extra,), scenes - 1)])
        slot = torch.cat([slot, slot.new_full((extra,), MAX_PEOPLE)])
        visible = torch.cat([visible, visible.new_zeros(extra)])
    return CharacterSlots(scene, slot, torch.arange(most) < counts[:, None], visible)


def stack_photos(photos: Sequence[np.ndarray]) -> Tensor | None:
    """RGB uint8 HWC photos -> (n, 3, 288, 288) uint8; None if there are no photos."""
    if not len(photos):
        return None
    size = (PHOTO_PX, PHOTO_PX)
    squares = [cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in photos]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
