"""Photo to network input: sizes, padding, resize of the released network, normalisation."""

import numpy as np
import pytest
import torch

from aios.network.config import BUILTIN_CONFIG, ConfigError, ImageConfig
from aios.network.preprocessing import (
    PhotoPlacement,
    batch_images,
    place_photo,
    prepare_photo,
    resize_corner_aligned,
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("photo_hw", "input_hw"),
    [
        ((60, 80), (800, 1066)),
        ((50, 120), (555, 1332)),
        ((97, 61), (1272, 800)),
        ((800, 1066), (800, 1066)),
        ((800, 800), (800, 800)),
        ((1200, 800), (1200, 800)),
        ((3, 3), (800, 800)),
        ((1, 5000), (1, 5000)),  # short side after limiting the long side is 1, so unchanged
        ((5000, 1), (5000, 1)),
        ((1, 1), (800, 800)),
        ((2, 4000), (1, 2000)),
    ],
)
def test_input_sizes_of_the_released_network(photo_hw, input_hw):
    height, width = photo_hw
    placement = place_photo(width, height, ImageConfig())
    assert placement.input_wh[::-1] == input_hw
    assert placement.extent == pytest.approx((width, height))
    assert placement.origin == (0, 0)


def test_input_sides_are_positive_and_limited():
    for width in (1, 2, 7, 100, 1333, 20000):
        for height in (1, 3, 50, 801, 20000):
            sides = place_photo(width, height, BUILTIN_CONFIG.image).input_wh
            assert min(sides) >= 32
            # A thin strip may get a longer side, since its short side is rounded up to 1 pixel.
            longest = max(448 + 448 / (min(sides) // 32), max(width, height))
            assert max(sides) <= longest + 16


def test_input_sides_are_multiples():
    config = ImageConfig(short_side=224, long_side=314, multiple=32)
    assert place_photo(480, 360, config).input_wh == (288, 224)
    assert place_photo(360, 480, config).input_wh == (224, 288)
    assert place_photo(224, 224, config).input_wh == (224, 224)
    assert place_photo(4000, 30, config).input_wh == (256, 32)
    with pytest.raises(ConfigError, match="multiple"):
        ImageConfig(multiple=0)


@pytest.mark.parametrize("size_wh", [(3000, 2000), (480, 360), (61, 97), (4000, 30), (224, 300)])
def test_photo_is_centred_with_equal_scale(size_wh):
    config = ImageConfig(short_side=224, long_side=314, multiple=32)
    placement = place_photo(*size_wh, config)
    assert placement.step[0] == placement.step[1]
    for extent, side, origin in zip(placement.extent, size_wh, placement.origin, strict=True):
        assert extent >= side - 1e-9  # all of the photo is in the input
        assert 2 * origin + extent == pytest.approx(side)  # its centre is that of the input
    assert min(abs(e - s) for e, s in zip(placement.extent, size_wh, strict=True)) < 1e-9
    camera = placement.camera(500.0)
    assert camera.principal_point == (size_wh[0] / 2, size_wh[1] / 2)
    assert camera.focal_length == pytest.approx(500 * placement.step[0])


def test_padding_has_the_mean_colour():
    config = ImageConfig(short_side=64, long_side=96, multiple=32)
    photo = np.zeros((64, 84, 3), np.uint8) + np.array([10, 120, 250], np.uint8)
    prepared = prepare_photo(photo, config)  # 84 pixels are rounded up to 96
    assert prepared.shape == (3, 64, 96)
    colour = (torch.tensor([10.0, 120, 250]) - torch.tensor(config.mean)) / torch.tensor(config.std)
    for side in (prepared[:, :, :6], prepared[:, :, 90:]):
        torch.testing.assert_close(side, colour[:, None, None].expand_as(side))
    noisy = noise(64, 84)
    inside = prepare_photo(noisy, config)[:, :, 6:90]
    whole = prepare_photo(noisy, ImageConfig(short_side=64, long_side=96))
    torch.testing.assert_close(inside, whole)


def resize_to(photo, width, height):
    """Resize a photo to fill an input of `width` x `height`."""
    h, w = photo.shape[:2]
    step = (w / width, h / height)
    return resize_corner_aligned(photo, PhotoPlacement((w, h), (width, height), step, (0.0, 0.0)))


def slow_resize(photo, width, height):
    """Pixel by pixel: x samples x * w / width, black beyond the last pixel."""
    h, w = photo.shape[:2]
    result = np.zeros((height, width, 3))

    def at(row, column):
        return photo[row, column].astype(float) if row < h and column < w else np.zeros(3)

    for i in range(height):
        for j in range(width):
            y, x = i * h / height, j * w / width
            row, column = int(y), int(x)
            a, b = y - row, x - column
            top = (1 - b) * at(row, column) + b * at(row, column + 1)
            bottom = (1 - b) * at(row + 1, column) + b * at(row + 1, column + 1)
            result[i, j] = (1 - a) * top + a * bottom
    return result


@pytest.mark.parametrize("size", [(13, 9), (40, 22), (5, 4), (1, 1), (7, 30)])
def test_resize_equals_the_slow_version(size):
    photo = noise(11, 17)
    resized = resize_to(torch.from_numpy(photo), *size).numpy()
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, slow_resize(photo, *size), atol=1e-3)


def test_resize_aligns_the_corner_and_darkens_the_far_edges():
    photo = torch.full((10, 10, 3), 200, dtype=torch.uint8)
    resized = resize_to(photo, 40, 40)
    assert (resized[:37, :37] == 200).all()
    assert (resized[38:, 20] < 200).all()
    assert resized[0, 39, 0].item() == pytest.approx(50)


def test_integer_factor_takes_every_nth_pixel():
    photo = noise(12, 20)
    resized = resize_to(torch.from_numpy(photo), 10, 6).numpy()
    assert (resized == photo[::2, ::2]).all()


def test_photo_of_input_size_is_not_resampled():
    photo = noise(320, 384)
    config = BUILTIN_CONFIG.image
    prepared = prepare_photo(photo, config)
    assert prepared.shape == (3, 320, 384)
    back = prepared * torch.tensor(config.std)[:, None, None]
    back = back + torch.tensor(config.mean)[:, None, None]
    torch.testing.assert_close(back.permute(1, 2, 0), torch.from_numpy(photo).float())


def test_mean_colour_becomes_zero():
    config = ImageConfig(32, 64, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    photo = np.zeros((32, 40, 3), np.uint8) + np.array([10, 24, 20], np.uint8)
    prepared = prepare_photo(photo, config)
    assert torch.equal(prepared[:, 0, 0], torch.tensor([0.0, 1.0, -2.0]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_sizes_give_finite_input(shape):
    prepared = prepare_photo(noise(*shape), BUILTIN_CONFIG.image)
    assert torch.isfinite(prepared).all()
    assert min(prepared.shape) >= 1


def test_photo_is_not_modified():
    photo = noise(320, 320)
    before = photo.copy()
    prepare_photo(photo, BUILTIN_CONFIG.image)
    assert (photo == before).all()


def test_read_only_photo_is_accepted():
    photo = noise(20, 30)
    photo.setflags(write=False)
    assert prepare_photo(photo, BUILTIN_CONFIG.image).shape[0] == 3


def test_batch_of_one_size_has_no_padding():
    batch = batch_images([torch.rand(3, 5, 6), torch.rand(3, 5, 6)])
    assert batch.padding_mask is None
    assert batch.sizes_hw.tolist() == [[5, 6], [5, 6]]


def test_batch_is_padded_right_and_below():
    images = [torch.rand(3, 5, 9), torch.rand(3, 7, 4)]
    batch = batch_images(images)
    assert batch.pixels.shape == (2, 3, 7, 9)
    for index, image in enumerate(images):
        h, w = image.shape[1:]
        assert torch.equal(batch.pixels[index, :, :h, :w], image)
        assert not batch.padding_mask[index, :h, :w].any()
        assert batch.padding_mask[index].sum() == 7 * 9 - h * w
        assert not batch.pixels[index][:, batch.padding_mask[index]].any()
    assert batch.to("cpu").padding_mask.dtype == torch.bool
