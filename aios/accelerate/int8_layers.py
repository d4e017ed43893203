"""Linear layers and ResNet stages whose products are of 8-bit integers.

Activations are unsigned with one scale a tensor, weights signed with one scale an output channel;
sums are exact 32-bit integers.  The products themselves are oneDNN's, which comes inside torch.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from ..network.resnet import StridedPointwise
from .int8_scale import Ranges, Scale

_SOME_SIDE = 32


def _quantised_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (O, ...) -> int8 and the step of each output channel (O,)."""
    steps = (weight.flatten(1).abs().amax(1) / 127).clamp_min(1e-12)
    integers = weight / steps.view(-1, *[1] * (weight.ndim - 1))
    return integers.round().to(torch.int8), steps.contiguous()


class Int8Linear(nn.Module):
    """A linear layer; (..., I) -> (..., O)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        given: Scale | None = None,
        made: Scale | None = None,
    ) -> None:
        """Of a float layer (O, I) and (O,).

        Args:
            weight: of the float layer.
            bias: of the float layer.
            given: the input comes as uint8 of this scale; None: as float, of any range.
            made: the output is uint8 of this scale, after a ReLU; None: float.
        """
        super().__init__()
        integers, self.steps = _quantised_weight(weight)
        # Packed for oneDNN it is no tensor that could be saved or moved, hence no buffer.
        self.packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.given, self.made = given, made

    @classmethod
    def of(cls, linear: nn.Linear, given: Scale | None = None, made: Scale | None = None) -> Self:
        """The same layer in integers."""
        return cls(linear.weight, linear.bias, given, made)

    def forward(self, x: Tensor) -> Tensor:
        """Float, or uint8 if a scale was given, to float, or uint8 if one was to be made."""
        given = self.given
        flat = x.flatten(0, -2)
        if given is None:
            given = Scale.of(flat)
            flat = given.quantise(flat, within=True)
        made = self.made or Scale(1.0, 0)
        y = torch.ops.onednn.qlinear_pointwise(
            flat,
            given.step,
            given.zero,
            self.packed,
            self.steps,
            self.zeros,
            self.bias,
            made.step,
            made.zero,
            torch.float32 if self.made is None else torch.uint8,
            "none" if self.made is None else "relu",
            [],
            "",
        )
        return y.unflatten(0, x.shape[:-1])


class Int8Conv(nn.Module):
    """A convolution over uint8 maps, channels last."""

    def __init__(self, conv: nn.Conv2d, given: Scale, made: Scale) -> None:
        """Of a float one that has a bias, from maps of scale `given` to those of `made`."""
        super().__init__()
        assert conv.bias is not None
        self.given, self.made = given, made
        # As the float one does: a stride of a 1x1 convolution is one of its input.
        self.step = conv.step if isinstance(conv, StridedPointwise) else 1
        self.shape = (list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups)
        integers, self.steps = _quantised_weight(conv.weight)
        # Told no size of a map, oneDNN packs for another kernel and repacks at every call.
        some_map = [1, conv.in_channels, _SOME_SIDE, _SOME_SIDE]
        self.packed = torch.ops.onednn.qconv_prepack(
            integers, self.steps, given.step, given.zero, *self.shape, some_map
        )
        self.zeros = torch.zeros(len(integers), dtype=torch.int64)
        self.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, relu: bool = True) -> Tensor:
        """(B, C, h, w) uint8 -> (B, O, h', w') uint8."""
        given, made = self.given, self.made
        return torch.ops.onednn.qconv_pointwise(
            x[..., :: self.step, :: self.step].contiguous(memory_format=torch.channels_last),
            given.step,
            given.zero,
            self.packed,
            self.steps,
            self.zeros,
            self.bias,
            *self.shape,
            made.step,
            made.zero,
            torch.uint8,
            "relu" if relu else "none",
            [],
            "",
        )

    def onto(self, shortcut: Tensor, scale: Scale, x: Tensor) -> Tensor:
        """ReLU of the convolution plus `shortcut`, whose memory is used up."""
        given, made = self.given, self.made
        return torch.ops.onednn.qconv2d_pointwise.binary(
            x,
            given.step,
            given.zero,
            self.packed,
            self.steps,
            self.zeros,
            shortcut,
            self.bias,
            *self.shape,
            made.step,
            made.zero,
            torch.uint8,
            scale.step,
            scale.zero,
            "sum",
            1.0,
            "relu",
            [],
            "",
        )


class Int8Block(nn.Module):
    """A residual block, basic or bottleneck."""

    def __init__(self, block: nn.Module, ranges: Ranges) -> None:
        """Of a float block whose norms are folded."""
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
        self.given, self.made = scales[0], scales[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) uint8, whose memory may be used up, -> (B, O, h', w') uint8."""
        y = x
        for conv in self.convs[:-1]:
            y = conv(y)
        last = self.convs[-1]
        assert isinstance(last, Int8Conv)
        if self.shortcut is None:
            return last.onto(x, self.given, y)
        return last.onto(self.shortcut(x, relu=False), self.shortcut.made, y)


class Int8Stage(nn.Sequential):
    """A stage of a `ResNet` that takes and gives floats and computes in 8 bits between."""

    def __init__(self, stage: nn.Sequential, ranges: Ranges) -> None:
        """Of one whose norms are folded; `ranges` of its convolutions and blocks."""
        blocks = [Int8Block(block, ranges) for block in stage]
        super().__init__(*blocks)
        self.given, self.made = blocks[0].given, blocks[-1].made

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, O, h', w')."""
        x = x.contiguous(memory_format=torch.channels_last)
        return self.made.restore(super().forward(self.given.quantise(x)))
