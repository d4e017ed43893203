"""bf16 layers whose steps between the products are fused (see `fused`), for inference.

Each takes over the parts of a plain layer and gives the same results up to rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.decoder_layer import DecoderLayer
from ..network.deformable_attention import DeformableAttention
from ..network.encoder import EncoderLayer, LevelContext
from ..network.outputs import EncodedImage
from ..network.queries import TokenLayout
from ..network.resnet import ResNet, StridedPointwise
from ..network.sampling import Sampling
from .fused import add_norm, add_relu_, linear_relu
from .kernel_attention import KernelDeformableAttention


class Bf16Conv(nn.Module):
    """A convolution, then bias, shortcut and ReLU in one pass."""

    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        """Convert a float convolution that has a bias."""
        super().__init__()
        assert conv.bias is not None
        self.register_buffer("bias", conv.bias.detach().clone())
        conv.bias = None
        self.conv = conv.to(torch.bfloat16)

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> (B, O, h', w') bf16."""
        return add_relu_(self.conv(x), self.bias, shortcut)


class Bf16Block(nn.Module):
    """A residual block, basic or bottleneck."""

    def __init__(self, block: nn.Module) -> None:
        """Convert a float block with folded batch norm."""
        super().__init__()
        convs = [layer for _, layer in block.named_children() if isinstance(layer, nn.Conv2d)]
        self.convs = nn.ModuleList(Bf16Conv(conv) for conv in convs)
        self.downsample: nn.Module | None = None
        for conv in (m for m in block.modules() if isinstance(m, StridedPointwise)):
            # Its bias is added together with that of the last convolution.
            assert conv.bias is not None
            last = self.convs[-1]
            assert isinstance(last, Bf16Conv)
            last.bias += conv.bias.detach()
            conv.bias = None
            self.downsample = conv.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) bf16 -> (B, O, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        for conv in self.convs[:-1]:
            x = conv(x)
        return self.convs[-1](x, shortcut)


class Bf16ResNet(ResNet):
    """A backbone that takes any float dtype and returns bf16."""

    def __init__(self, backbone: ResNet) -> None:
        """Convert a float backbone with folded batch norm."""
        nn.Module.__init__(self)
        self.feature_stages = backbone.feature_stages
        self.stage_channels = backbone.stage_channels
        self.stem = Bf16Conv(backbone.conv1)
        for number, stage in enumerate(backbone.stages(), start=1):
            self.add_module(f"layer{number}", nn.Sequential(*(Bf16Block(block) for block in stage)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> one (B, C, h, w) for each of `feature_stages`."""
        # Bias and ReLU commute with max pooling, and there are fewer pixels after it.
        images = images.to(torch.bfloat16, memory_format=torch.channels_last)
        x = F.max_pool2d(self.stem.conv(images), 3, 2, 1)
        return self.run_stages(add_relu_(x, self.stem.bias))


class Bf16DeformableAttention(KernelDeformableAttention):
    """Offsets and weights come from one product, in float32."""

    def __init__(self, plain: DeformableAttention) -> None:
        """Take over a module whose `value_proj` and `output_proj` take any float dtype."""
        super().__init__(plain)
        parts = plain.sampling_offsets, plain.attention_weights
        del self.sampling_offsets, self.attention_weights
        self.output_sizes = [part.out_features for part in parts]
        self.offsets_and_logits = nn.Linear(parts[0].in_features, sum(self.output_sizes))
        for name in ("weight", "bias"):
            joined = torch.cat([part.get_parameter(name).detach() for part in parts])
            setattr(self.offsets_and_logits, name, nn.Parameter(joined, requires_grad=False))

    def offsets_and_weights(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As the plain form."""
        offsets, logits = self.offsets_and_logits(queries).split(self.output_sizes, -1)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1)
        shape = (self.heads, self.levels, self.points)
        return offsets.unflatten(-1, (*shape, 2)), weights.unflatten(-1, shape[1:])


class Bf16EncoderLayers(nn.Module):
    """All encoder layers as one module; the bf16 copy of the tokens passes between them."""

    def __init__(self, layers: list[EncoderLayer]) -> None:
        """Take over layers whose large products take any float dtype."""
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens: Tensor, position: Tensor, context: LevelContext) -> Tensor:
        """Tokens and position (B, S, D) -> (B, S, D)."""
        half = tokens.to(torch.bfloat16)
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            attended, _ = layer.self_attn(
                tokens + position,
                context.reference_points,
                half,
                context.padding_mask,
                context.spatial_shapes,
            )
            tokens, half = add_norm(tokens, attended, layer.norm1)
            update = layer.linear2(linear_relu(half, layer.linear1))
            tokens, half = add_norm(tokens, update, layer.norm2)
        return tokens


class Bf16DecoderLayer(DecoderLayer):
    """A decoder layer with fused steps."""

    def __init__(self, layer: DecoderLayer) -> None:
        """Take over a layer whose large products take any float dtype."""
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
    ) -> tuple[Tensor, Sampling]:
        """As the plain form."""
        tokens, _ = add_norm(tokens, self.self_attn(tokens, position, layout, blocked), self.norm2)
        attended, sampling = self.cross_attn(
            tokens + position,
            boxes,
            encoded.memory,
            encoded.padding_mask,
            encoded.spatial_shapes,
        )
        tokens, half = add_norm(tokens, attended, self.norm1)
        tokens, _ = add_norm(tokens, self.linear2(linear_relu(half, self.linear1)), self.norm3)
        return tokens, sampling
