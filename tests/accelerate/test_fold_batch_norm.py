"""Folding batch norm keeps the outputs of a backbone."""

import pytest
import torch

from aios.accelerate.fold_batch_norm import fold_batch_norm
from aios.network.frozen_batch_norm import FrozenBatchNorm2d
from tests.helpers.networks import MOBILE, SMALL, TINY, random_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("config", [SMALL, TINY, MOBILE])
def test_folding_changes_outputs_by_rounding_only(config):
    backbone = random_model(config, 0, torch.float64).backbone
    images = torch.randn(2, 3, 45, 62, dtype=torch.float64)
    with torch.no_grad():
        before = backbone(images)
        fold_batch_norm(backbone)
        after = backbone(images)
    assert not any(isinstance(m, FrozenBatchNorm2d) for m in backbone.modules())
    for first, second in zip(before, after, strict=True):
        assert first.abs().max() > 0
        torch.testing.assert_close(first, second)


def test_folding_twice_equals_folding_once():
    backbone = random_model(TINY, 1).backbone
    fold_batch_norm(backbone)
    once = {name: value.clone() for name, value in backbone.state_dict().items()}
    fold_batch_norm(backbone)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, once[name])
