"""Untrusted archives: only photos are unpacked, one at a time, within limits."""

import tracemalloc
import zipfile

import pytest

from aios.media import photo_sources
from aios.media.photo import PhotoError
from aios.media.photo_sources import InputError, items_from_zip, safe_name


def make_zip(path, files, **arguments):
    with zipfile.ZipFile(path, "w", **arguments) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(path):
    """Name -> bytes read, or the reason of the failure."""
    found = {}
    with items_from_zip(path) as items:
        for item in items:
            try:
                found[item.name] = item.read()
            except PhotoError as error:
                found[item.name] = str(error)
    return found


def test_photos_of_nested_folders_are_read_and_other_files_refused(tmp_path):
    path = make_zip(
        tmp_path / "a.zip",
        {
            "a.jpg": b"1",
            "deep/er/b.PNG": b"2",
            "notes.txt": b"3",
            "inner.zip": b"PK\x03\x04 4",
            "__MACOSX/a.jpg": b"5",
            ".DS_Store": b"6",
            "deep/Thumbs.db": b"7",
            "empty/": b"",
        },
    )
    assert contents(path) == {
        "a.jpg": b"1",
        "deep/er/b.PNG": b"2",
        "notes.txt": "notes.txt is not a photo.",
        "inner.zip": "inner.zip is not a photo (ZIP archive).",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.jpg", "etc/passwd.jpg"),
        ("/root/a.jpg", "root/a.jpg"),
        ("..\\..\\windows\\a.jpg", "windows/a.jpg"),
        ("C:\\a.jpg", "C_/a.jpg"),
        ("a/./b/../c.jpg", "a/b/c.jpg"),
        ("a\nb\0c.jpg", "a_b_c.jpg"),
        ("   .jpg", "jpg"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("x" * 500 + ".jpg", "x" * 80 + ".jpg"),
        ("1/2/3/4/5/6.jpg", "3/4/5/6.jpg"),
        ("Grüße 山.jpg", "Grüße 山.jpg"),
    ],
)
def test_names_are_made_safe(name, shown):
    assert safe_name(name) == shown


def test_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_sources, "MAX_FILE_BYTES", 1_000_000)
    path = make_zip(
        tmp_path / "bomb.zip",
        {"bomb.png": bytes(3_000_000), "fine.png": b"1"},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 5000
    assert contents(path) == {"bomb.png": "bomb.png unpacks to more than 1 MB.", "fine.png": b"1"}
    # With a false size of 10 bytes in the directory, the checksum of the first 10 is wrong.
    content = path.read_bytes().replace((3_000_000).to_bytes(4, "little"), bytes([10, 0, 0, 0]))
    path.write_bytes(content)
    assert "bomb.png" in contents(path)["bomb.png"]
    assert contents(path)["fine.png"] == b"1"


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_sources, "MAX_FILES", 3)
    path = make_zip(tmp_path / "a.zip", {f"{index}.jpg": b"" for index in range(4)})
    with pytest.raises(InputError, match="a.zip contains 4 files: split it into .* at most 3"):
        contents(path)


def test_two_thousand_files_are_listed_without_being_read(tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"{index:04}.jpg": b"x" for index in range(2000)})
    with items_from_zip(path) as items:
        assert len(items) == 2000
        assert items[1234].read() == b"x"


def test_encrypted_and_damaged_files_are_reported(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"hello" * 99, "b.jpg": b"fine"})
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(bytes(content))
    found = contents(path)
    assert found["b.jpg"] == b"fine"
    assert "cannot be unpacked" in found["a.jpg"]
    path = make_zip(tmp_path / "b.zip", {"a.jpg": b"hello"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # in the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(bytes(content))
    assert contents(path) == {"a.jpg": "a.jpg is encrypted with a password."}


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"\0" * 5000])
def test_file_that_is_not_an_archive_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match="a.zip is not a ZIP archive"):
        contents(tmp_path / "a.zip")


def rename_entries(path, names):
    """Replace the stored name bytes of an archive by others of the same length."""
    content = path.read_bytes()
    for old, new in names.items():
        assert len(old) == len(new) and old in content
        content = content.replace(old, new)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("Grüße.jpg".encode(), "Grüße.jpg"),  # the archiver of macOS
        ("照片.jpg".encode("gbk"), "照片.jpg"),  # Chinese Windows
        ("Grüße.jpg".encode("cp437"), "Grüße.jpg"),  # Western DOS and Windows
    ],
)
def test_names_without_a_mark_of_their_encoding_are_decoded(tmp_path, stored, shown):
    placeholder = "x" * len(stored)
    path = make_zip(tmp_path / "a.zip", {placeholder: b"1"})
    rename_entries(path, {placeholder.encode(): stored})
    assert contents(path) == {shown: b"1"}


def test_name_marked_as_utf8_that_is_not_does_not_refuse_the_archive(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"bäd.jpg": b"1", "göod.jpg": b"2", "z.jpg": b"3"})
    rename_entries(path, {"bäd.jpg".encode(): b"b\xff\xffd.jpg"})
    found = contents(path)
    assert [found[name] for name in ("göod.jpg", "z.jpg")] == [b"2", b"3"]
    assert sorted(found.values()) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_than_deflate_is_refused(tmp_path, method):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": bytes(9_000_000)}, compression=method)
    assert contents(path) == {
        "a.jpg": "a.jpg uses a compression other than deflate: pack it as a plain ZIP."
    }


def test_false_sizes_in_the_directory_take_no_memory(tmp_path):
    """An entry that unpacks to more than it states, and one that states more than it has."""
    size, stated = 50_000_000, 199_000_000
    path = make_zip(
        tmp_path / "a.zip",
        {"a.jpg": bytes(size), "b.jpg": b"fine" * 7},
        compression=zipfile.ZIP_DEFLATED,
    )
    content = path.read_bytes()
    for true, false in ((size, 10), (28, stated)):
        content = content.replace(true.to_bytes(4, "little"), false.to_bytes(4, "little"))
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = contents(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {
        "a.jpg": "a.jpg cannot be unpacked: the archive is damaged.",
        "b.jpg": b"fine" * 7,
    }
    assert peak < 5_000_000


def test_photo_is_recognised_by_its_content(tmp_path):
    jpeg = b"\xff\xd8\xff\xe0 not decoded here"
    clip = b"\0\0\0\x18ftypisom\0\0\0\0isommp42"
    path = make_zip(tmp_path / "a.zip", {"IMG_1": jpeg, "a.dat": jpeg, "IMG_1.MOV": clip})
    assert contents(path) == {
        "IMG_1": jpeg,
        "a.dat": jpeg,
        "IMG_1.MOV": "IMG_1.MOV is not a photo (MP4).",
    }
