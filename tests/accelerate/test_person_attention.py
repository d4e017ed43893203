"""Blockwise person attention equals the dense mask, in outputs and gradients."""

import pytest
import torch

from aios.accelerate.person_attention import BlockwisePersonAttention
from aios.network.person_attention import PersonAttention
from aios.network.queries import LOCATE, NAIVE_BODY, REFINE_BODY, REFINE_WHOLE_BODY

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEADS, PREFIX = 16, 2, 4


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("people", [1, 2, 5])
@pytest.mark.parametrize("form", ["aios", "full", "inter_human"])
@pytest.mark.parametrize("layout", [LOCATE, NAIVE_BODY, REFINE_BODY, REFINE_WHOLE_BODY])
def test_blockwise_attention_equals_dense_attention(layout, form, people, prefix):
    torch.manual_seed(1)
    plain = PersonAttention(WIDTH, HEADS, form).double()
    blockwise = BlockwisePersonAttention(plain)
    blocked, count = None, people * layout.num_tokens
    if prefix:
        blocked = torch.rand(2, PREFIX, PREFIX) < 0.5
        count += PREFIX
    tokens = torch.randn(2, count, WIDTH, dtype=torch.float64, requires_grad=True)
    position = torch.randn(2, count, WIDTH, dtype=torch.float64)
    inputs = [tokens, plain.in_proj_weight, plain.in_proj_bias, plain.out_proj.weight]
    results = []
    for attention in (plain, blockwise):
        output = attention(tokens, position, layout, blocked)
        results.append([output, *torch.autograd.grad(output.sin().sum(), inputs)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_parameters_are_shared_under_the_same_names():
    plain = PersonAttention(WIDTH, HEADS)
    blockwise = BlockwisePersonAttention(plain)
    names = [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in blockwise.named_parameters()] == names
    for name in names:
        assert blockwise.get_parameter(name) is plain.get_parameter(name)
