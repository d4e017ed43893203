"""Comparison of nested network outputs."""

import dataclasses

import torch


def assert_same_outputs(actual, expected, tolerance, path="output"):
    """Compare two trees of dataclasses and tuples; tolerance is relative to max(|expected|, 1)."""
    if isinstance(expected, torch.Tensor):
        assert actual.shape == expected.shape, path
        assert actual.dtype == expected.dtype, path
        if expected.dtype.is_floating_point:
            assert torch.isfinite(expected).all(), path
            error = ((actual - expected).abs() / expected.abs().clamp(min=1)).max().item()
            assert error <= tolerance, f"{path}: off by {error:.1e}"
        else:
            assert torch.equal(actual, expected), path
    elif dataclasses.is_dataclass(expected):
        assert type(actual) is type(expected), path
        for field in dataclasses.fields(expected):
            name = field.name
            pair = getattr(actual, name), getattr(expected, name)
            assert_same_outputs(*pair, tolerance, f"{path}.{name}")
    elif isinstance(expected, tuple):
        assert len(actual) == len(expected), path
        for index, pair in enumerate(zip(actual, expected, strict=True)):
            assert_same_outputs(*pair, tolerance, f"{path}[{index}]")
    else:
        assert actual == expected, path


def tensors(layer):
    """All tensors of a `LayerOutput` by name, including those of `smplx`."""
    parts = vars(layer) | (vars(layer.smplx) if layer.smplx else {})
    return {name: value for name, value in parts.items() if isinstance(value, torch.Tensor)}
