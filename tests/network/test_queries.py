"""Queries: token layouts, proposals, selection, and expansion to 21 and 39 tokens."""

import math

import pytest
import torch

from aios.network.config import AiOSConfig
from aios.network.outputs import EncodedImage
from aios.network.queries import (
    LOCATE,
    REFINE_BODY,
    REFINE_WHOLE_BODY,
    BodyExpansion,
    Proposals,
    WholeBodyExpansion,
    layer_layouts,
    select_queries,
)
from tests.helpers.networks import SMALL, random_images, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS = (LOCATE, REFINE_BODY, REFINE_WHOLE_BODY)


@pytest.mark.parametrize(("layout", "tokens"), list(zip(LAYOUTS, (1, 21, 39), strict=True)))
def test_every_token_has_one_meaning(layout, tokens):
    assert layout.num_tokens == tokens
    slices = (
        layout.joints,
        layout.left_hand_points,
        layout.right_hand_points,
        layout.face_points,
    )
    points = [token for s in slices if s for token in range(s.start, s.stop)]
    assert sorted(points) == list(layout.point_tokens)
    assert sorted([*points, *layout.box_tokens]) == list(range(tokens))


def test_points_come_directly_after_their_box():
    _, left, right, face = REFINE_WHOLE_BODY.box_tokens
    assert REFINE_WHOLE_BODY.left_hand_points == slice(left + 1, left + 7)
    assert REFINE_WHOLE_BODY.right_hand_points == slice(right + 1, right + 7)
    assert REFINE_WHOLE_BODY.face_points == slice(face + 1, face + 7)


def test_layouts_follow_the_layers_per_stage():
    config = AiOSConfig(locate_layers=1, refine_body_layers=3, refine_whole_body_layers=2)
    assert layer_layouts(config) == [LOCATE] + [REFINE_BODY] * 3 + [REFINE_WHOLE_BODY] * 2


def encoded_image(shapes, mask=None, ratios=None, dim=64):
    tokens = sum(h * w for h, w in shapes)
    memory = torch.randn(1, tokens, dim, generator=torch.Generator().manual_seed(0))
    if ratios is None:
        ratios = torch.ones(1, len(shapes), 2)
    return EncodedImage(memory, mask, shapes, ratios)


def test_initial_boxes_of_proposals():
    proposals = Proposals(SMALL)
    features, logits = proposals.features(encoded_image(((4, 5), (2, 3))))
    assert features.shape == (1, 26, 64)
    boxes = logits.sigmoid()[0]
    # Second row, fourth column of the first level; boxes of the next level are twice as large.
    torch.testing.assert_close(boxes[1 * 5 + 3], torch.tensor([3.5 / 5, 1.5 / 4, 0.05, 0.05]))
    torch.testing.assert_close(boxes[20 + 4], torch.tensor([1.5 / 3, 1.5 / 2, 0.1, 0.1]))


def test_tokens_at_the_edge_and_on_padding_are_invalid():
    """A centre within 1 % of the edge is invalid; the box becomes (1, 1, 1, 1)."""
    proposals = Proposals(SMALL)
    mask = torch.zeros(1, 2 * 60, dtype=torch.bool)
    mask.view(1, 2, 60)[:, :, 55:] = True
    ratios = torch.tensor([[[55 / 60, 1.0]]])
    features, logits = proposals.features(encoded_image(((2, 60),), mask, ratios))
    invalid = logits.isinf().all(-1).view(2, 60)
    assert torch.equal(logits.isinf().any(-1), logits.isinf().all(-1))
    assert invalid[:, 0].all()  # 0.5 / 55 < 0.01
    assert invalid[:, 54:].all()  # 54.5 / 55 > 0.99, then padding
    assert not invalid[:, 1:54].any()
    torch.testing.assert_close(features[0].view(2, 60, -1)[0, 0], features[0, 59])
    assert (logits.view(2, 60, 4)[:, 57].sigmoid() == 1).all()


def test_selected_invalid_tokens_have_the_box_1_1_1_1():
    config = AiOSConfig(hidden_dim=64, num_proposals=100, num_people=5)
    proposals = Proposals(config)
    output, content = proposals(encoded_image(((1, 100),)))
    invalid = (output.token_indices == 0) | (output.token_indices == 99)
    assert invalid.sum() == 2
    assert (output.boxes[invalid] == 1).all()
    assert (output.boxes[~invalid] < 1).all()
    assert torch.isfinite(content).all()


