"""Scenes by the batch, on any device: people, things, light and camera in plain tensors.

A scene depends on the seed and its own number alone, not on the batch it is drawn in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from aios.accelerate.cuda_graphs import Recorded, Recorder, allowed

from ..targets import TENSOR_FIELDS, Targets
from .assets import SceneAssets
from .background_textures import PHOTO_PX
from .body_texture import BodyTexture
from .camera_effects import antialias, apply_camera_effects
from .characters import CharacterSlots, camera_space_people, sample_characters
from .contacts import ContactPoints
from .labels import label_people
from .renderer import render_scenes
from .rng import CounterRng
from .surface import BodySurface

TRAIN_SEED = 1
TEST_SEED = 1_000_003
"""Seeds from here on belong to tests: their scenes have pose clips and textures of their own."""
MAX_PEOPLE = 20
_COUNT_CHANCES = (0.06, 0.34, 0.19, 0.13, 0.09, 0.06, 0.04, 0.025, 0.02, 0.01, 0.01) + (
    0.0025,
) * 10


@dataclass(frozen=True)
class SceneBatch:
    """B drawn scenes with N people in all, also those who cannot be seen well; one device.

    Attributes:
        pictures: (B, 3, H, W) uint8 RGB.
        everyone: what is true of the N people.
        kept: (N,) bool: seen well enough to be a target.
        scene_index: (N,) int64, ascending.
        focal_length: (B,) pixels, principal point in the middle.
        owner: (B, H, W) int64 person 0..N-1, -1 for a thing, -2 for the background.
        depth: (B, H, W) float32 metres of people and things, infinite elsewhere.
        joint: (B, H, W) int64 SMPL-X joint 0-54 that moves what is seen most, -1 off bodies.
        joints_occluded: (N, 144) bool: another person or thing is seen in front of the joint.
    """

    pictures: Tensor
    everyone: Targets
    kept: Tensor
    scene_index: Tensor
    focal_length: Tensor
    owner: Tensor
    depth: Tensor
    joint: Tensor
    joints_occluded: Tensor

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.pictures)

    def tensors(self) -> tuple[Tensor, ...]:
        """All that is in here, for `of_tensors`."""
        own = (getattr(self, field.name) for field in fields(self) if field.name != "everyone")
        return (*own, *(getattr(self.everyone, name) for name in TENSOR_FIELDS))

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor]) -> Self:
        """The same again."""
        names = [field.name for field in fields(cls) if field.name != "everyone"]
        own, rest = tensors[: len(names)], tensors[len(names) :]
        everyone = Targets(
            **dict(zip(TENSOR_FIELDS, rest, strict=True)), focal_length=0.0, ignore_unmatched=False
        )
        return cls(**dict(zip(names, own, strict=True)), everyone=everyone)

    def targets(self) -> tuple[Targets, Tensor]:
        """Targets of all scenes joined, and (P,) scene of each.

        This is where a GPU is waited for: how many people are kept must be known here.
        """
        index = torch.nonzero(self.kept)[:, 0]
        return self.everyone.select(index), self.scene_index[index]

    def targets_of(self, scene: int) -> Targets:
        """Targets of one scene."""
        mine = self.kept & (self.scene_index == scene)
        return replace(self.everyone.select(mine), focal_length=float(self.focal_length[scene]))


class SceneBatchGenerator:
    """Draws scenes of one seed.

    Args:
        size_hw: pixels of the pictures.
        body: the stand-in body; its device is where scenes are drawn.
        seed: `TRAIN_SEED`, or from `TEST_SEED` on for tests; different seeds share nothing.
        photos: (n, 3, 288, 288) uint8 as `stack_photos` gives them, or none.
        people: fewest and most people of a scene; small numbers are likelier unless the range is
            narrower than 0 to 20.
        uniform_counts: every number of people is as likely.
        recorder: several worlds on one CUDA device may share the memory in which they draw.

    Raises:
        ValueError: the range of people is none, or reaches beyond 0 to 20.
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
        recorder: Recorder | None = None,
    ) -> None:
        """Keep what all scenes share."""
        if not 0 <= people[0] <= people[1] <= MAX_PEOPLE:
            raise ValueError(f"people is {people}, wanted a range within 0 to {MAX_PEOPLE}.")
        self.size_hw, self.seed = size_hw, seed
        moved = None if photos is None else photos.to(body.device)
        test = seed >= TEST_SEED
        self._assets = SceneAssets(
            body, ContactPoints(body), BodyTexture(body), size_hw, moved, test
        )
        number = torch.arange(len(_COUNT_CHANCES))
        chances = torch.ones(len(number)) if uniform_counts else torch.tensor(_COUNT_CHANCES)
        self._chances = chances * ((number >= people[0]) & (number <= people[1]))
        # Many thousand small operations: starting them one by one takes longer than they do.
        self._graph = Recorded(self._generate_tensors, recorder) if allowed(body.device) else None

    @torch.no_grad()
    def generate(self, indices: Sequence[int]) -> SceneBatch:
        """The scenes with these numbers. Nothing here waits for a GPU."""
        device = self._assets.body.device
        drawn = CounterRng.for_scenes(self.seed, indices)
        slots = _slots(drawn.choice("count", self._chances), padded=self._graph is not None)
        given = (drawn.keys, slots.scene, slots.slot, slots.present, slots.visible)
        moved = (tensor.to(device, non_blocking=True) for tensor in given)
        return SceneBatch.of_tensors((self._graph or self._generate_tensors)(*moved))

    @torch.no_grad()
    def video_frames(self, index: int, times: Sequence[float]) -> Iterator[Tensor]:
        """One scene at some times, seconds, while its people go on with what they do.

        The camera looks at them anew at each time.

        Args:
            index: number of the scene.
            times: of its pictures.

        Yields:
            (3, H, W) uint8 RGB.
        """
        rng = CounterRng.for_scenes(self.seed, [index])
        slots = _slots(rng.choice("count", self._chances), padded=False)
        device = self._assets.body.device
        slots = CharacterSlots(*(getattr(slots, field.name).to(device) for field in fields(slots)))
        for time in times:
            assets = replace(self._assets, time_s=time)
            yield self._generate(assets, rng.to(device), slots).pictures[0]

    def _generate_tensors(self, keys: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        """`Scenes.tensors` of keys (B,) and fields of `Slots`, on the device that draws."""
        return self._generate(self._assets, CounterRng(keys), CharacterSlots(*slots)).tensors()

    def _generate(self, assets: SceneAssets, rng: CounterRng, slots: CharacterSlots) -> SceneBatch:
        body = assets.body
        characters, cameras = sample_characters(assets, rng, slots)
        people, vertices = camera_space_people(characters, cameras, body)
        picture = render_scenes(assets, rng, characters, cameras, vertices)
        everyone, kept, hidden = label_people(people, picture.composite, body, cameras.focal_length)
        owner = picture.composite.owner
        seen = picture.light.transpose(1, 2).unflatten(2, self.size_hw)
        return SceneBatch(
            pictures=apply_camera_effects(rng, antialias(seen, owner)),
            everyone=everyone,
            kept=kept & slots.visible,
            scene_index=slots.scene,
            focal_length=cameras.focal_length,
            owner=owner,
            depth=picture.composite.depth,
            joint=picture.joint,
            joints_occluded=hidden,
        )


def _slots(counts: Tensor, *, padded: bool) -> CharacterSlots:
    """From (B,) numbers of people, which are known on the CPU at once.

    Padded, there are slots in few different numbers, those too many for people who are not real:
    what is recorded fits one number.
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
        # Nobody has the last place of a scene, so nothing there overwrites what is true.
        extra = -len(scene) % scenes
        scene = torch.cat([scene, scene.new_full((extra,), scenes - 1)])
        slot = torch.cat([slot, slot.new_full((extra,), MAX_PEOPLE)])
        visible = torch.cat([visible, visible.new_zeros(extra)])
    return CharacterSlots(scene, slot, torch.arange(most) < counts[:, None], visible)


def stack_photos(photos: Sequence[np.ndarray]) -> Tensor | None:
    """RGB uint8 HWC photographs -> (n, 3, 288, 288) uint8, or none if there are none."""
    if not len(photos):
        return None
    size = (PHOTO_PX, PHOTO_PX)
    squares = [cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in photos]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
