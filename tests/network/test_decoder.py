"""Decoder: outputs of each layer, kept attention, prefix queries, gradients."""

import dataclasses

import pytest
import torch

from tests.helpers.networks import SMALL, TINY, random_images, random_model, random_prefix
from tests.helpers.same_outputs import tensors

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small():
    model = random_model(SMALL, 3, torch.float64)
    images = random_images([(75, 93), (61, 88)], 3, torch.float64)
    with torch.inference_mode():
        return model, images, model(images, aux_outputs=True, keep_attention=True)


def test_extra_outputs_do_not_change_the_final_output(small):
    model, images, full = small
    with torch.inference_mode():
        plain = model(images)
    assert plain.aux_outputs == ()
    assert plain.attention == ()
    for name, value in tensors(plain.final).items():
        assert torch.equal(value, tensors(full.final)[name]), name


def test_prefix_does_not_change_the_outputs_of_people(small):
    model, images, full = small
    prefix = random_prefix(SMALL, 2, 5, 0, torch.float64)
    with torch.inference_mode():
        output = model(images, prefix, aux_outputs=True, keep_attention=True)
    for ours, wanted in zip(
        (*output.aux_outputs, output.final), (*full.aux_outputs, full.final), strict=True
    ):
        assert ours.prefix_boxes.shape == (2, 5, 4)
        assert ours.prefix_class_logits.shape == (2, 5, 2)
        for name, value in tensors(wanted).items():
            torch.testing.assert_close(tensors(ours)[name], value)
    for ours, wanted in zip(output.attention, full.attention, strict=True):
        assert ours.sampling_locations.shape == wanted.sampling_locations.shape


def test_smplx_heads_run_in_the_last_layer_only(small):
    model, images, _ = small
    ran = []
    heads = [layer.smplx for layer in model.decoder.heads.layers if layer.smplx]
    hooks = [
        head.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, head in enumerate(heads)
    ]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    assert ran == [len(heads) - 1]


def test_output_shapes_of_every_stage(small):
    layers = (*small[2].aux_outputs, small[2].final)
    assert [layer.stage for layer in layers] == (
        ["locate"] * 2 + ["refine_body"] * 2 + ["refine_whole_body"] * 2
    )
    for layer in layers:
        people = SMALL.num_proposals if layer.stage == "locate" else SMALL.num_people
        assert layer.class_logits.shape == (2, people, 2)
        assert layer.boxes.shape == (2, people, 4)
        assert (layer.smplx is None) == (layer.stage == "locate")
        assert (layer.keypoints_2d is None) == (layer.stage == "locate")
        assert (layer.left_hand_keypoints_2d is None) == (layer.stage != "refine_whole_body")
    final = layers[-1]
    assert final.smplx.body_rotmat.shape == (2, 7, 22, 3, 3)
    assert final.smplx.left_hand_rotmat.shape == (2, 7, 15, 3, 3)
    assert final.smplx.jaw_rotmat.shape == (2, 7, 1, 3, 3)
    assert final.face_keypoints_2d.shape == (2, 7, 6, 2)


def test_shapes_and_sums_of_kept_attention(small):
    attention = small[2].attention
    assert len(attention) == SMALL.decoder_layers
    for kept, tokens, people in zip(
        attention, (1, 1, 21, 21, 39, 39), (40, 40, 7, 7, 7, 7), strict=True
    ):
        shape = (2, people * tokens, SMALL.num_heads, SMALL.num_levels, SMALL.num_points)
        assert kept.attention_weights.shape == shape
        assert kept.sampling_locations.shape == (*shape, 2)
        assert kept.reference_points.shape == (2, people * tokens, 4)
        total = kept.attention_weights.sum((-1, -2))
        torch.testing.assert_close(total, torch.ones_like(total))
        assert ((kept.reference_points >= 0) & (kept.reference_points <= 1)).all()
        # Offsets are a few half boxes, so no location is far from the image.
        assert kept.sampling_locations.abs().max() < 20


def test_sampling_locations_are_offsets_in_half_boxes_from_the_box_centre(small):
    model, _, full = small
    kept = full.attention[-1]
    centre = kept.reference_points[:, :, None, None, None, :2]
    size = kept.reference_points[:, :, None, None, None, 2:]
    offsets = (kept.sampling_locations - centre) / size * 2 * SMALL.num_points
    # Equal for all levels: locations are in the un-padded image.
    bias = model.decoder.layers[-1].cross_attn.sampling_offsets.bias
    spread = (offsets - bias.view(1, 1, SMALL.num_heads, SMALL.num_levels, -1, 2)).abs()
    assert spread[size.expand_as(offsets) > 1e-3].max() < 10


@pytest.mark.parametrize("index", [0, 1])
def test_image_alone_and_in_a_batch_have_the_same_outputs(index):
    model = random_model(TINY, 4)
    images = random_images([(64, 80)] * 2, 4)
    alone = dataclasses.replace(
        images,
        pixels=images.pixels[index : index + 1],
        sizes_hw=images.sizes_hw[index : index + 1],
    )
    with torch.inference_mode():
        together, single = model(images), model(alone)
    for name, value in tensors(single.final).items():
        torch.testing.assert_close(
            tensors(together.final)[name][index], value[0], atol=1e-4, rtol=1e-4
        )


def test_reference_boxes_of_the_next_layer_carry_no_gradient():
    model = random_model(TINY, 5)
    output = model(random_images([(64, 80)], 5), aux_outputs=True)
    output.final.boxes.sum().backward()
    first = model.decoder.heads.layer(0).body_box
    assert all(p.grad is None or not p.grad.any() for p in first.parameters())
    assert model.decoder.layers[0].linear1.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.proposals.parameters())
