"""Manifest of finished inputs: what counts as finished, cut lines, one run at a time."""

import os

import pytest

from aios.pipelines.manifest import FolderInUseError, Manifest, file_identity
from aios.pipelines.output_names import MANIFEST

ROW = ["a.png", 1, 0.25, "a"]


def add(manifest, folder, name, content=b"123"):
    (folder / f"{name}.json").write_bytes(content)
    manifest.add(f"/photos/{name}.png|1|2", name, {f"{name}.json": len(content)}, [ROW])


def finished(folder, *names, settings="s"):
    with Manifest(folder, settings) as manifest:
        return [manifest.find(f"/photos/{name}.png|1|2") is not None for name in names]


def test_a_later_run_finds_what_was_recorded(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
        add(manifest, tmp_path, "b")
    with Manifest(tmp_path, "s") as manifest:
        record = manifest.find("/photos/b.png|1|2")
        assert record is not None
        assert (record.stem, dict(record.files), record.rows) == ("b", {"b.json": 3}, [ROW])
        assert manifest.find("/photos/c.png|1|2") is None


def test_lines_longer_than_one_read_are_found(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        for name in "ab":
            manifest.add(name, name, {}, [["x" * 100, index] for index in range(2000)])
        for name in "ab":
            record = manifest.find(name)
            assert record is not None and record.stem == name and len(record.rows) == 2000


@pytest.mark.parametrize("cut", [1, 20])
def test_line_that_was_cut_is_ignored_and_removed(tmp_path, cut):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
        add(manifest, tmp_path, "b")
    path = tmp_path / MANIFEST
    path.write_bytes(path.read_bytes()[:-cut])
    assert finished(tmp_path, "a", "b") == [True, False]
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "c")
    assert finished(tmp_path, "a", "b", "c") == [True, False, True]


@pytest.mark.parametrize("line", [b"\0\0\0\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"input": 1}\n'])
def test_damaged_line_does_not_hide_the_others(tmp_path, line):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
    with (tmp_path / MANIFEST).open("ab") as file:
        file.write(line)
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "b")
    assert finished(tmp_path, "a", "b") == [True, True]


def test_changed_or_missing_result_is_not_finished(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        for name in "abc":
            add(manifest, tmp_path, name)
    (tmp_path / "a.json").write_bytes(b"1234")
    (tmp_path / "b.json").unlink()
    assert finished(tmp_path, "a", "b", "c") == [False, False, True]


def test_other_settings_do_not_count(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
        add(manifest, tmp_path, "b")
    with Manifest(tmp_path, "other") as manifest:
        assert manifest.find("/photos/a.png|1|2") is None
        add(manifest, tmp_path, "a")
    assert finished(tmp_path, "a", "b") == [False, True]  # the results of a were replaced
    assert finished(tmp_path, "a", "b", settings="other") == [True, False]


def test_results_of_another_input_replace_those_of_the_same_stem(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
        manifest.add("/other/a.png|1|2", "a", {"a.json": 3})
    assert finished(tmp_path, "a") == [False]


def test_overwrite_forgets_everything(tmp_path):
    with Manifest(tmp_path, "s") as manifest:
        add(manifest, tmp_path, "a")
    with Manifest(tmp_path, "s", overwrite=True) as manifest:
        assert manifest.find("/photos/a.png|1|2") is None
    assert finished(tmp_path, "a") == [False]


def test_one_run_at_a_time(tmp_path):
    with Manifest(tmp_path, "s"), pytest.raises(FolderInUseError, match="Another run writes to"):
        Manifest(tmp_path, "s")
    assert finished(tmp_path) == []


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path):
    for name in (".a.json.123.tmp", ".hidden", "a.1.tmp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".unfinished-x").mkdir()
    (tmp_path / ".unfinished-x" / "clip.npz").write_bytes(b"")
    with Manifest(tmp_path, "s"):
        assert {path.name for path in tmp_path.iterdir()} == {".hidden", "a.1.tmp", MANIFEST}


def test_input_without_identity_is_never_finished(tmp_path):
    assert file_identity(tmp_path / "missing.png") == ""
    with Manifest(tmp_path, "s") as manifest:
        manifest.add("", "a", {})
        assert manifest.find("") is None


def test_identity_changes_with_the_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    first = file_identity(path)
    assert file_identity(path) == first
    os.utime(path, ns=(1, 1))
    second = file_identity(path)
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 1))
    assert len({first, second, file_identity(path)}) == 3
