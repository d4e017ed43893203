"""Variants: box tokens only (naive AiOS), forms of person attention, stages with SMPL-X heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.network.config import STAGES
from aios.network.model import AiOS
from aios.people import people_from_output
from tests.helpers.networks import SMALL, TINY, random_images, random_model, random_prefix
from tests.helpers.same_outputs import tensors

pytestmark = pytest.mark.usefixtures("one_thread")


def test_forms_of_attention_take_the_same_weights_and_differ_in_outputs():
    images, state = random_images([(64, 80)], 0), random_model(TINY, 0).state_dict()
    boxes = []
    for form in ("aios", "full", "inter_human"):
        model = AiOS(replace(TINY, self_attention=form)).eval()
        model.load_state_dict(state)
        with torch.inference_mode():
            boxes.append(model(images).final.boxes)
    assert not torch.allclose(boxes[0], boxes[1])
    assert not torch.allclose(boxes[0], boxes[2])


@pytest.fixture(scope="module")
def naive():
    config = replace(SMALL, point_tokens=False)
    model = random_model(config, 2)
    prefix = random_prefix(config, 2, 3, 0)
    images = random_images([(64, 80), (60, 71)], 2)
    return model, model(images, prefix, aux_outputs=True, keep_attention=True)


def test_naive_network_has_four_box_tokens_per_person(naive):
    model, output = naive
    layers = (*output.aux_outputs, output.final)
    assert [layer.stage for layer in layers] == [s for s in STAGES for _ in range(2)]
    for layer, kept in zip(layers, output.attention, strict=True):
        assert layer.keypoints_2d is None
        assert layer.left_hand_keypoints_2d is None
        tokens = kept.reference_points.shape[1]
        assert tokens == (40 if layer.stage == "locate" else 7 * 4)
        assert (layer.face_boxes is None) == (layer.stage == "locate")
        assert layer.prefix_boxes.shape == (2, 3, 4)
    assert not any("point" in name or "joint" in name for name, _ in model.named_parameters())


def test_naive_hands_share_weights_but_differ_in_outputs(naive):
    model, output = naive
    for layer in (output.aux_outputs[2], output.final):
        assert not torch.allclose(layer.smplx.left_hand_rotmat, layer.smplx.right_hand_rotmat)
    heads = model.decoder.heads.layer(5).smplx
    assert (heads.body_tokens, heads.face_tokens) == ((0, 1, 2, 3), (0, 3))
    assert (heads.left_tokens, heads.right_tokens) == ((0, 1, 2), (0, 2, 1))


def test_every_parameter_of_the_naive_decoder_has_a_gradient(naive):
    model, output = naive
    model.zero_grad()
    total = torch.zeros(())
    for layer in (*output.aux_outputs, output.final):
        total = total + sum(value.square().sum() for value in tensors(layer).values())
    total.backward()
    assert not [name for name, p in model.decoder.named_parameters() if p.grad is None]


def test_naive_people_have_nan_keypoints(naive):
    people = people_from_output(naive[1].final, 0, 80, 64)
    assert len(people) == 7
    assert np.isnan(people.keypoints_2d_px).all()
    assert np.isfinite(people.face_boxes_xyxy_px).all()
    assert people.left_hand_keypoints_2d_px.shape == (7, 6, 2)


@pytest.mark.parametrize(
    "stages", [STAGES, ("refine_body", "refine_whole_body"), ("refine_whole_body",)]
)
def test_smplx_heads_exist_in_the_configured_stages(stages):
    model = random_model(replace(TINY, smplx_stages=stages), 3)
    output = model(random_images([(64, 80)], 3), aux_outputs=True)
    for layer in (*output.aux_outputs, output.final):
        assert (layer.smplx is not None) == (layer.stage in stages)


def test_locate_stage_has_neutral_hands_and_face():
    model = random_model(replace(TINY, smplx_stages=STAGES), 4)
    first = model(random_images([(64, 80)], 4), aux_outputs=True).aux_outputs[0].smplx
    assert first.body_rotmat.shape == (1, 12, 22, 3, 3)
    assert torch.equal(first.left_hand_rotmat, torch.eye(3).expand(1, 12, 15, 3, 3))
    assert not first.expression.any()
    assert first.weak_camera.requires_grad
