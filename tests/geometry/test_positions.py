"""Position encodings: values by the formula, padding, order of coordinates."""

import math

import torch

from aios.geometry.positions import box_position_encoding, feature_position_encoding


def test_known_values():
    code = feature_position_encoding(torch.zeros(1, 3, 5, dtype=torch.bool), 256)
    assert code.shape == (1, 3, 5, 256)
    y, x = 2 * math.pi * 2 / 3, 2 * math.pi * 4 / 5  # second row, fourth column, counted from 1
    for channel in (0, 1, 2, 77, 126, 127):
        period = 20 ** (2 * (channel // 2) / 128)
        function = math.cos if channel % 2 else math.sin
        assert abs(code[0, 1, 3, channel].item() - function(y / period)) < 1e-5
        assert abs(code[0, 1, 3, 128 + channel].item() - function(x / period)) < 1e-5


def test_padding_does_not_change_the_encoding():
    """On padding the encoding of the last valid row or column repeats."""
    mask = torch.ones(1, 6, 8, dtype=torch.bool)
    mask[:, :4, :5] = False
    alone = feature_position_encoding(torch.zeros(1, 4, 5, dtype=torch.bool), 64)
    padded = feature_position_encoding(mask, 64)
    assert torch.equal(padded[:, :4, :5], alone)
    assert torch.equal(padded[:, 5, :5, :32], padded[:, 3, :5, :32])
    assert torch.equal(padded[:, :4, 7, 32:], padded[:, :4, 4, 32:])


def test_fully_padded_rows_have_coordinate_zero():
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[:, :2, :2] = False
    code = feature_position_encoding(mask, 32)
    assert torch.isfinite(code).all()
    zero_angle = torch.tensor([0.0, 1.0]).repeat(8)
    assert torch.equal(code[0, 3, 3], zero_angle.repeat(2))


def test_box_encoding_has_the_order_y_x_w_h():
    box = torch.tensor([[0.1, 0.7, 0.25, 0.4]], dtype=torch.float64)
    code = box_position_encoding(box, 256)
    assert code.shape == (1, 512)
    assert code.dtype == torch.float64
    for block, coordinate in enumerate((0.7, 0.1, 0.25, 0.4)):
        for channel in (0, 1, 50, 127):
            angle = 2 * math.pi * coordinate / 10000 ** (2 * (channel // 2) / 128)
            wanted = math.cos(angle) if channel % 2 else math.sin(angle)
            assert abs(code[0, 128 * block + channel].item() - wanted) < 1e-5


def test_box_encoding_accepts_any_number_of_boxes():
    assert box_position_encoding(torch.rand(2, 0, 4), 96).shape == (2, 0, 192)
    boxes = torch.rand(2, 3, 5, 4)
    codes = box_position_encoding(boxes, 32)
    torch.testing.assert_close(codes[1, 2, 4], box_position_encoding(boxes[1, 2, 4], 32))
