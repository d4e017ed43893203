"""Recorded attention equals that of the network and follows the attention masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aios.attention import (
    KEPT_PEOPLE,
    keep_attention,
    token_in_layer,
    token_names,
    watch_self_attention,
)
from aios.network.preprocessing import PhotoPlacement
from aios.network.queries import LOCATE, NAIVE_BODY, REFINE_BODY, REFINE_WHOLE_BODY
from tests.helpers.networks import SMALL, random_images, random_model

SLOTS = np.array([4, 0, 6])


def forward(config, sizes=((64, 96), (64, 64))):
    """Model, output, self-attention inputs, and self-attention outputs before projection."""
    model = random_model(config, 3)
    given = []
    for layer in model.decoder.layers:
        layer.self_attn.out_proj.register_forward_pre_hook(lambda _, x: given.append(x[0]))
    with torch.inference_mode(), watch_self_attention(model) as seen:
        output = model(random_images(sizes, 0), keep_attention=True)
    return model, output, seen, given


@pytest.fixture(scope="module")
def small():
    return forward(SMALL)


def test_sampling_equals_that_of_the_decoder(small):
    _, output, seen, _ = small
    kept = keep_attention(output, seen, 1, SLOTS)
    assert [layer.stage for layer in kept.layers] == [layer.stage for layer in output.attention]
    for ours, theirs in zip(kept.layers, output.attention, strict=True):
        tokens = len(ours.tokens)
        slots = output.selected_queries[1, SLOTS].numpy() if ours.stage == "locate" else SLOTS
        locations = theirs.sampling_locations[1].unflatten(0, (-1, tokens))[slots]
        weights = theirs.attention_weights[1].unflatten(0, (-1, tokens))[slots]
        boxes = theirs.reference_points[1].unflatten(0, (-1, tokens))[slots]
        np.testing.assert_array_equal(ours.boxes, boxes)
        np.testing.assert_allclose(ours.locations, locations, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(ours.weights, weights, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("form", ["aios", "inter_human"])
def test_self_attention_explains_the_output_of_the_decoder(form):
    """Attention weights times values equal the input of the output projection."""
    config = replace(SMALL, self_attention=form, num_heads=1)
    _, output, seen, given = forward(config, ((64, 96),))
    everyone = np.arange(config.num_people)
    layers = keep_attention(output, seen, 0, everyone).layers
    for ours, saw, mixed in list(zip(layers, seen, given, strict=True))[SMALL.locate_layers :]:
        count, tokens = ours.own.shape[:2]
        whole = np.zeros((count, tokens, count, tokens), np.float32)
        whole[everyone, :, everyone] = ours.own
        boxes = np.array(ours.box_tokens)
        whole[np.ix_(everyone, boxes, everyone, boxes)] += ours.others
        whole = whole.reshape(count * tokens, count * tokens)
        np.testing.assert_allclose(whole.sum(1), 1, atol=3e-3)
        width = saw.tokens.shape[-1]
        weight, bias = saw.attention.in_proj_weight, saw.attention.in_proj_bias
        with torch.inference_mode():
            values = F.linear(saw.tokens[0], weight[2 * width :], bias[2 * width :])
        np.testing.assert_allclose(whole @ values.numpy(), mixed[0], atol=0.02)


def test_full_attention_equals_that_of_pytorch():
    """In all layers of the form `full`, and in stage `locate` of any form."""
    config = replace(SMALL, self_attention="full")
    _, output, seen, _ = forward(config, ((64, 96),))
    layers = keep_attention(output, seen, 0, SLOTS).layers
    for ours, saw in zip(layers, seen, strict=True):
        attention, tokens = saw.attention, saw.tokens.transpose(0, 1)
        query = tokens + saw.position.transpose(0, 1)
        with torch.inference_mode():
            usual = F.multi_head_attention_forward(
                *(query, query, tokens, tokens.shape[-1], attention.heads),
                *(attention.in_proj_weight, attention.in_proj_bias, None, None, False, 0.0),
                *(attention.out_proj.weight, attention.out_proj.bias, False),
            )[1][0]
        size = len(ours.tokens)
        people = output.selected_queries[0, SLOTS].numpy() if ours.stage == "locate" else SLOTS
        among = usual.unflatten(1, (-1, size)).unflatten(0, (-1, size)).numpy()
        for place, person in enumerate(people):
            np.testing.assert_allclose(ours.own[place], among[person, :, person], atol=1e-3)
        boxes = np.array(ours.box_tokens)
        expected = among[people[0]][boxes][:, people[1]][:, boxes]
        np.testing.assert_allclose(ours.others[0, :, 1], expected, atol=1e-3)


def test_point_tokens_attend_only_to_their_person_and_box_tokens_to_others(small):
    _, output, seen, _ = small
    last = keep_attention(output, seen, 0, np.arange(SMALL.num_people)).layers[-1]
    to_self = last.own.astype(np.float32).sum(-1)
    points = [t for t in range(39) if t not in last.box_tokens]
    np.testing.assert_allclose(to_self[:, points], 1, atol=3e-3)
    assert (to_self[:, list(last.box_tokens)] < 0.999).all()
    everyone = np.arange(SMALL.num_people)
    assert not last.others[everyone, :, everyone].any()


def test_attention_to_people_who_are_not_kept_is_missing_from_the_sums(small):
    _, output, seen, _ = small
    first = keep_attention(output, seen, 0, SLOTS).layers[0]
    own, others = first.own.astype(np.float32), first.others.astype(np.float32)
    given = own.sum((1, 2)) + others.sum((1, 2, 3))
    assert first.own.shape == (3, 1, 1) and first.others.shape == (3, 1, 3, 1)
    assert ((given > 0) & (given < 0.999)).all()


def test_single_people_equal_the_batch(small):
    _, output, seen, _ = small
    together = keep_attention(output, seen, 0, SLOTS)
    for place, slot in enumerate(SLOTS):
        alone = keep_attention(output, seen, 0, np.array([slot]))
        assert together.row(slot) == place and alone.row(slot) == 0
        for one, all_ in zip(alone.layers, together.layers, strict=True):
            np.testing.assert_array_equal(one.weights[0], all_.weights[place])
            np.testing.assert_allclose(one.own[0], all_.own[place], atol=1e-3)


def test_number_of_people_is_limited_and_may_be_zero(small):
    _, output, seen, _ = small
    many = keep_attention(output, seen, 0, np.resize(np.arange(7), KEPT_PEOPLE + 9))
    assert len(many.query_indices) == KEPT_PEOPLE
    empty = keep_attention(output, seen, 0, np.zeros(0, np.int64))
    assert empty.layers[-1].locations.shape[0] == 0 and empty.row(3) is None
    assert empty.nbytes == 0 < many.nbytes


def test_hooks_are_removed(small):
    model, _, seen, _ = small
    count = len(seen)
    with torch.inference_mode():
        model(random_images(((64, 64),), 0), keep_attention=True)
    assert len(seen) == count == SMALL.decoder_layers


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY, NAIVE_BODY])
def test_token_names_are_unique(layout):
    names = token_names(layout)
    assert len(set(names)) == layout.num_tokens
    assert names[layout.box_tokens[0]] == "body box"
    if layout.face_points is not None:
        assert names[layout.face_points][4] == "face: chin"
        assert names[layout.right_hand_points][1] == "right hand: thumb tip"
    if layout.joints is not None:
        assert names[layout.joints][16] == "right ankle"


def test_missing_token_is_the_token_that_initialises_it(small):
    _, output, seen, _ = small
    layers = keep_attention(output, seen, 0, SLOTS).layers
    found = {
        name: [layer.tokens[token_in_layer(name, layer)] for layer in layers[::2]]
        for name in ("left hand: index tip", "left knee", "face box", "body box")
    }
    assert found == {
        "left hand: index tip": ["body box", "left hand box", "left hand: index tip"],
        "left knee": ["body box", "left knee", "left knee"],
        "face box": ["body box", "face box", "face box"],
        "body box": ["body box"] * 3,
    }
    with pytest.raises(ValueError, match="third hand"):
        token_in_layer("third hand box", replace(layers[0], tokens=("nothing",)))


def test_coordinates_are_relative_to_the_photo(small):
    """For a photo with padding on the left and right of the network input."""
    _, output, inputs, _ = small
    placement = PhotoPlacement((160, 128), (96, 64), (2.0, 2.0), (-16.0, 0.0))
    in_input = keep_attention(output, inputs, 0, SLOTS).layers[-1]
    in_photo = keep_attention(output, inputs, 0, SLOTS, placement).layers[-1]
    # Input column x is photo column 2 x - 16.
    left = (in_input.boxes[..., 0] * 96 * 2 - 16) / 160
    np.testing.assert_allclose(in_photo.boxes[..., 0], left, rtol=1e-5)
    np.testing.assert_allclose(
        in_photo.boxes[..., 2], in_input.boxes[..., 2] * 192 / 160, rtol=1e-5
    )
    np.testing.assert_allclose(in_photo.boxes[..., 1::2], in_input.boxes[..., 1::2], rtol=1e-5)
    left = (in_input.locations[..., 0].astype(np.float32) * 192 - 16) / 160
    np.testing.assert_allclose(in_photo.locations[..., 0], left, atol=2e-3)
