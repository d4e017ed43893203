"""The readable twin from queries to what every layer says of people."""

import math

import torch
import torch.nn.functional as F

from aios.network.outputs import LayerAttention, LayerOutput, SmplxOutput
from tests.helpers.twin_image import best, deformable, offsets, point_weights, sine, take

JOINTS = list(range(1, 18))
BOXES = {1: [0], 21: [0, 18, 19, 20], 39: [0, 18, 25, 32]}
POINTS = {39: (list(range(19, 25)), list(range(26, 32)), list(range(33, 39)))}
HAND_TOKENS = {
    21: ([18], [19]),
    39: ([0, 18, *range(19, 25), 25], [0, 18, 25, *range(26, 32)]),
}
FACE_TOKENS = {21: [20], 39: [0, 32, *range(33, 39)]}
STAGES = {1: "locate", 21: "refine_body", 39: "refine_whole_body"}


def logit(x):
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=1e-3) / (1 - x).clamp(min=1e-3))


def person_mask(people, tokens, blocked):
    """(B, n, n) bool, True where the row may attend to the column.

    One's own person, and boxes to boxes; with `blocked` (B, N, N) that many tokens come first,
    which see all people, are seen by nobody, and see each other as it says.
    """
    total = people * tokens
    allowed = torch.zeros(total, total, dtype=torch.bool)
    for person in range(people):
        own = slice(person * tokens, (person + 1) * tokens)
        allowed[own, own] = True
    boxes = torch.tensor([p * tokens + b for p in range(people) for b in BOXES[tokens]])
    allowed[boxes[:, None], boxes] = True
    if blocked is None:
        return allowed[None]
    batch, count = blocked.shape[:2]
    whole = torch.zeros(batch, count + total, count + total, dtype=torch.bool)
    whole[:, count:, count:] = allowed
    whole[:, :count, count:] = True
    whole[:, :count, :count] = ~blocked
    return whole


def dense_attention(attn, x, position, allowed):
    width = x.shape[-1]
    size = width // attn.heads
    query_weight, key_weight, value_weight = attn.in_proj_weight.split(width)
    query_bias, key_bias, value_bias = attn.in_proj_bias.split(width)
    q = F.linear(x + position, query_weight, query_bias).unflatten(-1, (attn.heads, size))
    k = F.linear(x + position, key_weight, key_bias).unflatten(-1, (attn.heads, size))
    v = F.linear(x, value_weight, value_bias).unflatten(-1, (attn.heads, size))
    scores = torch.einsum("bqhc,bkhc->bhqk", q, k) / math.sqrt(size)
    weights = scores.masked_fill(~allowed[:, None], -torch.inf).softmax(-1)
    return attn.out_proj(torch.einsum("bhqk,bkhc->bqhc", weights, v).flatten(2))


def decode(decoder, encoded, content, boxes, prefix, choice):
    """Runs on lists of tokens: first the prefix, then person after person."""
    blocked, skip = None, 0
    if prefix is not None:
        blocked, skip = prefix.blocked, prefix.content.shape[1]
        content = torch.cat([prefix.content, content], 1)
        boxes = torch.cat([prefix.boxes, boxes], 1)
    outputs, attention, selected, tokens = [], [], None, 1
    for index, layer in enumerate(decoder.layers):
        if index in (decoder.first_body, decoder.first_whole_body):
            heads, whole_body = decoder.heads.layers[index - 1], index != decoder.first_body
            rest, rest_boxes = content[:, skip:], boxes[:, skip:]
            if not whole_body:
                scores = heads.class_logits(rest).amax(-1)
                selected = best(scores, decoder.num_people, choice and choice.selected_queries)
                grown = grow_body(
                    decoder.body_expansion, take(rest, selected), take(rest_boxes, selected)
                )
            else:
                grown = grow_whole_body(decoder.whole_body_expansion, rest, rest_boxes)
            tokens = 39 if whole_body else 21
            content = torch.cat([content[:, :skip], grown[0]], 1)
            boxes = torch.cat([boxes[:, :skip], grown[1]], 1)
        content, sampling = decoder_layer(decoder, layer, encoded, content, boxes, tokens, blocked)
        normal = decoder.norm(content)
        refined = refine(decoder.heads, index, normal, boxes, tokens, skip)
        outputs.append(describe(decoder.heads.layers[index], normal, refined, tokens, skip))
        attention.append(
            LayerAttention(
                STAGES[tokens],
                boxes[:, skip:],
                sampling[0][:, skip:] / encoded.valid_ratios[:, None, None, :, None],
                sampling[1][:, skip:],
            )
        )
        # The next layer's references come from the tokens without the norm.
        boxes = refine(decoder.heads, index, content, boxes, tokens, skip).detach()
    return outputs, attention, selected


