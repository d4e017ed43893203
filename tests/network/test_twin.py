"""The fast forward equals the readable one (`tests/helpers/twin.py`)."""

import dataclasses

import pytest
import torch

from tests.helpers import twin
from tests.helpers.networks import MOBILE, SMALL, TINY, random_images, random_model, random_prefix

pytestmark = pytest.mark.usefixtures("one_thread")

PADDED = [(75, 93), (61, 88)]
"""No side is a multiple of any stride."""


def assert_same(ours, wanted, tolerance, path="output"):
    """Every tensor below two equal trees of dataclasses."""
    if isinstance(wanted, torch.Tensor):
        assert ours.shape == wanted.shape, path
        assert ours.dtype == wanted.dtype, path
        if wanted.dtype.is_floating_point:
            assert torch.isfinite(wanted).all(), path
            worst = ((ours - wanted).abs() / wanted.abs().clamp(min=1)).max().item()
            assert worst <= tolerance, f"{path}: off by {worst:.1e}"
        else:
            assert torch.equal(ours, wanted), path
    elif dataclasses.is_dataclass(wanted):
        assert type(ours) is type(wanted), path
        for field in dataclasses.fields(wanted):
            name = field.name
            assert_same(getattr(ours, name), getattr(wanted, name), tolerance, f"{path}.{name}")
    elif isinstance(wanted, tuple):
        assert len(ours) == len(wanted), path
        for index, pair in enumerate(zip(ours, wanted, strict=True)):
            assert_same(*pair, tolerance, f"{path}[{index}]")
    else:
        assert ours == wanted, path


def both(config, sizes, seed, dtype, prefix_count=0):
    model = random_model(config, seed, dtype)
    images = random_images(sizes, seed, dtype)
    prefix = None
    if prefix_count:
        prefix = random_prefix(config, len(sizes), prefix_count, seed, dtype)
    with torch.inference_mode():
        ours = model(images, prefix, aux_outputs=True, keep_attention=True)
        choice = twin.Choice(ours.proposals.token_indices, ours.selected_queries)
        return ours, twin.forward(model, images, prefix, choice)


@pytest.mark.parametrize("prefix_count", [0, 6])
@pytest.mark.parametrize("sizes", [[(75, 93)], [(64, 96)] * 2, PADDED])
@pytest.mark.parametrize("config", [SMALL, TINY, MOBILE])
@pytest.mark.parametrize("seed", [1, 2])
def test_exact_in_float64(config, sizes, seed, prefix_count):
    """Up to the position codes, which both have in float32."""
    assert_same(*both(config, sizes, seed, torch.float64, prefix_count), 1e-6)


def test_without_forced_choice():
    """The twin alone chooses the same tokens and people where no two scores are equal."""
    model = random_model(TINY, 5, torch.float64)
    images = random_images([(75, 93)], 5, torch.float64)
    with torch.inference_mode():
        ours = model(images, aux_outputs=True, keep_attention=True)
        assert len(ours.proposals.class_logits.amax(-1).unique()) == TINY.num_proposals
        assert_same(ours, twin.forward(model, images), 1e-6)


def test_same_gradients():
    """Of everything that learns, through all layers: cuts are in the same places."""
    model = random_model(TINY, 6, torch.float64)
    images = random_images(PADDED, 6, torch.float64)
    prefix = random_prefix(TINY, 2, 4, 6, torch.float64)
    ours = model(images, prefix, aux_outputs=True)
    gradients = gradients_of(model, ours)
    choice = twin.Choice(ours.proposals.token_indices, ours.selected_queries)
    wanted = gradients_of(model, twin.forward(model, images, prefix, choice))
    assert gradients.keys() == wanted.keys()
    for name in gradients:
        scale = wanted[name].abs().max().clamp(min=1e-3)
        worst = ((gradients[name] - wanted[name]).abs().max() / scale).item()
        assert worst <= 1e-5, f"{name}: off by {worst:.1e} of its largest"


def gradients_of(model, output):
    """Gradient of one sum over all outputs of all layers, where it is not 0."""
    model.zero_grad()
    values = [output.proposals.class_logits, output.proposals.boxes]
    for layer in (*output.aux_outputs, output.final):
        parts = vars(layer) | (vars(layer.smplx) if layer.smplx else {})
        values += [value for value in parts.values() if isinstance(value, torch.Tensor)]
    sum(value.sin().sum() for value in values).backward()
    return {
        n: p.grad.clone()
        for n, p in model.named_parameters()
        if p.grad is not None and p.grad.any()
    }


@pytest.mark.parametrize("prefix_count", [0, 6])
@pytest.mark.parametrize("config", [SMALL, TINY])
def test_close_in_float32(config, prefix_count):
    assert_same(*both(config, PADDED, 4, torch.float32, prefix_count), 5e-4)
