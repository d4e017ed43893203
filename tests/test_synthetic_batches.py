"""Scenes as batches for training, and that a GPU drawing them would never be waited for."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.synthetic import TRAIN_SEED, BodySurface, SceneWorld
from training.synthetic.batches import SceneBatches
from training.synthetic.effects import jpeg

SIZES = ((64, 64), (64, 96))


@pytest.fixture(scope="module")
def batches() -> SceneBatches:
    return SceneBatches(
        BodySurface(), TRAIN_SEED, sizes_hw=SIZES, batch_size=3, focal_per_side=1.5, people=(1, 4)
    )


def test_batches_are_numbered_and_the_same_when_drawn_ahead(batches: SceneBatches) -> None:
    ahead = list(islice(batches.batches(first=1, stride=2), 3))
    for batch, index in zip(ahead, (1, 3, 5), strict=True):
        again = batches[index]
        assert batch.size_hw in SIZES
        assert len(batch) == 3
        assert torch.equal(batch.pictures, again.pictures)
        assert torch.equal(batch.image_index, again.image_index)
        assert batch.focal_length == 1.5 * 64
        assert len(batch.targets) == len(batch.image_index)
        assert (batch.image_index.diff() >= 0).all()
        assert not batch.ignore_unmatched.any()
    assert len({batch.size_hw for batch in islice(iter(batches), 6)}) == 2
    assert not torch.equal(ahead[0].pictures.float().mean(), ahead[1].pictures.float().mean())


def test_drawing_neither_waits_for_a_device_nor_mixes_two() -> None:
    """Tensors without values: reading one back, or one left on the CPU, is an error."""
    body = BodySurface(device="meta")
    photos = torch.zeros(3, 3, 288, 288, dtype=torch.uint8)
    scenes = SceneWorld((64, 96), body, TRAIN_SEED, photos).draw(range(4))
    assert scenes.pictures.device.type == "meta"
    assert scenes.pictures.shape == (4, 3, 64, 96)
    assert scenes.everyone.joints_3d.device.type == "meta"
    assert scenes.kept.device.type == "meta"


def test_jpeg_keeps_the_picture_at_high_quality_and_loses_at_low() -> None:
    ramp = torch.linspace(0, 1, 40)[None, None, None] * torch.linspace(0.3, 1, 24)[:, None]
    picture = ramp * torch.tensor([1.0, 0.6, 0.3])[:, None, None]
    noisy = picture + 0.2 * torch.rand(picture.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for quality in (100.0, 80.0, 20.0):
        stored = jpeg(noisy.clamp(0, 1), torch.tensor([quality]), torch.tensor([True]))
        assert stored.shape == noisy.shape
        errors.append(float((stored - noisy).abs().mean()))
    assert errors[0] < errors[1] < errors[2]
    flat = jpeg(picture, torch.tensor([100.0]), torch.tensor([True]))
    assert float((flat - picture).abs().mean()) < 0.01
    assert torch.equal(jpeg(picture, torch.tensor([5.0]), torch.tensor([False])), picture)


class _Crossings(TorchDispatchMode):
    """Counts tensors that go from the CPU to the device that draws."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        inputs = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
        devices = {a.device.type for a in inputs if a.dim()}
        outputs = [a for a in tree_leaves(answer) if isinstance(a, torch.Tensor)]
        devices |= {a.device.type for a in outputs if a.dim()}
        if devices == {"cpu", "meta"}:
            self.found.append(f"{func} {[tuple(a.shape) for a in inputs]}")
        return answer


def test_nothing_but_keys_and_numbers_of_people_goes_to_the_device() -> None:
    """Each copy from the CPU would be a wait; constants are carried over once."""
    world = SceneWorld((64, 96), BodySurface(device="meta"), TRAIN_SEED)
    world.draw(range(4))
    with _Crossings() as crossings:
        world.draw(range(4, 8))
    assert len(crossings.found) <= 6, crossings.found
