"""Archives of strangers: whatever is in them, only photos come out, one at a time."""

import zipfile

import pytest

from aios.media import photo_sources as batch_sources
from aios.media.photo import PhotoError
from aios.media.photo_sources import (
    InputError,
    items_from_paths,
    items_from_zip,
    safe_name,
    unique_stem,
)
from tests.helpers.served import save_photo


def make_zip(path, files, **arguments):
    with zipfile.ZipFile(path, "w", **arguments) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def reasons(path):
    """Name -> bytes read, or the sentence on why not."""
    found = {}
    with items_from_zip(path) as items:
        for item in items:
            try:
                found[item.name] = item.read()
            except PhotoError as error:
                found[item.name] = str(error)
    return found


def test_nested_folders_and_what_is_no_photo(tmp_path):
    path = make_zip(
        tmp_path / "a.zip",
        {
            "a.jpg": b"1",
            "deep/er/b.PNG": b"2",
            "notes.txt": b"3",
            "inner.zip": b"4",
            "__MACOSX/a.jpg": b"5",
            ".DS_Store": b"6",
            "deep/Thumbs.db": b"7",
            "empty/": b"",
        },
    )
    assert reasons(path) == {
        "a.jpg": b"1",
        "deep/er/b.PNG": b"2",
        "notes.txt": "notes.txt is no photo by its name.",
        "inner.zip": "inner.zip is no photo by its name.",
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
def test_names_are_harmless(name, shown):
    assert safe_name(name) == shown


def test_a_bomb_does_not_go_off(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_sources, "MAX_FILE_BYTES", 1_000_000)
    path = make_zip(
        tmp_path / "bomb.zip",
        {"bomb.png": bytes(3_000_000), "fine.png": b"1"},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 5000
    assert reasons(path) == {"bomb.png": "bomb.png unpacks to more than 1 MB.", "fine.png": b"1"}
    # The list of the archive says 10 bytes: as much is unpacked, and the check sum is wrong then.
    content = path.read_bytes().replace((3_000_000).to_bytes(4, "little"), bytes([10, 0, 0, 0]))
    path.write_bytes(content)
    assert "bomb.png" in reasons(path)["bomb.png"]
    assert reasons(path)["fine.png"] == b"1"


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_sources, "MAX_FILES", 3)
    path = make_zip(tmp_path / "a.zip", {f"{index}.jpg": b"" for index in range(4)})
    with pytest.raises(InputError, match="a.zip holds 4 files: split it, 3 at most"):
        reasons(path)


def test_two_thousand_files_are_listed_without_being_read(tmp_path):
    path = make_zip(tmp_path / "a.zip", {f"{index:04}.jpg": b"x" for index in range(2000)})
    with items_from_zip(path) as items:
        assert len(items) == 2000
        assert items[1234].read() == b"x"


def test_locked_and_damaged_files_are_sentences(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"hello" * 99, "b.jpg": b"fine"})
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(bytes(content))
    found = reasons(path)
    assert found["b.jpg"] == b"fine"
    assert "cannot be unpacked" in found["a.jpg"]
    path = make_zip(tmp_path / "b.zip", {"a.jpg": b"hello"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # in the file's head
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the list
    path.write_bytes(bytes(content))
    assert reasons(path) == {"a.jpg": "a.jpg is locked with a password."}


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"\0" * 5000])
def test_no_archive_is_a_sentence(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match="a.zip is not a zip archive"):
        reasons(tmp_path / "a.zip")


def test_files_and_folders(tmp_path):
    photo = save_photo(tmp_path / "b.png")
    save_photo(tmp_path / "a.jpg")
    items = items_from_paths([tmp_path, photo])
    assert [item.name for item in items] == ["a.jpg", "b.png"]
    assert items[1].read() == photo


def test_free_stems():
    taken = set()
    names = [unique_stem(name, taken) for name in ("a", "A", "a", "b/a", "a_2")]
    assert names == ["a", "A_2", "a_3", "b/a", "a_2_2"]
