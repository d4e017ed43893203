"""Half-precision outputs are scored in float32."""

import torch

from aios.body.model import BodyModel
from tests.helpers.training_outputs import change_tensors, random_output
from tests.helpers.training_samples import random_batch
from training.engine.precision import to_float32


def test_half_precision_tensors_become_float32_and_nothing_else_changes():
    output = random_output(random_batch(BodyModel.load(), (2, 1)))
    for dtype in (torch.float16, torch.bfloat16):
        half = change_tensors(output, lambda value, dtype=dtype: value.to(dtype))
        found = to_float32(half)
        assert found.final.smplx.betas.dtype == torch.float32
        assert torch.equal(found.final.smplx.betas, half.final.smplx.betas.float())
        assert found.aux_outputs[0].prefix_boxes.dtype == torch.float32
        assert found.aux_outputs[0].stage == output.aux_outputs[0].stage
        assert found.encoded is None
    exact = change_tensors(output, lambda value: value.double())
    assert to_float32(exact).final.boxes is exact.final.boxes
