"""Layers of a network in bf16 whose steps between the products are fused (see `fused`).

Each takes over the parts of a plain layer and gives its numbers up to rounding; for inference only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.decoder_layer import DecoderLayer, LayerValues
from ..network.deformable_attention import DeformableAttention
from ..network.encoder import EncoderLayer, Surroundings
from ..network.outputs import EncodedImage
from ..network.queries import TokenLayout
from ..network.resnet import ResNet, StridedPointwise
from ..network.sampling import Sampling
from .fused import HALF, add_norm, add_relu_, linear_relu


class HalfConv(nn.Module):
    """A convolution, then bias, shortcut and ReLU in one pass."""

    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        """Of a float one that has a bias."""
        super().__init__()
        assert conv.bias is not None
        self.register_buffer("bias", conv.bias.detach().clone())
        conv.bias = None
        self.conv = conv.to(HALF)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, O, h', w') bf16."""
        return add_relu_(self.conv(x), self.bias, shortcut)


class HalfBlock(nn.Module):
    """A residual block, basic or bottleneck."""

    def __init__(self, block: nn.Module) -> None:
        """Of a float block whose norms are folded."""
        super().__init__()
        convs = [layer for _, layer in block.named_children() if isinstance(layer, nn.Conv2d)]
        self.convs = nn.ModuleList(HalfConv(conv) for conv in convs)
        self.downsample: nn.Module | None = None
        for conv in (m for m in block.modules() if isinstance(m, StridedPointwise)):
            # Its bias is added with that of the convolution that it is added to.
            assert conv.bias is not None
            last = self.convs[-1]
            assert isinstance(last, HalfConv)
            last.bias += conv.bias.detach()
            conv.bias = None
            self.downsample = conv.to(HALF)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) bf16 -> (B, O, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        for conv in self.convs[:-1]:
            x = conv(x)
        return self.convs[-1](x, shortcut)


class HalfResNet(ResNet):
    """A whole backbone; takes any kind of float and gives bf16."""

    def __init__(self, backbone: ResNet) -> None:
        """Of a float one whose norms are folded."""
        nn.Module.__init__(self)
        self.feature_stages = backbone.feature_stages
        self.stage_channels = backbone.stage_channels
        self.stem = HalfConv(backbone.conv1)
        for number, stage in enumerate(backbone.stages(), start=1):
            self.add_module(f"layer{number}", nn.Sequential(*(HalfBlock(block) for block in stage)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of `feature_stages`."""
        # A bias and a ReLU do not change which pixel is the largest: less of them after pooling.
        images = images.to(HALF, memory_format=torch.channels_last)
        x = F.max_pool2d(self.stem.conv(images), 3, 2, 1)
        return self.features_of(add_relu_(x, self.stem.bias))


class HalfAttention(DeformableAttention):
    """Offsets and weights come from one product, in float32."""

    def __init__(self, attn: DeformableAttention) -> None:
        """Of one whose `value_proj` and `output_proj` take any kind of float."""
        nn.Module.__init__(self)
        self.heads, self.levels, self.points = attn.heads, attn.levels, attn.points
        self.value_proj, self.output_proj, self.joint = attn.value_proj, attn.output_proj, None
        parts = attn.sampling_offsets, attn.attention_weights
        self.sizes = [part.out_features for part in parts]
        self.offsets_and_logits = nn.Linear(parts[0].in_features, sum(self.sizes))
        for name in ("weight", "bias"):
            joined = torch.cat([part.get_parameter(name).detach() for part in parts])
            setattr(self.offsets_and_logits, name, nn.Parameter(joined, requires_grad=False))

    def offsets_and_weights(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As the plain one."""
        offsets, logits = self.offsets_and_logits(queries).split(self.sizes, -1)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1)
        places = (self.heads, self.levels, self.points)
        return offsets.unflatten(-1, (*places, 2)), weights.unflatten(-1, places[1:])


class HalfEncoderLayers(nn.Module):
    """All encoder layers as one; between them runs also the bf16 form of the tokens."""

    def __init__(self, layers: list[EncoderLayer]) -> None:
        """Take over layers whose large products take any kind of float."""
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens: Tensor, position: Tensor, around: Surroundings) -> Tensor:
        """Tokens and position (B, S, D) -> (B, S, D)."""
        half = tokens.to(HALF)
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            attn, places = layer.self_attn, around.reference_points
            value = attn.value(half, around.padding_mask)
            sampling = attn.around_points(tokens + position, places, around.shapes)
            seen = attn.gather(value, around.shapes, sampling)
            tokens, half = add_norm(tokens, seen, layer.norm1)
            update = layer.linear2(linear_relu(half, layer.linear1))
            tokens, half = add_norm(tokens, update, layer.norm2)
        return tokens


class HalfDecoderLayer(DecoderLayer):
    """A decoder layer."""

    def __init__(self, layer: DecoderLayer) -> None:
        """Take over one whose large products take any kind of float."""
        nn.Module.__init__(self)
        for name, part in layer.named_children():
            self.add_module(name, part)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        boxes: Tensor,
        encoded: EncodedImage,
        layout: TokenLayout,
        blocked: Tensor | None,
        values: LayerValues | None,
        keep_places: bool,
    ) -> tuple[Tensor, Sampling | None]:
        """As the plain one, without need of `values`."""
        tokens, _ = add_norm(tokens, self.self_attn(tokens, position, layout, blocked), self.norm2)
        attn = self.cross_attn
        value = attn.value(encoded.memory, encoded.padding_mask)
        sampling = attn.around_boxes(tokens + position, boxes)
        seen = attn.gather(value, encoded.spatial_shapes, sampling)
        tokens, half = add_norm(tokens, seen, self.norm1)
        tokens, _ = add_norm(tokens, self.linear2(linear_relu(half, self.linear1)), self.norm3)
        return tokens, sampling
