"""Large products in 8-bit integers, for CPUs that have instructions for them.

Activations are unsigned with one scale a tensor, weights signed with one scale an output channel;
sums are exact 32-bit integers.  The products themselves are oneDNN's, which comes inside torch.
Scales of what stays 8-bit from one product to the next are measured once, on example pictures
(`Ranges`); all other products take the range of what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import StridedPointwise
from .decoder_layer import DecoderLayer
from .encoder import EncoderLayer
from .image import batch_images, prepare_photo
from .model import AiOS

_TEST_TOLERANCE = 0.1
_FIRST_STAGE = 1
_SOME_SIDE = 32
_NUMBERS_AT_ONCE = 1 << 18
_EXAMPLE_SIDE = 320
"""Short side of example pictures, pixels: ranges depend little on it, the time much."""


@dataclass(frozen=True)
class Scale:
    """Numbers as 0-255: number = (integer - zero) * step."""

    step: float
    zero: int

    @classmethod
    def spanning(cls, low: float, high: float) -> Self:
        """Reaches from `low` to `high`, and 0 is among its numbers."""
        low, high = min(low, 0.0), max(high, 0.0)
        # One integer is spared, lest the end that 0 is not rounded to comes to lie outside.
        step = max((high - low) / 254, 1e-12)
        return cls(step, round(-low / step))

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Reaches from the least to the greatest value."""
        low, high = torch.aminmax(values)
        return cls.spanning(float(low), float(high))

    def quantise(self, values: Tensor, within: bool = False) -> Tensor:
        """Nearest uint8; what is out of reach becomes the end of it.

        Args:
            values: float32 of any shape.
            within: nothing is out of reach, which saves looking.
        """
        convert = self._nearest if within else self._nearest_or_end
        return self._in_parts(convert, values, torch.uint8)

    def restore(self, integers: Tensor) -> Tensor:
        """The float32 numbers that uint8 stand for."""
        return self._in_parts(self._restored, integers, torch.float32)

    def _nearest(self, values: Tensor) -> Tensor:
        # The cast rounds down, hence half a step more.
        return torch.add(self._middle, values, alpha=1 / self.step).to(torch.uint8)

    def _nearest_or_end(self, values: Tensor) -> Tensor:
        shifted = torch.add(self._middle, values, alpha=1 / self.step)
        return shifted.clamp_(0, 255).to(torch.uint8)

    @property
    def _middle(self) -> Tensor:
        return torch.tensor(self.zero + 0.5)

    def _restored(self, integers: Tensor) -> Tensor:
        return integers.float().sub_(self.zero).mul_(self.step)

    @staticmethod
    def _in_parts(
        convert: Callable[[Tensor], Tensor], values: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Some numbers at a time, in their order in memory: what is in work stays in the cache."""
        usual, last = torch.contiguous_format, torch.channels_last
        if not values.is_contiguous(memory_format=last if values.ndim == 4 else usual):
            values = values.contiguous()
        result = torch.empty_like(values, dtype=dtype)
        flat = values.as_strided((values.numel(),), (1,))
        made = result.as_strided((values.numel(),), (1,))
        for start in range(0, len(flat), _NUMBERS_AT_ONCE):
            part = slice(start, start + _NUMBERS_AT_ONCE)
            made[part] = convert(flat[part])
        return result


class Ranges:
    """Least and greatest number into and out of modules, over all their calls while it watches."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Watch `modules` until `close`."""
        self._seen: dict[tuple[nn.Module, str], tuple[float, float]] = {}
        self._hooks = []
        for module in modules:
            self._hooks += [
                module.register_forward_pre_hook(lambda m, x: self._see(m, "in", x[0])),
                module.register_forward_hook(lambda m, _, y: self._see(m, "out", y)),
            ]

    def _see(self, module: nn.Module, end: str, values: Tensor) -> None:
        low, high = (float(bound) for bound in torch.aminmax(values))
        before = self._seen.get((module, end), (low, high))
        self._seen[module, end] = min(low, before[0]), max(high, before[1])

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def into(self, module: nn.Module) -> Scale:
        """Scale for what goes into `module`."""
        low, high = self._seen[module, "in"]
        return Scale.spanning(low, high)

    def out_of(self, module: nn.Module, relu: bool = False) -> Scale:
        """Scale for what comes out of `module`, or out of a ReLU behind it."""
        low, high = self._seen[module, "out"]
        return Scale.spanning(0.0 if relu else low, high)


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


def why_not() -> str | None:
    """What this machine lacks for 8-bit products, or None where they work, tried on a small one."""
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return "this CPU has no 8-bit instructions (VNNI)"
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(8, 64, generator=generator) for _ in range(2))
    bias = torch.zeros(8)
    try:
        found = Int8Linear(weight, bias)(x)
    except (RuntimeError, AttributeError) as error:
        return f"8-bit products fail here ({str(error).splitlines()[0]})"
    wanted = F.linear(x, weight, bias)
    if bool((found - wanted).norm() > _TEST_TOLERANCE * wanted.norm()):
        return "8-bit products come out wrong on this CPU"
    return None


@torch.inference_mode()
def quantise(model: AiOS, pictures: Sequence[np.ndarray]) -> None:
    """Turn the large products of a network on the CPU to 8 bits, in place and for good.

    These are the backbone from its second stage on, the encoder but for what its attention gives
    out, and the values and feed-forwards of the decoder.  The rest would cost more accuracy than it
    saves time: rounding is felt most on the narrow maps of the first stage and next to the answers.

    Args:
        model: in evaluation mode, its batch norm folded.
        pictures: (H, W, 3) RGB uint8 examples with people; the more they differ the better.
    """
    resnet = model.backbone
    stages = resnet.stages()[_FIRST_STAGE:]
    encoder = [layer for layer in model.encoder.layers if isinstance(layer, EncoderLayer)]
    decoder = [layer for layer in model.decoder.layers if isinstance(layer, DecoderLayer)]
    layers: list[EncoderLayer | DecoderLayer] = [*encoder, *decoder]
    watched: list[nn.Module] = [layer.linear2 for layer in layers]
    for stage in stages:
        watched += stage.children()
        watched += [module for module in stage.modules() if isinstance(module, nn.Conv2d)]
    image = model.config.image
    small = replace(image, short_side=min(image.short_side, _EXAMPLE_SIDE))
    ranges = Ranges(watched)
    for picture in pictures:
        model(batch_images([prepare_photo(picture, small)]))
    ranges.close()
    for number, stage in enumerate(stages, start=_FIRST_STAGE + 1):
        resnet.register_module(f"layer{number}", Int8Stage(stage, ranges))
    for layer in layers:
        hidden = ranges.into(layer.linear2)
        _replace(layer, "linear1", Int8Linear.of(layer.linear1, made=hidden))
        _replace(layer, "linear2", Int8Linear.of(layer.linear2, given=hidden))
    for block in encoder:
        attn = block.self_attn
        attn.joint = Int8Linear(*attn.joint_weights())
        _replace(attn, "value_proj", Int8Linear.of(attn.value_proj))
    model.decoder.joint_values = Int8Linear(*model.decoder.joint_value_weights())


def _replace(parent: nn.Module, name: str, module: nn.Module) -> None:
    delattr(parent, name)
    parent.register_module(name, module)
