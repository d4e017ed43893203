"""The assignment: cheapest by brute force, switched-off terms, odd numbers of people."""

import itertools
from dataclasses import replace

import pytest
import torch

from training.losses.matcher import (
    MatchCosts,
    MatchOutput,
    MatchTargets,
    class_cost,
    cost_matrix,
    match,
)


def people(images: list[int], seed: int = 0) -> MatchTargets:
    torch.manual_seed(seed)
    count = len(images)
    boxes = torch.rand(count, 4) * 0.4 + 0.2
    keypoints = torch.rand(count, 17, 2)
    return MatchTargets(torch.tensor(images), boxes, keypoints, torch.ones(count, 17))


def answers(batch: int, queries: int, seed: int = 1) -> MatchOutput:
    torch.manual_seed(seed)
    boxes = torch.rand(batch, queries, 4) * 0.4 + 0.2
    return MatchOutput(torch.randn(batch, queries), boxes, torch.rand(batch, queries, 17, 2))


def test_assignment_is_the_cheapest_of_all():
    targets, output = people([0, 0, 0]), answers(1, 5)
    costs = MatchCosts()
    (pairs,) = match([output], targets, costs)
    cost = cost_matrix(output, targets, costs)
    cheapest = min(
        sum(float(cost[p, q]) for p, q in enumerate(order))
        for order in itertools.permutations(range(5), 3)
    )
    chosen = float(cost[pairs.person_index, pairs.query_index].sum())
    assert chosen == pytest.approx(cheapest)


def test_people_are_matched_within_their_own_picture():
    targets, output = people([0, 2, 2]), answers(3, 4)
    (pairs,) = match([output], targets, MatchCosts())
    assert pairs.image_index.tolist() == [0, 2, 2]
    assert sorted(pairs.person_index.tolist()) == [0, 1, 2]
    assert len(set(zip(pairs.image_index.tolist(), pairs.query_index.tolist(), strict=True))) == 3


def test_outputs_together_are_matched_as_each_alone():
    targets = people([0, 0, 1, 3, 3, 3])
    outputs = [answers(4, 5), replace(answers(4, 9, seed=2), keypoints_2d=None), answers(4, 3, 3)]
    together = match(outputs, targets, MatchCosts())
    for output, pairs in zip(outputs, together, strict=True):
        (alone,) = match([output], targets, MatchCosts())
        assert len(pairs.person_index) == 6
        for field in ("image_index", "query_index", "person_index"):
            assert torch.equal(getattr(pairs, field), getattr(alone, field))


def test_boxes_do_not_count_where_there_are_keypoints():
    targets, output = people([0]), answers(1, 4)
    one = cost_matrix(output, targets, MatchCosts())
    other = cost_matrix(replace(output, boxes=output.boxes.flip(1)), targets, MatchCosts())
    torch.testing.assert_close(one, other)
    both = MatchCosts(box_with_keypoints=True)
    counted = cost_matrix(output, targets, both)
    without = cost_matrix(replace(output, keypoints_2d=None), targets, both)
    classes = 2 * class_cost(output.person_logits)
    torch.testing.assert_close(counted, one + without - classes)


def test_cost_by_hand_without_keypoints():
    targets = people([0])
    boxes = targets.boxes[None] + torch.tensor([0.1, 0, 0, 0])
    output = MatchOutput(torch.zeros(1, 1), boxes, None)
    cost = cost_matrix(output, targets, MatchCosts(giou=0.0))
    # p = 1/2: 0.25 * 0.25 * log 2 - 0.75 * 0.25 * log 2.
    class_part = 2 * (0.25 - 0.75) * 0.25 * 0.6931472
    assert float(cost) == pytest.approx(class_part + 5 * 0.1, abs=1e-5)


def test_nobody_gives_no_pair():
    (pairs,) = match([answers(2, 4)], people([]), MatchCosts())
    assert len(pairs.person_index) == 0


def test_a_hundred_people_in_one_picture():
    targets, output = people([0] * 100), answers(1, 100)
    (pairs,) = match([output], targets, MatchCosts())
    assert sorted(pairs.query_index.tolist()) == list(range(100))


def test_more_people_than_queries():
    (pairs,) = match([answers(1, 3)], people([0] * 5), MatchCosts())
    assert len(set(pairs.person_index.tolist())) == 3


def test_a_network_gone_wrong_is_an_error():
    output = answers(1, 3)
    broken = replace(output, person_logits=output.person_logits * torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        match([broken], people([0]), MatchCosts())


def test_costs_of_all_outputs_leave_the_device_in_one_copy(monkeypatch):
    copies, plain = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda value: copies.append(1) or plain(value))
    match([answers(3, 4), answers(3, 6)], people([0, 0, 2]), MatchCosts())
    assert len(copies) == 1
