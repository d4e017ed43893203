"""Linear layers and ResNet stages with 8-bit products.

Activations are unsigned with one scale per tensor, weights signed with one scale per output
channel; sums are exact 32-bit integers. The products are oneDNN's, which is part of torch. Its
operators under `torch.ops.onednn` have no public counterpart: the public quantised modules neither
take the range of the current input without a second pass nor add a shortcut in the same pass.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from ..network.resnet import StridedPointwise
from .int8_scale import Ranges, Scale

_TYPICAL_SIDE = 32


def _quantise_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (O, ...) -> int8 of the same shape, and the step of each output channel (O,)."""
    steps = (weight.flatten(1).abs().amax(1) / 127).clamp_min(1e-12)
    integers = weight / steps.view(-1, *[1] * (weight.ndim - 1))
    return integers.round().to(torch.int8), steps.contiguous()


class Int8Linear(nn.Module):
    """A linear layer; (..., I) -> (..., O)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        input_scale: Scale | None = None,
        output_scale: Scale | None = None,
    ) -> None:
        """Convert a float layer.

        Args:
            weight: (O, I) of the float layer.
            bias: (O,) of the float layer.
            input_scale: of a uint8 input; None for a float input of any range.
            output_scale: of a uint8 output after a ReLU; None for a float output.
        """
        super().__init__()
        integers, self.steps = _quantise_weight(weight)
        # The packed weight can be neither saved nor moved, hence it is not a buffer.
        self.packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.input_scale, self.output_scale = input_scale, output_scale

    @classmethod
    def of(
        cls,
        linear: nn.Linear,
        input_scale: Scale | None = None,
        output_scale: Scale | None = None,
    ) -> Self:
        """Convert `linear`."""
        return cls(linear.weight, linear.bias, input_scale, output_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Float, or uint8 with an input scale -> float, or uint8 with an output scale."""
        input_scale = self.input_scale
        flat = x.flatten(0, -2)
        if input_scale is None:
            input_scale = Scale.of(flat)
            flat = input_scale.quantise(flat, in_range=True)
        output_scale = self.output_scale or Scale(1.0, 0)
        y = torch.ops.onednn.qlinear_pointwise(
            flat,
            input_scale.step,
            input_scale.zero,
            self.packed,
            self.steps,
            self.zeros,
            self.bias,
            output_scale.step,
            output_scale.zero,
            torch.float32 if self.output_scale is None else torch.uint8,
            "none" if self.output_scale is None else "relu",
            [],
            "",
        )
        return y.unflatten(0, x.shape[:-1])


class Int8Conv(nn.Module):
    """A convolution over uint8 maps, channels last."""

    def __init__(self, conv: nn.Conv2d, input_scale: Scale, output_scale: Scale) -> None:
        """Convert a float convolution that has a bias."""
        super().__init__()
        assert conv.bias is not None
        self.input_scale, self.output_scale = input_scale, output_scale
        # As in the float layer, the stride of a 1x1 convolution is applied to its input.
        self.step = conv.step if isinstance(conv, StridedPointwise) else 1
        self.shape = (list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups)
        integers, self.steps = _quantise_weight(conv.weight)
        # Without the size of a map, oneDNN packs for another kernel and repacks at every call.
        typical_map = [1, conv.in_channels, _TYPICAL_SIDE, _TYPICAL_SIDE]
        self.packed = torch.ops.onednn.qconv_prepack(
            integers, self.steps, input_scale.step, input_scale.zero, *self.shape, typical_map
        )
        self.zeros = torch.zeros(len(integers), dtype=torch.int64)
        self.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, relu: bool = True) -> Tensor:
        """(B, C, h, w) uint8 -> (B, O, h', w') uint8."""
        return torch.ops.onednn.qconv_pointwise(
            x[..., :: self.step, :: self.step].contiguous(memory_format=torch.channels_last),
            self.input_scale.step,
            self.input_scale.zero,
            self.packed,
            self.steps,
            self.zeros,
            self.bias,
            *self.shape,
            self.output_scale.step,
            self.output_scale.zero,
            torch.uint8,
            "relu" if relu else "none",
            [],
            "",
        )

    def add_to(self, shortcut: Tensor, shortcut_scale: Scale, x: Tensor) -> Tensor:
        """ReLU of the convolution of `x` plus `shortcut`, computed in the memory of `shortcut`."""
        return torch.ops.onednn.qconv2d_pointwise.binary(
            x,
            self.input_scale.step,
            self.input_scale.zero,
            self.packed,
            self.steps,
            self.zeros,
            shortcut,
            self.bias,
            *self.shape,
            self.output_scale.step,
            self.output_scale.zero,
            torch.uint8,
            shortcut_scale.step,
            shortcut_scale.zero,
            "sum",
            1.0,
            "relu",
            [],
            "",
        )


class Int8Block(nn.Module):
    """A residual block, basic or bottleneck."""

    def __init__(self, block: nn.Module, ranges: Ranges) -> None:
        """Convert a float block with folded batch norm."""
        super().__init__()
        convs = [layer for _, layer in block.named_children() if isinstance(layer, nn.Conv2d)]
        scales = [*(ranges.into(conv) for conv in convs), ranges.out_of(block)]
        self.convs = nn.ModuleList(
            Int8Conv(conv, *pair)
            for conv, pair in zip(convs, zip(scales[:-1], scales[1:], strict=True), strict=True)
        )
        self.shortcut: Int8Conv | None = None
        if isinstance(block.downsample, nn.Sequential):
            conv = block.downsample[0]
            assert isinstance(conv, nn.Conv2d)
            self.shortcut = Int8Conv(conv, scales[0], ranges.out_of(conv))
        self.input_scale, self.output_scale = scales[0], scales[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) uint8, which may be overwritten -> (B, O, h', w') uint8."""
        y = x
        for conv in self.convs[:-1]:
            y = conv(y)
        last = self.convs[-1]
        assert isinstance(last, Int8Conv)
        if self.shortcut is None:
            return last.add_to(x, self.input_scale, y)
        return last.add_to(self.shortcut(x, relu=False), self.shortcut.output_scale, y)


class Int8Stage(nn.Sequential):
    """A stage of a `ResNet`: float input and output, 8 bits between."""

    def __init__(self, stage: nn.Sequential, ranges: Ranges) -> None:
        """Convert a stage with folded batch norm; `ranges` of its convolutions and blocks."""
        blocks = [Int8Block(block, ranges) for block in stage]
        super().__init__(*blocks)
        self.input_scale, self.output_scale = blocks[0].input_scale, blocks[-1].output_scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, O, h', w')."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.output_scale.restore(super().forward(self.input_scale.quantise(x)))
