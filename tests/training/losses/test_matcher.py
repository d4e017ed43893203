"""The assignment is the cheapest one, within each image, for any number of people."""

import itertools
from dataclasses import replace

import pytest
import torch

from aios.network.outputs import AiOSOutput, LayerOutput
from tests.helpers.training_samples import random_picture
from training.data.batch import Sample, build_batch
from training.losses.matcher import Matcher, MatchingConfig, class_cost, cost_matrix, match
from training.targets import Targets


def random_people(images: list[int], seed: int = 0) -> tuple[Targets, torch.Tensor]:
    """Targets and image index of one person per entry of `images`."""
    torch.manual_seed(seed)
    count = len(images)
    targets = replace(
        Targets.unannotated(count),
        boxes=torch.rand(count, 4) * 0.4 + 0.2,
        keypoints_2d=torch.rand(count, 17, 2),
        keypoints_visible=torch.ones(count, 17),
    )
    return targets, torch.tensor(images, dtype=torch.int64)


def random_layer(images: int, queries: int, seed: int = 1) -> LayerOutput:
    torch.manual_seed(seed)
    boxes = torch.rand(images, queries, 4) * 0.4 + 0.2
    logits = torch.randn(images, queries, 2)
    return LayerOutput(
        "refine_body", logits, boxes, keypoints_2d=torch.rand(images, queries, 17, 2)
    )


def test_assignment_is_the_cheapest_of_all():
    people, layer, config = random_people([0, 0, 0]), random_layer(1, 5), MatchingConfig()
    (pairs,) = match([layer], *people, config)
    cost = cost_matrix(layer, *people, config)
    cheapest = min(
        sum(float(cost[p, q]) for p, q in enumerate(order))
        for order in itertools.permutations(range(5), 3)
    )
    chosen = float(cost[pairs.person_index, pairs.query_index].sum())
    assert chosen == pytest.approx(cheapest)


def test_people_are_matched_within_their_own_image():
    (pairs,) = match([random_layer(3, 4)], *random_people([0, 2, 2]), MatchingConfig())
    assert pairs.image_index.tolist() == [0, 2, 2]
    assert sorted(pairs.person_index.tolist()) == [0, 1, 2]
    assert len(set(zip(pairs.image_index.tolist(), pairs.query_index.tolist(), strict=True))) == 3


def test_several_outputs_are_matched_as_each_alone():
    people, config = random_people([0, 0, 1, 3, 3, 3]), MatchingConfig()
    outputs = [
        random_layer(4, 5),
        replace(random_layer(4, 9, seed=2), keypoints_2d=None),
        random_layer(4, 3, seed=3),
    ]
    for output, pairs in zip(outputs, match(outputs, *people, config), strict=True):
        (alone,) = match([output], *people, config)
        assert len(pairs.person_index) == 6
        for field in ("image_index", "query_index", "person_index"):
            assert torch.equal(getattr(pairs, field), getattr(alone, field))


@pytest.mark.parametrize("proposals", [True, False])
def test_matcher_pairs_every_layer_and_proposals_if_configured(proposals):
    targets, _ = random_people([0, 0, 0])
    batch = build_batch([Sample(random_picture(0), targets)], 200.0)
    layers = [random_layer(1, 4, seed) for seed in (1, 2, 3)]
    # Proposals have the fields of a layer without keypoints.
    proposed = replace(random_layer(1, 6, 4), keypoints_2d=None)
    output = AiOSOutput(layers[-1], proposed, torch.zeros(1, 4), None, tuple(layers[:-1]))
    matches = Matcher(MatchingConfig(proposals=proposals))(output, batch)
    assert [len(pairs.person_index) for pairs in matches.layers] == [3, 3, 3]
    assert (matches.proposals is not None) == proposals
    (alone,) = match([layers[1]], batch.targets, batch.image_index, MatchingConfig())
    assert torch.equal(matches.layers[1].query_index, alone.query_index)


def test_boxes_cost_nothing_beside_keypoints_unless_configured():
    people, layer = random_people([0]), random_layer(1, 4)
    one = cost_matrix(layer, *people, MatchingConfig())
    other = cost_matrix(replace(layer, boxes=layer.boxes.flip(1)), *people, MatchingConfig())
    torch.testing.assert_close(one, other)
    both = MatchingConfig(box_with_keypoints=True)
    counted = cost_matrix(layer, *people, both)
    without = cost_matrix(replace(layer, keypoints_2d=None), *people, both)
    classes = 2 * class_cost(layer.class_logits[..., 1])
    torch.testing.assert_close(counted, one + without - classes)


def test_cost_without_keypoints_by_hand():
    targets, image_index = random_people([0])
    boxes = targets.boxes[None] + torch.tensor([0.1, 0, 0, 0])
    layer = LayerOutput("locate", torch.zeros(1, 1, 2), boxes)
    cost = cost_matrix(layer, targets, image_index, MatchingConfig(giou=0.0))
    # p = 1/2: 0.25 * 0.25 * log 2 - 0.75 * 0.25 * log 2.
    class_part = 2 * (0.25 - 0.75) * 0.25 * 0.6931472
    assert float(cost) == pytest.approx(class_part + 5 * 0.1, abs=1e-5)


def test_no_people_give_no_pairs():
    (pairs,) = match([random_layer(2, 4)], *random_people([]), MatchingConfig())
    assert len(pairs.person_index) == 0


def test_a_hundred_people_in_one_image_all_get_a_query():
    (pairs,) = match([random_layer(1, 100)], *random_people([0] * 100), MatchingConfig())
    assert sorted(pairs.query_index.tolist()) == list(range(100))


def test_more_people_than_queries_leave_people_unmatched():
    (pairs,) = match([random_layer(1, 3)], *random_people([0] * 5), MatchingConfig())
    assert len(set(pairs.person_index.tolist())) == 3


def test_non_finite_predictions_are_refused():
    layer = random_layer(1, 3)
    broken = replace(layer, class_logits=layer.class_logits * torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        match([broken], *random_people([0]), MatchingConfig())


def test_costs_of_all_outputs_leave_the_device_in_one_copy(monkeypatch):
    copies, plain = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda value: copies.append(1) or plain(value))
    layers = [random_layer(3, 4), random_layer(3, 6)]
    match(layers, *random_people([0, 0, 2]), MatchingConfig())
    assert len(copies) == 1
