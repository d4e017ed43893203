"""Scene batches: padding, CUDA graphs, absence of GPU synchronisation; and JPEG simulation."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aios.accelerate.cuda_graphs import CapturedRun
from tests.helpers.watching import watched
from training.synthetic import TRAIN_SEED, BodySurface, SceneBatchGenerator, batch_generator
from training.synthetic.camera_effects import jpeg
from training.synthetic.mocap import MocapLibrary
from training.targets import TENSOR_FIELDS


def test_placeholders_do_not_change_scenes(monkeypatch) -> None:
    """A CUDA graph fits one number of people; smaller batches are padded with placeholders."""
    generator = SceneBatchGenerator((64, 96), BodySurface(), TRAIN_SEED)
    plain = generator.generate(range(7))
    slots = batch_generator._slots
    monkeypatch.setattr(
        batch_generator, "_slots", lambda counts, padded: slots(counts, padded=True)
    )
    padded = generator.generate(range(7))
    count = len(plain.scene_index)
    assert count % 7 and len(padded.scene_index) % 7 == 0
    assert not padded.kept[count:].any()
    assert torch.equal(padded.owner, plain.owner)
    difference = (padded.images.int() - plain.images.int()).abs()
    assert difference.float().mean() < 0.05
    (some, scenes), (others, theirs) = plain.targets(), padded.targets()
    assert torch.equal(scenes, theirs)
    for name in TENSOR_FIELDS:
        torch.testing.assert_close(getattr(others, name), getattr(some, name), msg=name)


def test_captured_generator_gives_the_same_scenes(monkeypatch) -> None:
    """Emulates a CUDA graph with a capturer whose replay generates again."""
    monkeypatch.setattr(batch_generator, "cuda_graphs_available", lambda device: True)
    replays = []

    def capturer(network, given):
        output = network(*given)

        def replay():
            replays.append(len(given[1]))
            for own, new in zip(output, network(*given), strict=True):
                own.copy_(new)

        return CapturedRun(given, output, replay)

    body = BodySurface()
    captured = SceneBatchGenerator((64, 64), body, TRAIN_SEED, capturer=capturer)
    monkeypatch.setattr(batch_generator, "cuda_graphs_available", lambda device: False)
    plain = SceneBatchGenerator((64, 64), body, TRAIN_SEED)
    for start in range(0, 20, 4):
        indices = range(start, start + 4)
        found, wanted = captured.generate(indices), plain.generate(indices)
        difference = (found.images.int() - wanted.images.int()).abs()
        assert difference.float().mean() < 0.05
        assert torch.equal(found.owner, wanted.owner)
        torch.testing.assert_close(found.targets()[0].boxes, wanted.targets()[0].boxes)
    assert replays


def test_generation_neither_synchronises_nor_mixes_devices() -> None:
    """Meta tensors have no values: reading one, or mixing it with a CPU tensor, is an error."""
    body = BodySurface(device="meta")
    photos = torch.zeros(3, 3, 288, 288, dtype=torch.uint8)
    scenes = SceneBatchGenerator((64, 96), body, TRAIN_SEED, photos).generate(range(4))
    assert scenes.images.device.type == "meta"
    assert scenes.images.shape == (4, 3, 64, 96)
    assert scenes.people.joints_3d.device.type == "meta"
    assert scenes.kept.device.type == "meta"


def test_jpeg_error_grows_with_lower_quality() -> None:
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
    """Records operations that combine CPU tensors with tensors of the generating device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        inputs = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
        devices = {a.device.type for a in inputs if a.dim()}
        outputs = [a for a in tree_leaves(output) if isinstance(a, torch.Tensor)]
        devices |= {a.device.type for a in outputs if a.dim()}
        if devices == {"cpu", "meta"}:
            self.found.append(f"{func} {[tuple(a.shape) for a in inputs]}")
        return output


def test_only_keys_and_slots_are_copied_to_the_device() -> None:
    """Every copy from the CPU synchronises; constants are copied once."""
    generator = SceneBatchGenerator((64, 96), BodySurface(device="meta"), TRAIN_SEED)
    generator.generate(range(4))
    with _Crossings() as crossings:
        generator.generate(range(4, 8))
    assert len(crossings.found) <= 6, crossings.found


@pytest.mark.parametrize("captured_poses", [False, True], ids=["procedural", "mocap"])
def test_generation_can_be_captured_as_cuda_graph(captured_poses: bool) -> None:
    """No implicit copies to the device, such as Python lists used as indices."""
    count = torch.tensor([4, 6])
    library = MocapLibrary(
        torch.randn(10, 22, 4), count.cumsum(0) - count, count, torch.full((2,), 15.0), count, 0.5
    )
    mocap = library if captured_poses else None
    generator = SceneBatchGenerator((64, 96), BodySurface(device="meta"), TRAIN_SEED, mocap=mocap)
    slots = batch_generator._slots(torch.tensor([2, 0, 3]), padded=True)
    given = (slots.scene, slots.slot, slots.present, slots.visible)
    moved = [tensor.to("meta") for tensor in (torch.zeros(3, dtype=torch.int64), *given)]

    def draw():
        with torch.no_grad():
            generator._generate_tensors(*moved)

    draw()
    count, found = watched(draw)
    assert count > 5000
    assert not found
