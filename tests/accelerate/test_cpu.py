"""CPU fast path: tokens in parts, and the last layer for people above a score."""

import pytest
import torch

from aios.accelerate import cpu, padded_levels
from aios.accelerate.cpu import CpuEncoder
from aios.accelerate.install import accelerate
from aios.network.outputs import PERSON_CLASS
from tests.helpers.networks import SMALL, random_images, random_model
from tests.helpers.same_outputs import tensors

pytestmark = pytest.mark.usefixtures("one_thread")

LEVELS = ((4, 6), (2, 3), (1, 2), (1, 1))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("at_once", [1, 7, 30, 100])
def test_encoder_in_parts_equals_plain_encoder(monkeypatch, at_once, padded):
    """Also leaves its inputs unchanged."""
    for module in (cpu, padded_levels):
        monkeypatch.setattr(module, "TOKENS_AT_ONCE", at_once)
    plain = random_model(SMALL, 0, torch.float64).encoder
    levels = [torch.randn(2, SMALL.hidden_dim, h, w, dtype=torch.float64) for h, w in LEVELS]
    mask = None
    if padded:
        mask = torch.zeros(2, 32, 48, dtype=torch.bool)
        mask[1, 20:] = True
        mask[1, :, 37:] = True
    before = [level.clone() for level in levels]
    with torch.inference_mode():
        expected = plain(levels, mask).memory
        actual = CpuEncoder(plain)(levels, mask).memory
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=0)
    for level, first in zip(levels, before, strict=True):
        assert torch.equal(level, first)


@pytest.mark.parametrize("sizes", [[(75, 93)], [(75, 93), (61, 88)]])
def test_people_below_the_minimum_score_are_zero_and_others_unchanged(sizes):
    network = accelerate(random_model(SMALL, 3), torch.device("cpu"), "exact", list)
    images = random_images(sizes, 3)
    with torch.inference_mode():
        full = network(images).final
        scores = full.class_logits[..., PERSON_CLASS].sigmoid()
        middle = scores.flatten().sort().values[scores.numel() // 2].item()
        for min_score in (middle, 1.0):
            some = network(images, min_score=min_score).final
            torch.testing.assert_close(some.class_logits, full.class_logits)
            kept = scores >= min_score
            assert kept.any() == (min_score == middle)
            for name in ("boxes", "keypoints_2d", "face_keypoints_2d"):
                torch.testing.assert_close(getattr(some, name)[kept], getattr(full, name)[kept])
            for name, expected in vars(full.smplx).items():
                actual = getattr(some.smplx, name)
                assert actual.shape == expected.shape
                torch.testing.assert_close(actual[kept], expected[kept], atol=1e-5, rtol=1e-5)
        assert not some.smplx.betas.any()


def test_extra_outputs_do_not_change_the_final_output():
    network = accelerate(random_model(SMALL, 3), torch.device("cpu"), "exact", list)
    images = random_images([(75, 93), (61, 88)], 3)
    with torch.inference_mode():
        plain = network(images)
        full = network(images, aux_outputs=True, keep_attention=True, min_score=1.0)
    assert plain.aux_outputs == plain.attention == ()
    assert len(full.attention) == SMALL.decoder_layers
    for name, value in tensors(plain.final).items():
        assert torch.equal(value, tensors(full.final)[name]), name
