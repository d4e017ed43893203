"""Reading photos: colour modes, orientation, pages, damage, limits."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aios.media.photo import PhotoError, photo_pixels, read_photo
from aios.media.reduction import MAX_DECODED_PIXELS

HEIGHT, WIDTH = 24, 32


@pytest.fixture
def scene():
    """Four flat quarters: red, green / blue, white; survives JPEG and shows the orientation."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:12, :16] = 255, 0, 0
    pixels[:12, 16:] = 0, 255, 0
    pixels[12:, :16] = 0, 0, 255
    pixels[12:, 16:] = 255, 255, 255
    return pixels


def encode(image, fmt, **options):
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        buffer, fmt, **options
    )
    return buffer.getvalue()


def assert_close(found, wanted, tolerance=6):
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    # The middle of each quarter: JPEG blurs the borders.
    for y in (5, -6):
        for x in (7, -8):
            np.testing.assert_allclose(found[y, x].astype(int), wanted[y, x], atol=tolerance)


def test_photo_pixels_returns_a_finished_array_uncopied(scene):
    assert photo_pixels(scene) is scene
    for other in (scene[:, :, 0], scene[:, :, :1], scene.astype(np.uint16), encode(scene, "PNG")):
        np.testing.assert_array_equal(photo_pixels(other), read_photo(other))


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
def test_every_format_decodes_to_the_same_rgb(scene, fmt):
    assert_close(read_photo(encode(scene, fmt)), scene, tolerance=20)


def test_every_kind_of_source_gives_the_same_array(scene, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(scene, "PNG"))
    sources = (path, str(path), path.read_bytes(), scene, Image.fromarray(scene))
    for source in sources:
        np.testing.assert_array_equal(read_photo(source), scene)


def test_result_shares_no_memory_with_the_source(scene):
    photo = read_photo(scene)
    photo[:] = 7
    assert scene.max() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(scene, orientation, fmt):
    # Stored pixels by the definition of the tag.
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(np.ascontiguousarray(stored), fmt, exif=exif)
    assert_close(read_photo(content), scene, tolerance=20)


def test_damaged_exif_is_ignored(scene):
    content = encode(scene, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f\xff\xff")
    assert_close(read_photo(content), scene, 20)


def test_palette_grey_and_bilevel_images(scene):
    image = Image.fromarray(scene)
    assert_close(read_photo(encode(image.quantize(8), "PNG")), scene, 2)
    grey = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(
        read_photo(encode(grey, "PNG")), np.repeat(grey[..., None], 3, -1)
    )
    bits = read_photo(encode(image.convert("1"), "PNG"))
    assert set(np.unique(bits)) == {0, 255}


def test_transparency_is_composited_over_white():
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = 255, 0, 0, 255
    rgba[:, 4:] = 0, 0, 0, 128
    image = Image.fromarray(rgba)
    for photo in (read_photo(encode(image, "PNG")), read_photo(rgba), read_photo(image)):
        assert photo[0, 0].tolist() == [255, 0, 0]
        assert photo[0, 7].tolist() == [127, 127, 127]
    grey_alpha = read_photo(encode(image.convert("LA"), "PNG"))
    assert grey_alpha[0, 7].tolist() == [127, 127, 127]


def test_transparent_palette_entry_is_composited_over_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.paste(1, (4, 0, 8, 8))
    photo = read_photo(encode(image, "PNG", transparency=0))
    assert photo[0, 0].tolist() == [255, 255, 255]
    assert photo[0, 7].tolist() == [200, 10, 10]


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_brightness(fmt):
    values = np.repeat(np.linspace(0, 65535, 32).astype(np.uint16)[None], 8, 0)
    photo = read_photo(encode(values, fmt))
    np.testing.assert_allclose(photo[0, :, 1], values[0] / 257, atol=0.51)
    np.testing.assert_array_equal(photo, read_photo(values))


def test_16_bit_rgb_png_keeps_its_brightness():
    row = b"\x00" + struct.pack(">3H", 65535, 32896, 257) * 4
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 4)),
        (b"IEND", b""),
    )
    photo = read_photo(png_of(chunks))
    assert photo[2, 2].tolist() == [255, 128, 1]