def decoder_layer(decoder, layer, encoded, x, boxes, tokens, blocked):
    skip = 0 if blocked is None else blocked.shape[1]
    ratios = torch.cat([encoded.valid_ratios, encoded.valid_ratios], -1)
    on_levels = boxes[:, :, None] * ratios[:, None]
    half = x.shape[-1] // 2
    first = (on_levels[:, :, 0] * (2 * math.pi)).float()
    code = torch.cat([sine(first[..., i], half, 10000.0) for i in (1, 0, 2, 3)], -1)
    position = decoder.position_mlp(code.to(x.dtype))
    allowed = person_mask((x.shape[1] - skip) // tokens, tokens, blocked)
    x = layer.norm2(x + dense_attention(layer.self_attn, x, position, allowed))
    attn, query = layer.cross_attn, x + position
    box = on_levels[:, :, None, :, None]
    places = box[..., :2] + offsets(attn, query) / attn.points * box[..., 2:] * 0.5
    weights = point_weights(attn, query)
    mask = encoded.padding_mask
    if mask is None:
        mask = torch.zeros(encoded.memory.shape[:2], dtype=torch.bool)
    seen = deformable(attn, encoded.memory, mask, encoded.spatial_shapes, places, weights)
    x = layer.norm1(x + seen)
    return layer.norm3(x + layer.linear2(F.relu(layer.linear1(x)))), (places, weights)


def grow(table, content, boxes, centre):
    """One parent each (B, P, D), (B, P, 4) -> K children (B, P, K, ...)."""
    contents, grown = [], []
    for extra, size in zip(table.content, table.size_logits, strict=True):
        child = content + extra
        xy = (logit(boxes[..., :2]) + centre(child)).sigmoid()
        contents.append(child)
        grown.append(torch.cat([xy, size.sigmoid() * boxes[..., 2:]], -1))
    return torch.stack(contents, 2), torch.stack(grown, 2)


def grow_body(growth, content, boxes):
    """(B, P, D) -> (B, P * 21, D), and boxes."""
    parts = [
        (content[:, :, None], boxes[:, :, None]),
        grow(growth.joints, content, boxes, growth.joint_centre),
        grow(growth.left_hand, content, boxes, growth.hand_box_centre),
        grow(growth.right_hand, content, boxes, growth.hand_box_centre),
        grow(growth.face, content, boxes, growth.face_box_centre),
    ]
    return tuple(torch.cat(part, 2).flatten(1, 2) for part in zip(*parts, strict=True))


def grow_whole_body(growth, content, boxes):
    """(B, P * 21, D) -> (B, P * 39, D), and boxes."""
    content, boxes = content.unflatten(1, (-1, 21)), boxes.unflatten(1, (-1, 21))
    left = grow(growth.left_hand, content[:, :, 18], boxes[:, :, 18], growth.hand_point_centre)
    right = grow(growth.right_hand, content[:, :, 19], boxes[:, :, 19], growth.hand_point_centre)
    face = grow(growth.face, content[:, :, 20], boxes[:, :, 20], growth.face_point_centre)
    parts = [(content[:, :, :19], boxes[:, :, :19]), left]
    parts += [(content[:, :, 19:20], boxes[:, :, 19:20]), right]
    parts += [(content[:, :, 20:21], boxes[:, :, 20:21]), face]
    return tuple(torch.cat(part, 2).flatten(1, 2) for part in zip(*parts, strict=True))


def refine(all_heads, index, x, boxes, tokens, skip):
    """sigmoid(logit(box) + delta) of every token, prefix tokens as body boxes."""
    heads = all_heads.layers[index]
    delta = torch.empty_like(boxes)
    delta[:, :skip] = heads.body_box(x[:, :skip])
    people, of_people = x[:, skip:].unflatten(1, (-1, tokens)), delta[:, skip:]
    of_people = of_people.unflatten(1, (-1, tokens)).clone()
    of_people[:, :, 0] = heads.body_box(people[:, :, 0])
    rules = []
    if tokens > 1:
        _, left, right, face = BOXES[tokens]
        rules.append((JOINTS, heads.joint_centre, all_heads.joint_size))
        rules.append(([left, right], heads.hand_box_centre, heads.hand_box_size))
        rules.append(([face], heads.face_box_centre, heads.face_box_size))
    if tokens == 39:
        left, right, face = POINTS[39]
        rules.append((left + right, heads.hand_point_centre, all_heads.hand_point_size))
        rules.append((face, heads.face_point_centre, all_heads.face_point_size))
    for where, centre, size in rules:
        part = people[:, :, where]
        of_people[:, :, where] = torch.cat([centre(part), size(part)], -1)
    delta = torch.cat([delta[:, :skip], of_people.flatten(1, 2)], 1)
    return (logit(boxes) + delta).sigmoid()


def describe(heads, x, refined, tokens, skip):
    """What a layer reports, from normed tokens and the boxes refined with them."""
    people = x[:, skip:].unflatten(1, (-1, tokens))
    boxes = refined[:, skip:].unflatten(1, (-1, tokens))
    values = {"class_logits": heads.class_logits(people[:, :, 0]), "boxes": boxes[:, :, 0]}
    if skip:
        values["prefix_class_logits"] = heads.class_logits(x[:, :skip])
        values["prefix_boxes"] = refined[:, :skip]
    if tokens > 1:
        _, left, right, face = BOXES[tokens]
        values["left_hand_boxes"] = boxes[:, :, left]
        values["right_hand_boxes"] = boxes[:, :, right]
        values["face_boxes"] = boxes[:, :, face]
        values["keypoints_2d"] = boxes[:, :, JOINTS, :2]
        values["smplx"] = smplx(heads.smplx, people, tokens)
    if tokens == 39:
        left, right, face = POINTS[39]
        values["left_hand_keypoints_2d"] = boxes[:, :, left, :2]
        values["right_hand_keypoints_2d"] = boxes[:, :, right, :2]
        values["face_keypoints_2d"] = boxes[:, :, face, :2]
    return LayerOutput(STAGES[tokens], **values)


def smplx(heads, people, tokens):
    left_hand, right_hand = HAND_TOKENS[tokens]
    body = people[:, :, [0, *JOINTS, *BOXES[tokens][1:]]].flatten(2)
    face = people[:, :, FACE_TOKENS[tokens]].flatten(2)
    return SmplxOutput(
        body_rotmat=rotations(heads.body_pose(body)),
        left_hand_rotmat=rotations(heads.hand_pose(people[:, :, left_hand].flatten(2))),
        right_hand_rotmat=rotations(heads.hand_pose(people[:, :, right_hand].flatten(2))),
        jaw_rotmat=rotations(heads.jaw_pose(face)),
        betas=heads.betas(body),
        expression=heads.expression(face),
        weak_camera=heads.weak_camera(body),
    )


def rotations(numbers):
    """(..., J * 6) -> (..., J, 3, 3), columns made orthogonal one after the other."""
    x = numbers.unflatten(-1, (-1, 6))
    a1, a2 = x[..., [0, 2, 4]], x[..., [1, 3, 5]]
    b1 = a1 / a1.norm(dim=-1, keepdim=True)
    b2 = a2 - (b1 * a2).sum(-1, keepdim=True) * b1
    b2 = b2 / b2.norm(dim=-1, keepdim=True)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], -1)
