"""Small random networks and images for tests."""

from dataclasses import replace

import torch

from aios.network.config import AiOSConfig, BackboneConfig, ImageConfig
from aios.network.model import AiOS
from aios.network.outputs import PrefixQueries
from aios.network.preprocessing import batch_images

SMALL = AiOSConfig(
    image=ImageConfig(short_side=64, long_side=96),
    backbone=BackboneConfig("basic", (1, 1, 2, 1), (8, 16, 16, 24), 8, (1, 2, 3)),
    num_levels=4,
    hidden_dim=64,
    num_heads=4,
    num_points=2,
    feedforward_dim=48,
    encoder_layers=2,
    locate_layers=2,
    refine_body_layers=2,
    refine_whole_body_layers=2,
    num_proposals=40,
    num_people=7,
    focal_length=300.0,
)
TINY = AiOSConfig(
    image=ImageConfig(short_side=64, long_side=96),
    backbone=BackboneConfig("bottleneck", (1, 1, 1), (4, 8, 8), 8, (2,)),
    num_levels=3,
    hidden_dim=32,
    num_heads=2,
    num_points=3,
    feedforward_dim=40,
    encoder_layers=1,
    locate_layers=1,
    refine_body_layers=1,
    refine_whole_body_layers=1,
    num_proposals=12,
    num_people=5,
    proposal_size=0.1,
    focal_length=300.0,
)
MOBILE = replace(
    SMALL,
    backbone=BackboneConfig(
        "inverted", (1, 2, 1, 1, 2, 1, 1), (4, 8, 8, 12, 12, 16, 24), 8, (2, 4, 6)
    ),
)


def random_model(config: AiOSConfig, seed: int, dtype: torch.dtype = torch.float32) -> AiOS:
    """All parameters random, none at a neutral initial value, and outputs in sane ranges."""
    model = AiOS(config)
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: torch.Tensor, scale: float) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=generator) * scale

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(noise(tensor, 0.3).exp())
            elif tensor.ndim >= 2:
                gain = 0.3 if name.endswith("layers.2.weight") else 1.0
                tensor.copy_(noise(tensor, gain * tensor[0].numel() ** -0.5))
            else:
                neutral = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                neutral = 1.0 if ".bn" in name and name.endswith("weight") else neutral
                tensor.copy_(neutral + noise(tensor, 0.2))
        for attn in model.modules():
            if hasattr(attn, "sampling_offsets"):
                attn.sampling_offsets.bias.copy_(noise(attn.sampling_offsets.bias, 2.0))
        for heads in model.decoder.heads.layers:
            if heads.smplx is not None:
                heads.smplx.weak_camera.last.bias[0] = 1.0
    return model.to(dtype).eval()


def random_images(sizes_hw, seed: int, dtype: torch.dtype = torch.float32):
    """A batch of noise, padded if the sizes differ."""
    generator = torch.Generator().manual_seed(seed)
    return batch_images([torch.randn(3, h, w, generator=generator).to(dtype) for h, w in sizes_hw])


def random_prefix(config, batch: int, count: int, seed: int, dtype=torch.float32) -> PrefixQueries:
    """Prefix queries with a random mask among each other."""
    generator = torch.Generator().manual_seed(seed)
    blocked = torch.rand(batch, count, count, generator=generator) < 0.5
    blocked &= ~torch.eye(count, dtype=torch.bool)
    return PrefixQueries(
        torch.randn(batch, count, config.hidden_dim, generator=generator).to(dtype),
        (torch.rand(batch, count, 4, generator=generator) * 0.5 + 0.2).to(dtype),
        blocked,
    )
