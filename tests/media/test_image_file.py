"""Image files of unusual kinds: TIFF layouts and pages, raw files, brands, colour profiles."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from aios.media import image_file, reduction
from aios.media.image_file import FORMATS
from aios.media.photo import PhotoError, read_photo
from tests.helpers.image_files import (
    LONG,
    SHORT,
    cmyk_profile,
    grey_profile,
    heic,
    rgb_profile,
    tiff,
    tiff_page,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def encode(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("rows", [None, 16])
@pytest.mark.parametrize("bits", [8, 16])
def test_planar_tiff_is_read_like_an_interleaved_one(pixels, order, deflate, rows, bits):
    samples = pixels if bits == 8 else pixels.astype(np.uint16) * 257
    content = tiff([tiff_page(samples, order, True, deflate, rows)], order)
    np.testing.assert_array_equal(read_photo(content), pixels)


def test_planar_16_bit_tiff_with_alpha_and_of_inks(pixels):
    wide = pixels.astype(np.uint16) * 257
    opaque = np.concatenate([wide, np.full((40, 60, 1), 65535, np.uint16)], 2)
    page = tiff_page(opaque, planar=True, extra_tags={338: (SHORT, [2])})
    np.testing.assert_array_equal(read_photo(tiff([page])), pixels)
    inks = np.concatenate([65535 - wide, np.zeros((40, 60, 1), np.uint16)], 2)
    page = tiff_page(inks, planar=True, photometric=5)
    np.testing.assert_array_equal(read_photo(tiff([page])), pixels)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_ycbcr_tiff_is_converted_to_rgb(pixels, planar, deflate):
    samples = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    page = tiff_page(
        samples, planar=planar, deflate=deflate, photometric=6, extra_tags={530: (SHORT, [1, 1])}
    )
    assert np.abs(read_photo(tiff([page])).astype(int) - pixels).max() <= 4


def test_reading_tiff_leaves_the_global_flag_of_pillow_as_it_was(pixels):
    read_photo(tiff([tiff_page(pixels.astype(np.uint16) * 257, planar=True)]))
    assert image_file.TiffImagePlugin.READ_LIBTIFF is False


@pytest.mark.parametrize("reduced", [False, True])
def test_thumbnail_page_of_a_tiff_is_passed_over(pixels, reduced):
    thumbnail = tiff_page(pixels[::4, ::4], extra_tags={254: (LONG, [1])} if reduced else None)
    np.testing.assert_array_equal(read_photo(tiff([thumbnail, tiff_page(pixels)])), pixels)


def test_first_page_of_similar_ones_is_read(pixels):
    other = tiff_page(np.zeros((50, 70, 3), np.uint8))
    np.testing.assert_array_equal(read_photo(tiff([tiff_page(pixels), other])), pixels)


def _thumbnail_over_raw(pixels):
    page = tiff_page(pixels[::4, ::4], extra_tags={254: (LONG, [1])})
    return tiff([page | {"sub": tiff_page(pixels)}])


@pytest.mark.parametrize(
    "make",
    [
        _thumbnail_over_raw,
        lambda pixels: tiff([tiff_page(pixels, extra_tags={50706: (1, [1, 4, 0, 0])})]),
        lambda pixels: b"II*\0\x10\0\0\0CR\x02\0" + bytes(99),
        lambda pixels: b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(99),
        lambda pixels: b"FUJIFILMCCD-RAW 0201" + bytes(99),
        lambda pixels: b"IIRO\x08\0\0\0" + bytes(99),
        lambda pixels: b"IIU\0\x18\0\0\0" + bytes(99),
    ],
    ids=["thumbnail", "dng", "cr2", "cr3", "raf", "orf", "rw2"],
)
def test_camera_raw_file_is_refused_with_advice(pixels, make):
    with pytest.raises(PhotoError, match="camera raw file: convert it to JPEG with a raw conv"):
        read_photo(make(pixels))


@pytest.mark.parametrize("brand", [b"avif", b"mif1", b"miaf", b"msf1", b"abcd"])
def test_avif_is_recognised_by_its_compatible_brands(brand):
    content = bytearray(encode(Image.new("RGB", (32, 32), (200, 10, 10)), "AVIF", quality=100))
    content[8:12] = brand
    assert np.abs(read_photo(bytes(content))[9, 9].astype(int) - (200, 10, 10)).max() < 6


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_photo_is_read_upright(brand, orientation):
    content = bytearray(heic(sides(), quality=90, exif=orientation_exif(orientation)))
    content[8:12] = brand
    expect_sides(read_photo(bytes(content)), orientation)


def test_damaged_heic_photo_is_refused():
    content = heic(sides(), quality=90)
    for bad in (content[:200], content[: len(content) // 2]):
        with pytest.raises(PhotoError, match="HEIC file that cannot be read|damaged"):
            read_photo(bad)


LARGE = {
    "baseline": lambda exif: encode(sides(), "JPEG", quality=95, exif=exif),
    "progressive": lambda exif: encode(sides(), "JPEG", quality=95, progressive=True, exif=exif),
    "png": lambda exif: encode(sides(), "PNG", exif=exif),
    "palette": lambda exif: encode(sides().convert("P"), "PNG", exif=exif),
    "tiff": lambda exif: encode(sides(), "TIFF", exif=exif),
    "heic": lambda exif: heic(sides(), quality=90, exif=exif),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_photo_is_reduced_upright(kind, orientation, monkeypatch):
    monkeypatch.setattr(reduction, "MAX_PIXELS", 10_000)
    photo = read_photo(LARGE[kind](orientation_exif(orientation)))
    assert photo.shape[0] * photo.shape[1] <= 10_000
    assert sorted(photo.shape[:2]) == pytest.approx([75, 100], abs=1)
    expect_sides(photo, orientation)


def test_large_photo_of_16_bits_is_reduced(monkeypatch):
    monkeypatch.setattr(reduction, "MAX_PIXELS", 10_000)
    ramp = np.tile(np.linspace(0, 65535, 400).astype(np.uint16), (300, 1))
    photo = read_photo(encode(Image.fromarray(ramp), "PNG"))
    assert photo.shape == (75, 100, 3)
    assert np.abs(photo[40, :, 0].astype(int) - np.linspace(0, 255, 100)).max() < 4


def test_only_a_jpeg_that_is_not_progressive_may_exceed_what_decoders_hold(monkeypatch):
    monkeypatch.setattr(reduction, "MAX_PIXELS", 10_000)
    monkeypatch.setattr(reduction, "MAX_DECODED_PIXELS", 100_000)
    plain = orientation_exif(1)
    expect_sides(read_photo(LARGE["baseline"](plain)), 1)
    for kind in ("progressive", "png", "tiff", "heic"):
        with pytest.raises(PhotoError, match="megapixels"):
            read_photo(LARGE[kind](plain))
    monkeypatch.setattr(reduction, "MAX_JPEG_PIXELS", 110_000)
    with pytest.raises(PhotoError, match="megapixels"):
        read_photo(LARGE["baseline"](plain))


def sides():
    """Picture of 400 x 300 pixels, red on the left, blue on the right."""
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[:, :200] = 220, 30, 30
    pixels[:, 200:] = 30, 30, 220
    return Image.fromarray(pixels)


def orientation_exif(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def expect_sides(photo, orientation):
    """Red is on the left, or above for orientation 6, which is a turn by 90 degrees."""
    photo = photo.astype(int) if orientation == 1 else photo.transpose(1, 0, 2).astype(int)
    width = photo.shape[1]
    assert photo.shape[0] < width
    third = width // 3
    assert np.abs(photo[:, :third] - (220, 30, 30)).max() < 30
    assert np.abs(photo[:, -third:] - (30, 30, 220)).max() < 30


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "a JPEG XL image"),
        (b"8BPS\0\x01" + bytes(99), "a Photoshop document"),
        (b"%PDF-1.7\n", "a PDF document: convert it to JPEG or PNG"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive: unpack it first"),
        (b"OggS" + bytes(99), "not a photo but an Ogg file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"\xc5\xd0\xd3\xc6" + bytes(99), "a PostScript file"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), "is a video"),
        (b"\x1aE\xdf\xa3" + bytes(99), "is a video"),
    ],
)
def test_other_format_is_named(content, sentence):
    with pytest.raises(PhotoError, match=sentence):
        read_photo(content)


def test_one_function_opens_images_and_one_module_starts_programs():
    """Other formats than `FORMATS` start Ghostscript, and other programs do as they like."""
    opened, started = {}, {}
    for path in sorted((ROOT / "aios").rglob("*.py")):
        text = path.read_text()
        name = path.relative_to(ROOT).as_posix()
        opened[name] = len(re.findall(r"Image\.open\((?!.*formats=)|imread|imdecode", text))
        started[name] = "subprocess" in text or "os.system" in text
    assert not any(opened.values())
    assert [name for name, found in started.items() if found] == ["aios/media/decoder.py"]
    assert not {"EPS", "PDF", "WMF", "FITS"} & set(FORMATS)


def test_jpeg_with_many_scans_is_refused(monkeypatch):
    content = encode(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
    read_photo(content)
    monkeypatch.setattr(image_file, "MAX_SCANS", 3)
    with pytest.raises(PhotoError, match="more than 3 scans"):
        read_photo(content)


def test_lack_of_memory_is_reported_as_such(monkeypatch):
    def fail(image, name):
        raise MemoryError

    monkeypatch.setattr("aios.media.photo.decode_image", fail)
    with pytest.raises(PhotoError, match="not enough memory for The photo"):
        read_photo(encode(Image.new("RGB", (9, 9)), "PNG"))


def test_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "scan.tif"
    with path.open("wb") as file:
        file.write(b"II*\0")
        file.truncate(4_000_000_000)  # a sparse file
    with pytest.raises(PhotoError, match=r"scan\.tif has more than 500 MB"):
        read_photo(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_device_is_refused(path):
    with pytest.raises(PhotoError, match="is not a regular file"):
        read_photo(path)


def gradient():
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    return np.stack([x * 4, y * 5, 255 - x * 2], 2).astype(np.uint8)


PROFILES = {
    # D50 colorants of Adobe RGB (1998), Display P3 and ProPhoto RGB.
    "adobe": rgb_profile(
        [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)], 2.2
    ),
    "p3": rgb_profile(
        [(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)], 2.2
    ),
    "prophoto": rgb_profile(
        [(0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)], 1.8
    ),
    "swapped": rgb_profile(
        [(0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139), (0.4361, 0.2225, 0.0139)], 2.2
    ),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP", "AVIF", "JPEG"])
def test_photo_with_a_colour_profile_is_converted_to_srgb(name, fmt):
    original = Image.fromarray(gradient())
    profile = ImageCms.ImageCmsProfile(io.BytesIO(PROFILES[name]))
    wide = ImageCms.profileToProfile(
        original, ImageCms.createProfile("sRGB"), profile, outputMode="RGB"
    )
    assert wide is not None
    options = {"lossless": True} if fmt == "WEBP" else {"quality": 100} if fmt != "PNG" else {}
    if fmt in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    content = encode(wide, fmt, icc_profile=PROFILES[name], **options)
    difference = np.abs(read_photo(content).astype(int) - gradient())
    stored = np.abs(np.asarray(wide).astype(int) - gradient())
    assert difference.mean() < 2 and difference.mean() < 0.4 * stored.mean()


def test_srgb_and_damaged_profiles_leave_pixels_unchanged():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile", PROFILES["adobe"][:200], grey_profile(1.0)):
        content = encode(Image.fromarray(gradient()), "PNG", icc_profile=profile)
        np.testing.assert_array_equal(read_photo(content), gradient())


def test_profile_applies_to_palette_alpha_and_grey_images():
    swapped = PROFILES["swapped"]
    for mode in ("P", "RGBA", "RGB"):
        image = Image.new("RGB", (8, 8), (250, 0, 0)).convert(mode)
        red, green, blue = read_photo(encode(image, "PNG", icc_profile=swapped))[3, 3].tolist()
        assert green > 200 and green > max(red, blue) + 50
    transparent = Image.new("RGBA", (8, 8), (250, 0, 0, 0))
    assert read_photo(encode(transparent, "PNG", icc_profile=swapped))[3, 3].tolist() == [255] * 3
    grey = Image.new("L", (8, 8), 128)
    linear = read_photo(encode(grey, "PNG", icc_profile=grey_profile(1.0)))[3, 3].tolist()
    assert linear == pytest.approx([188] * 3, abs=2)  # half the light


@pytest.mark.parametrize("fmt", ["JPEG", "TIFF"])
def test_cmyk_photo_is_converted_by_its_profile(fmt):
    """A profile whose cyan ink prints red tells conversion by profile from the plain formula."""

    def lab(cyan, magenta, yellow, black):
        if black:
            return 5, 0, 0
        if cyan:
            return 54, 80, 67
        return (100, 0, 0) if not magenta and not yellow else (50, 0, 0)

    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = read_photo(encode(image, fmt))[7, 7].tolist()
    assert plain[0] < 30 and plain[1] > 200
    converted = read_photo(encode(image, fmt, icc_profile=cmyk_profile(lab)))[7, 7].tolist()
    assert converted[0] > 230 and converted[1] < 60 and converted[2] < 60
