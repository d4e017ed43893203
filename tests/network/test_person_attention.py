"""Person attention: which token attends to which, and the usual masked softmax."""

import pytest
import torch

from aios.network.person_attention import PersonAttention, person_mask
from aios.network.queries import (
    LOCATE,
    NAIVE_BODY,
    NAIVE_WHOLE_BODY,
    REFINE_BODY,
    REFINE_WHOLE_BODY,
)

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEADS, PEOPLE, PREFIX = 16, 2, 3, 4


def visible(layout, form="aios", blocked=None):
    """(n, n) bool: whether the output of the row depends on the token of the column.

    Read from the gradient, which is exactly 0 where it does not.
    """
    torch.manual_seed(0)
    attention = PersonAttention(WIDTH, HEADS, form).double()
    count = PEOPLE * layout.num_tokens + (0 if blocked is None else PREFIX)
    tokens = torch.randn(1, count, WIDTH, dtype=torch.float64)
    position = torch.randn_like(tokens)

    def summed(x):
        return attention(x, position, layout, blocked)[0].sum(-1)

    jacobian = torch.autograd.functional.jacobian(summed, tokens, vectorize=True)
    return jacobian[:, 0].abs().sum(-1) > 1e-14


def boxes_of(layout):
    """(n,) bool: whether a token is a box."""
    box = torch.zeros(layout.num_tokens, dtype=torch.bool)
    box[list(layout.box_tokens)] = True
    return box.repeat(PEOPLE)


def same_person_or_two_boxes(layout):
    person = torch.arange(PEOPLE).repeat_interleave(layout.num_tokens)
    box = boxes_of(layout)
    return (person[:, None] == person) | (box[:, None] & box)


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY])
def test_people_interact_through_boxes_only(layout):
    assert torch.equal(visible(layout), same_person_or_two_boxes(layout))


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY, NAIVE_BODY])
def test_full_attention_connects_all_tokens(layout):
    assert visible(layout, "full").all()


@pytest.mark.parametrize("layout", [REFINE_BODY, REFINE_WHOLE_BODY, NAIVE_WHOLE_BODY])
def test_inter_human_attention_connects_boxes_only(layout):
    box = boxes_of(layout)
    expected = (box[:, None] & box) | torch.eye(len(box), dtype=torch.bool)
    assert torch.equal(visible(layout, "inter_human"), expected)


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY])
def test_prefix_attends_to_all_people_and_no_person_to_the_prefix(layout):
    blocked = torch.zeros(1, PREFIX, PREFIX, dtype=torch.bool)
    blocked[0, :2, 2:] = blocked[0, 2:, :2] = True  # two groups of two
    seen = visible(layout, blocked=blocked)
    assert torch.equal(seen[:PREFIX, :PREFIX], ~blocked[0])
    assert seen[:PREFIX, PREFIX:].all()
    assert not seen[PREFIX:, :PREFIX].any()
    assert torch.equal(seen[PREFIX:, PREFIX:], same_person_or_two_boxes(layout))


def test_fully_blocked_prefix_query_still_attends_to_people():
    blocked = torch.ones(1, PREFIX, PREFIX, dtype=torch.bool)
    seen = visible(REFINE_BODY, blocked=blocked)[:PREFIX]
    # The output depends on its own token as the query only.
    assert torch.equal(seen[:, :PREFIX], torch.eye(PREFIX, dtype=torch.bool))
    assert seen[:, PREFIX:].all()


@pytest.mark.parametrize("form", ["aios", "full"])
@pytest.mark.parametrize("layout", [REFINE_BODY, REFINE_WHOLE_BODY])
@pytest.mark.parametrize("people", [1, 2, 5])
def test_attention_equals_torch_multihead_attention(layout, people, form):
    torch.manual_seed(1)
    attention = PersonAttention(WIDTH, HEADS, form).double()
    x = torch.randn(2, people * layout.num_tokens, WIDTH, dtype=torch.float64)
    position = torch.randn_like(x)
    usual = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    usual.load_state_dict(attention.state_dict())
    mask = ~person_mask(layout, form, people, x.device)
    expected = usual(x + position, x + position, x, attn_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(attention(x, position, layout, None), expected)
