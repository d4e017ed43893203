"""From photo to network input: the sizes and the resize that AiOS was trained with."""

import numpy as np
import pytest
import torch

from aios.network.config import BUILTIN_CONFIG, ConfigError, ImageConfig
from aios.network.preprocessing import (
    batch_images,
    prepare_photo,
    resize_corner_aligned,
    resized_size,
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
        ((1, 5000), (1, 5000)),  # the shortest side there is, hence unchanged
        ((5000, 1), (5000, 1)),
        ((1, 1), (800, 800)),
        ((2, 4000), (1, 2000)),
    ],
)
def test_sizes(photo_hw, input_hw):
    height, width = photo_hw
    assert resized_size(width, height, ImageConfig())[::-1] == input_hw


def test_no_side_is_ever_zero_or_far_too_long():
    for width in (1, 2, 7, 100, 1333, 20000):
        for height in (1, 3, 50, 801, 20000):
            new_width, new_height = resized_size(width, height, BUILTIN_CONFIG.image)
            assert min(new_width, new_height) >= 1
            short = min(new_width, new_height)
            # Rounding the short side up to 1 pixel may lengthen a very thin strip, and both become
            # multiples of 32.
            longest = max(448 + 448 / short, max(width, height))
            assert max(new_width, new_height) <= longest + 16


def test_both_sides_become_multiples():
    config = ImageConfig(short_side=224, long_side=314, multiple=32)
    assert resized_size(480, 360, config) == (288, 224)
    assert resized_size(360, 480, config) == (224, 288)
    assert resized_size(224, 224, config) == (224, 224)
    assert resized_size(4000, 30, config) == (256, 32)
    with pytest.raises(ConfigError, match="multiple"):
        ImageConfig(multiple=0)


def slow_resize(photo, width, height):
    """Pixel by pixel: x samples x * w / ow, black beyond the last pixel."""
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
def test_resize_is_the_rule(size):
    photo = noise(11, 17)
    resized = resize_corner_aligned(torch.from_numpy(photo), *size).numpy()
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, slow_resize(photo, *size), atol=1e-3)


def test_resize_keeps_the_corner_and_darkens_the_far_edge():
    photo = torch.full((10, 10, 3), 200, dtype=torch.uint8)
    resized = resize_corner_aligned(photo, 40, 40)
    assert (resized[:37, :37] == 200).all()
    assert (resized[38:, 20] < 200).all()
    assert resized[0, 39, 0].item() == pytest.approx(50)


def test_whole_factor_picks_every_nth_pixel():
    photo = noise(12, 20)
    resized = resize_corner_aligned(torch.from_numpy(photo), 10, 6).numpy()
    assert (resized == photo[::2, ::2]).all()


def test_unchanged_size_is_not_resampled():
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
def test_extreme_photos(shape):
    prepared = prepare_photo(noise(*shape), BUILTIN_CONFIG.image)
    assert torch.isfinite(prepared).all()
    assert min(prepared.shape) >= 1


def test_photo_is_left_as_it_is():
    photo = noise(320, 320)
    before = photo.copy()
    prepare_photo(photo, BUILTIN_CONFIG.image)
    assert (photo == before).all()


def test_read_only_photo():
    photo = noise(20, 30)
    photo.setflags(write=False)
    assert prepare_photo(photo, BUILTIN_CONFIG.image).shape[0] == 3


def test_batch_of_one_size_has_no_padding():
    batch = batch_images([torch.rand(3, 5, 6), torch.rand(3, 5, 6)])
    assert batch.padding_mask is None
    assert batch.sizes_hw.tolist() == [[5, 6], [5, 6]]


def test_padding_is_right_and_below():
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
