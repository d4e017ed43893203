"""The readable twin up to the image tokens, and what its decoder shares with that."""

import math

import torch
import torch.nn.functional as F

from aios.network.outputs import EncodedImage


def batch_norm(norm, x):
    spread = torch.sqrt(norm.running_var + 1e-5)
    normal = (x - norm.running_mean[:, None, None]) / spread[:, None, None]
    return normal * norm.weight[:, None, None] + norm.bias[:, None, None]


def block(unit, x):
    shortcut = x
    if unit.downsample is not None:
        shortcut = batch_norm(unit.downsample[1], unit.downsample[0](x))
    x = F.relu(batch_norm(unit.bn1, unit.conv1(x)))
    x = batch_norm(unit.bn2, unit.conv2(x))
    if hasattr(unit, "conv3"):
        x = batch_norm(unit.bn3, unit.conv3(F.relu(x)))
    return F.relu(x + shortcut)


def inverted_residual(unit, x):
    *expanded, reduce, norm = unit.conv
    y = x
    for conv, own_norm, _ in expanded:
        y = batch_norm(own_norm, conv(y)).clamp(0, 6)
    y = batch_norm(norm, reduce(y))
    stays = x.shape[1] == y.shape[1] and expanded[-1][0].stride == (1, 1)
    return x + y if stays else y


def mobilenet(network, config, pixels):
    conv, norm, _ = network.features[0]
    x = batch_norm(norm, conv(pixels)).clamp(0, 6)
    features, number = [], 1
    for depth in config.depths:
        for _ in range(depth):
            x = inverted_residual(network.features[number], x)
            number += 1
        features.append(x)
    return [features[stage] for stage in config.feature_stages]


def backbone(network, config, pixels):
    if config.block == "inverted":
        return mobilenet(network, config, pixels)
    return resnet(network, pixels)


def resnet(network, pixels):
    x = F.relu(batch_norm(network.bn1, network.conv1(pixels)))
    x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    features = []
    for stage in range(max(network.feature_stages) + 1):
        for unit in getattr(network, f"layer{stage + 1}"):
            x = block(unit, x)
        features.append(x)
    return [features[stage] for stage in network.feature_stages]


def levels(projections, features):
    result = []
    for index, (conv, norm) in enumerate(projections):
        if index < len(features):
            source = features[index]
        else:
            source = features[-1] if index == len(features) else result[-1]
        result.append(norm(conv(source)))
    return result


def level_mask(mask, shape):
    """Nearest neighbour, as `interpolate` has it."""
    return F.interpolate(mask[:, None].float(), size=shape)[:, 0] > 0.5


def sine(angle, channels, temperature):
    """Channel by channel: even sine, odd cosine of the same period."""
    parts = []
    for i in range(channels):
        period = torch.tensor(temperature) ** torch.tensor(2 * (i // 2) / channels)
        parts.append(torch.sin(angle / period) if i % 2 == 0 else torch.cos(angle / period))
    return torch.stack(parts, -1)


def image_position(mask, channels):
    """(B, h, w) -> (B, h, w, D), in float32 whatever the network is in."""
    valid = (~mask).float()
    count_y, count_x = valid.cumsum(1), valid.cumsum(2)
    y = count_y / (count_y[:, -1:, :] + 1e-6) * (2 * math.pi)
    x = count_x / (count_x[:, :, -1:] + 1e-6) * (2 * math.pi)
    return torch.cat([sine(y, channels // 2, 20.0), sine(x, channels // 2, 20.0)], -1)


def encode(model, features, padding_mask):
    batch, width = features[0].shape[:2]
    shapes = tuple(tuple(level.shape[-2:]) for level in features)
    if padding_mask is None:
        masks = [torch.zeros(batch, *shape, dtype=torch.bool) for shape in shapes]
    else:
        masks = [level_mask(padding_mask, shape) for shape in shapes]
    ratios = torch.stack(
        [
            torch.stack([(~m[:, 0]).sum(1) / m.shape[2], (~m[:, :, 0]).sum(1) / m.shape[1]], -1)
            for m in masks
        ],
        1,
    )
    x = torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in features], 1)
    position = torch.cat(
        [
            image_position(mask, width).flatten(1, 2) + model.encoder.level_embed[level]
            for level, mask in enumerate(masks)
        ],
        1,
    ).to(x.dtype)
    mask = torch.cat([mask.flatten(1) for mask in masks], 1)
    places = []
    for level, (h, w) in enumerate(shapes):
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centre = torch.stack([columns.flatten(), rows.flatten()], -1) + 0.5
        places.append(centre / (ratios[:, level, None] * torch.tensor([w, h])))
    references = (torch.cat(places, 1)[:, :, None] * ratios[:, None]).to(x.dtype)
    for layer in model.encoder.layers:
        query = x + position
        places = references[:, :, None, :, None] + offsets(layer.self_attn, query) / torch.tensor(
            [[w, h] for h, w in shapes], dtype=x.dtype
        ).view(1, 1, 1, -1, 1, 2)
        weights = point_weights(layer.self_attn, query)
        x = layer.norm1(x + deformable(layer.self_attn, x, mask, shapes, places, weights))
        x = layer.norm2(x + layer.linear2(F.relu(layer.linear1(x))))
    return EncodedImage(x, None if padding_mask is None else mask, shapes, ratios.to(x.dtype))


def offsets(attn, query):
    shape = (*query.shape[:2], attn.heads, attn.levels, attn.points, 2)
    return attn.sampling_offsets(query).view(shape)


def point_weights(attn, query):
    batch, count = query.shape[:2]
    logits = attn.attention_weights(query).view(batch, count, attn.heads, -1)
    return logits.softmax(-1).view(batch, count, attn.heads, attn.levels, attn.points)


def deformable(attn, memory, mask, shapes, places, weights):
    """Places (B, Q, H, L, N, 2) on tokens (B, S, D) -> (B, Q, D)."""
    batch, queries = places.shape[:2]
    value = attn.value_proj(memory).masked_fill(mask[..., None], 0.0)
    per_level = value.split([h * w for h, w in shapes], 1)
    samples = []
    for level, (h, w) in enumerate(shapes):
        # (B, hw, D) -> (B * H, C, h, w)
        table = per_level[level].transpose(1, 2).reshape(batch * attn.heads, -1, h, w)
        grid = 2 * places[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(
            F.grid_sample(table, grid, "bilinear", padding_mode="zeros", align_corners=False)
        )
    # (B * H, C, Q, L * N) weighted by (B * H, 1, Q, L * N)
    share = weights.transpose(1, 2).reshape(batch * attn.heads, 1, queries, -1)
    mixed = (torch.stack(samples, -2).flatten(-2) * share).sum(-1)
    return attn.output_proj(mixed.view(batch, -1, queries).transpose(1, 2))


def best(scores, count, chosen):
    """Places of the `count` highest of (B, S), or those `chosen` if they are that."""
    if chosen is None:
        return scores.argsort(1, descending=True)[:, :count]
    wanted = scores.sort(1, descending=True).values[:, :count]
    torch.testing.assert_close(scores.gather(1, chosen), wanted, atol=1e-5, rtol=0)
    return chosen


def take(values, indices):
    return torch.stack([row[index] for row, index in zip(values, indices, strict=True)])
