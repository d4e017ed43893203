"""Result files on disk: limits for one visitor and for all."""

import pytest

from aios.page.result_folders import ResultFolders


@pytest.fixture
def make(tmp_path):
    def make(name: str, size: int = 10):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.glb").write_bytes(bytes(size))
        return folder

    return make


def test_oldest_folders_of_a_visitor_make_room(make):
    folders, visit, other = ResultFolders(25, 1000), object(), object()
    made = [make(str(number)) for number in range(4)]
    folders.add(other, make("other"))
    for folder in made:
        folders.add(visit, folder)
    assert [folder.exists() for folder in made] == [False, False, True, True]
    assert (made[0].parent / "other").exists()


def test_oldest_folders_of_all_visitors_make_room(make):
    folders = ResultFolders(1000, 35)
    made = [make(str(number)) for number in range(6)]
    for number, folder in enumerate(made):
        folders.add(number, folder)
    assert [folder.exists() for folder in made] == [False] * 3 + [True] * 3


def test_latest_folder_stays_above_the_limit(make):
    folders = ResultFolders(5, 5)
    for name in "ab":
        folders.add("visit", make(name))
    assert make("c").parent.joinpath("b").exists() and not make("d").parent.joinpath("a").exists()


def test_folders_of_an_ended_visit_do_not_count(make):
    folders, visit = ResultFolders(1000, 25), object()
    folders.add(visit, make("a", 20))
    folders.drop(visit)
    made = [make("b"), make("c")]
    for folder in made:
        folders.add("other", folder)
    assert all(folder.exists() for folder in made)
