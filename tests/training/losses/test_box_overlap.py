"""IoU and generalized IoU against values computed by hand, and their gradients."""

import pytest
import torch

from training.losses.box_overlap import box_giou, box_iou


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], 1.0),
        # Side by side, touching: no overlap, the hull is exactly the union.
        ([0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0], 0.0),
        # Half a box apart: union 2, hull 2.5 -> 0 - 0.5 / 2.5.
        ([0.1, 0.5, 0.2, 1.0], [0.4, 0.5, 0.2, 1.0], -0.2),
    ],
)
def test_giou_by_hand(first, second, expected):
    value = box_giou(torch.tensor([first]), torch.tensor([second]))
    assert float(value) == pytest.approx(expected, abs=1e-4)


def test_iou_by_hand():
    first = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]])
    second = torch.tensor([[0.6, 0.5, 0.2, 0.2], [0.9, 0.5, 0.2, 0.2]])
    torch.testing.assert_close(
        box_iou(first, second), torch.tensor([1 / 3, 0.0]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("overlap", [box_iou, box_giou])
def test_gradients_equal_finite_differences(overlap):
    torch.manual_seed(0)
    boxes, others = (torch.rand(5, 4, dtype=torch.float64) * 0.4 + 0.2 for _ in range(2))
    boxes.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: overlap(x, others), boxes)