def test_proposals_are_the_best_tokens_in_descending_order():
    model = random_model(SMALL, 0)
    with torch.no_grad():
        output = model(random_images([(75, 93), (60, 80)], 0)).proposals
    scores = output.token_class_logits.amax(-1)
    assert output.token_indices.shape == (2, 40)
    chosen = scores.gather(1, output.token_indices)
    assert (chosen.diff(dim=1) <= 0).all()
    torch.testing.assert_close(chosen, scores.sort(1, descending=True).values[:, :40])
    torch.testing.assert_close(output.class_logits.amax(-1), chosen)
    for row in output.token_indices:
        assert len(row.unique()) == 40


def test_image_with_fewer_tokens_than_proposals():
    model = random_model(SMALL, 1)
    with torch.no_grad():
        output = model(random_images([(9, 17)], 1))
    tokens = output.encoded.memory.shape[1]
    assert output.proposals.token_indices.shape == (1, tokens)
    assert output.final.boxes.shape == (1, min(tokens, SMALL.num_people), 4)


def test_selected_people_have_the_highest_logits():
    generator = torch.Generator().manual_seed(0)
    content, boxes = torch.randn(2, 6, 3, generator=generator), torch.rand(2, 6, 4)
    logits = torch.tensor([[[0, 1], [5, 0], [2, 2], [0, 9], [-1, -1], [0, 3]]]).float()
    logits = torch.cat([logits, logits.flip(1)])
    kept, kept_boxes, indices = select_queries(content, boxes, logits, 3)
    assert indices.tolist() == [[3, 1, 5], [2, 4, 0]]
    assert torch.equal(kept[1], content[1, [2, 4, 0]])
    assert torch.equal(kept_boxes[0], boxes[0, [3, 1, 5]])
    assert select_queries(content, boxes, logits, 10)[2].shape == (2, 6)


def test_children_start_at_the_centre_of_their_parent_with_half_its_size():
    """With heads initialised to zero."""
    config = SMALL
    content = torch.randn(2, 3, 1, 64)
    boxes = torch.rand(2, 3, 1, 4) * 0.4 + 0.3
    expanded, expanded_boxes = BodyExpansion(config)(content, boxes)
    assert expanded.shape == (2, 3, 21, 64)
    assert torch.equal(expanded[:, :, 0], content[:, :, 0])
    assert torch.equal(expanded_boxes[:, :, 0], boxes[:, :, 0])
    half = torch.cat([boxes[..., :2], boxes[..., 2:] / 2], -1)
    torch.testing.assert_close(expanded_boxes[:, :, 1:], half.expand(-1, -1, 20, -1))
    whole, whole_boxes = WholeBodyExpansion(config)(expanded, expanded_boxes)
    assert whole.shape == (2, 3, 39, 64)
    boxes_before = [0, 18, 19, 20]
    boxes_after = list(REFINE_WHOLE_BODY.box_tokens)
    assert torch.equal(whole[:, :, boxes_after], expanded[:, :, boxes_before])
    assert torch.equal(whole_boxes[:, :, boxes_after], expanded_boxes[:, :, boxes_before])
    assert torch.equal(whole[:, :, 1:18], expanded[:, :, 1:18])
    quarter = torch.cat([boxes[..., :2], boxes[..., 2:] / 4], -1)
    points = whole_boxes[:, :, [*range(19, 25), *range(26, 32), *range(33, 39)]]
    torch.testing.assert_close(points, quarter.expand(-1, -1, 18, -1))


def test_child_sizes_are_fractions_of_the_parent():
    expansion = BodyExpansion(SMALL)
    with torch.no_grad():
        expansion.joints.size_logits[4] = torch.tensor([math.log(3), -math.log(3)])
    boxes = torch.tensor([0.5, 0.5, 0.8, 0.4]).expand(1, 1, 1, 4)
    expanded = expansion(torch.zeros(1, 1, 1, 64), boxes)[1]
    torch.testing.assert_close(expanded[0, 0, 5, 2:], torch.tensor([0.8 * 0.75, 0.4 * 0.25]))


def test_each_hand_has_its_own_embeddings():
    expansion = WholeBodyExpansion(SMALL)
    content = torch.zeros(1, 1, 21, 64)
    whole = expansion(content, torch.full((1, 1, 21, 4), 0.5))[0][0, 0]
    assert torch.equal(whole[19:25], expansion.left_hand.content)
    assert torch.equal(whole[26:32], expansion.right_hand.content)
    assert torch.equal(whole[33:39], expansion.face.content)
