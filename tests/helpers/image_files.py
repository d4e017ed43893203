"""Image files written byte by byte, of kinds that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

SHORT, LONG = 3, 4
_CODES = {1: "B", 2: "B", SHORT: "H", LONG: "I", 7: "B"}


def heic(image, **options):
    """An HEIC file; the program itself only decodes them."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def tiff(pages, order="<"):
    """A TIFF file.

    Args:
        pages: for each page, tags {tag: (type, values)} and the data of its strips. A page may
            also have the key "sub": a page that its tag SubIFDs (330) points to.
        order: "<" or ">".
    """
    content = bytearray(b"II*\0" if order == "<" else b"MM\0*")
    content += struct.pack(order + "I", 0)

    def add_page(page):
        """Append a page; returns its offset and the position of its next-page field."""
        tags = dict(page["tags"])
        offsets = []
        for strip in page["strips"]:
            offsets.append(len(content))
            content.extend(strip + b"\0" * (len(strip) % 2))
        tags[273] = (LONG, offsets)
        tags[279] = (LONG, [len(strip) for strip in page["strips"]])
        if "sub" in page:
            tags[330] = (LONG, [add_page(page["sub"])[0]])
        entries = b""
        for tag in sorted(tags):
            kind, values = tags[tag]
            raw = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
            if len(raw) > 4:
                at = len(content)
                content.extend(raw + b"\0" * (len(raw) % 2))
                raw = struct.pack(order + "I", at)
            entries += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
        start = len(content)
        content.extend(struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0))
        return start, len(content) - 4

    link = 4
    for page in pages:
        start, following = add_page(page)
        struct.pack_into(order + "I", content, link, start)
        link = following
    return bytes(content)


def tiff_page(
    samples, order="<", planar=False, deflate=False, rows=None, photometric=2, extra_tags=None
):
    """A page of `tiff` from (H, W, C) uint8 or uint16 samples.

    Args:
        samples: the pixels.
        order: "<" or ">".
        planar: store each channel on its own.
        deflate: compress.
        rows: per strip; None for one strip.
        photometric: 2 is RGB, 5 CMYK, 6 YCbCr.
        extra_tags: more tags.
    """
    height, width, channels = samples.shape
    rows = rows or height
    stored = samples.astype(samples.dtype.newbyteorder(order))
    strips = []
    for plane in stored.transpose(2, 0, 1) if planar else [stored]:
        for y in range(0, height, rows):
            data = np.ascontiguousarray(plane[y : y + rows]).tobytes()
            strips.append(zlib.compress(data) if deflate else data)
    tags = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * samples.dtype.itemsize] * channels),
        259: (SHORT, [8 if deflate else 1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [channels]),
        278: (LONG, [rows]),
        284: (SHORT, [2 if planar else 1]),
    }
    return {"tags": tags | (extra_tags or {}), "strips": strips}


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _profile(space, device_class, connection, tags):
    """An ICC profile of version 2.4 from {signature: data}."""
    start = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += signature + struct.pack(">II", start + len(data), len(value))
        data += value
    header = struct.pack(
        ">I4sI4s4s4s", start + len(data), b"none", 0x02400000, device_class, space, connection
    )
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += _fixed(0.9642) + _fixed(1) + _fixed(0.8249)
    return header.ljust(128, b"\0") + table + data


_TEXTS = {
    b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78),
    b"cprt": b"text\0\0\0\0x\0",
}


def rgb_profile(colorants, gamma):
    """ICC profile of an RGB space.

    Args:
        colorants: XYZ (D50) of the red, green and blue primaries.
        gamma: of all channels.
    """
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = dict(_TEXTS)
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + b"".join(map(_fixed, (0.9642, 1, 0.8249)))
    for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True):
        tags[name] = b"XYZ \0\0\0\0" + b"".join(map(_fixed, xyz))
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = curve
    return _profile(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(gamma):
    """ICC profile of a grey space."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + b"".join(map(_fixed, (0.9642, 1, 0.8249)))
    return _profile(b"GRAY", b"mntr", b"XYZ ", {**_TEXTS, b"wtpt": white, b"kTRC": curve})


def cmyk_profile(lab_of_ink):
    """ICC profile of a printer whose 16 combinations of full inks have the given colours.

    Args:
        lab_of_ink: (c, m, y, k), each 0 or 1 -> (L 0-100, a, b).
    """
    table = b""
    for index in range(16):
        inks = [(index >> shift) & 1 for shift in (3, 2, 1, 0)]
        lightness, a, b = lab_of_ink(*inks)
        table += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    ramp = bytes(range(256))
    matrix = b"".join(_fixed(float(i == j)) for i in range(3) for j in range(3))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + table + ramp * 3
    white = b"XYZ \0\0\0\0" + b"".join(map(_fixed, (0.9642, 1, 0.8249)))
    return _profile(b"CMYK", b"prtr", b"Lab ", {**_TEXTS, b"wtpt": white, b"A2B0": lut})


def save_photo_with_focal_length(path, millimetres):
    """Write a photo of 120 x 90 pixels whose EXIF data have a focal length for 35 mm film."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = millimetres
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, exif=exif.tobytes())
    return path