def test_adobe_cmyk_jpeg_is_not_inverted(scene):
    content = encode(Image.fromarray(scene).convert("CMYK"), "JPEG", quality=95)
    assert b"\xff\xee\x00\x0eAdobe" in content
    assert_close(read_photo(content), scene, 20)


def test_cmyk_tiff(scene):
    assert_close(read_photo(encode(Image.fromarray(scene).convert("CMYK"), "TIFF")), scene)


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame_of_an_animation_is_read(scene, fmt):
    others = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("black", "yellow")]
    content = encode(scene, fmt, save_all=True, append_images=others)
    assert_close(read_photo(content), scene, 20)


def test_one_pixel_is_accepted():
    assert read_photo(encode(np.full((1, 1, 3), 9, np.uint8), "PNG")).tolist() == [[[9, 9, 9]]]


def test_floats_from_0_to_1_are_scaled():
    values = np.linspace(0, 1, 48).reshape(4, 4, 3)
    np.testing.assert_array_equal(read_photo(values), np.rint(values * 255).astype(np.uint8))
    grey = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    assert read_photo(encode(grey, "TIFF"))[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), np.inf, np.float32), "NaN or infinite"),
        (np.full((4, 4, 3), 200.0), "expected 0 to 1"),
        (np.full((4, 4, 3), -0.5), "expected 0 to 1"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((3, 40, 40), np.uint8), "shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "shape"),
        (np.zeros(7, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 0, 3)), "no pixels"),
        (np.zeros((4, 4, 3), object), "object"),
        (np.zeros((1, 5000, 3), np.uint8), "narrow"),
        (np.broadcast_to(np.uint8(0), (9000, 9000, 3)), "megapixels"),
        (None, "NoneType"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_unsupported_array_is_refused(values, words):
    with pytest.raises(PhotoError, match=words):
        read_photo(values)


def png_of(chunks):
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content


def header_only_png(width, height):
    """A PNG that declares a size without containing pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])


@pytest.mark.parametrize("side", [20_000, 9_500])
def test_decompression_bomb_is_refused_from_its_header(side):
    assert side * side > MAX_DECODED_PIXELS
    with pytest.raises(PhotoError, match="megapixels"):
        read_photo(header_only_png(side, side))


def test_narrow_image_is_refused():
    with pytest.raises(PhotoError, match="1x5000.*narrow"):
        read_photo(encode(np.zeros((5000, 1, 3), np.uint8), "PNG"))


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.9])
def test_truncated_file_is_one_sentence_or_a_photo(fmt, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = encode(noise, fmt)
    try:
        photo = read_photo(content[: int(len(content) * share)])
    except PhotoError as error:
        assert "\n" not in str(error)
    else:
        assert share == 0.9 or fmt == "GIF"  # whose decoder returns what it has
        assert photo.shape == (64, 64, 3)


def test_random_damage_raises_only_photo_errors(scene):
    generator = np.random.default_rng(1)
    for fmt in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"):
        content = np.frombuffer(encode(scene, fmt), np.uint8)
        for _ in range(30):
            damaged = content.copy()
            where = generator.integers(0, len(damaged), 6)
            damaged[where] = generator.integers(0, 256, 6)
            try:
                photo = read_photo(damaged.tobytes())
            except PhotoError:
                continue
            assert photo.ndim == 3 and photo.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"just some text, saved under the wrong name", "not a photo that can be read"),
        (b"<!doctype html><html></html>", "not a photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a photo but a PostScript"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(64), "HEIC file that cannot be read"),
        (b"\x00\x00\x00\x18ftypmif1" + bytes(64), "HEIC"),
    ],
)
def test_file_that_is_not_a_photo_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=f"holiday.jpg.*{words}"):
        read_photo(path)
    with pytest.raises(PhotoError, match=words):
        read_photo(content)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing/here.jpg", "does not exist"),
        (Path("."), "folder"),
        ("https://example.org/a.jpg", "web address"),
        ("a\0b.jpg", "cannot be read"),
    ],
)
def test_unusable_path_is_reported(source, words):
    with pytest.raises(PhotoError, match=words):
        read_photo(source)
