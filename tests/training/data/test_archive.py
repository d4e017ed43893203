"""Archives with pickled dictionaries are read without executing code."""

import os
import pickle

import numpy as np
import pytest

from training.data.archive import Archive, DataError, read_list


class Code:
    def __reduce__(self):
        return os.mkdir, (str(PATH),)


PATH = None


@pytest.fixture
def harmful(tmp_path):
    global PATH
    PATH = tmp_path / "was_here"
    np.savez(tmp_path / "harmful.npz", meta=np.array({"a": Code()}, dtype=object), good=np.ones(3))
    return tmp_path / "harmful.npz"


def test_dictionaries_of_arrays_and_text_are_read(tmp_path):
    path = tmp_path / "file.npz"
    inner = {"pose": np.arange(6.0).reshape(2, 3), "gender": ["male", "female"], "n": np.int64(3)}
    np.savez(path, smplx=inner, plain=np.arange(4), names=np.array(["a", None], dtype=object))
    archive = Archive(path)
    assert archive.names == {"smplx", "plain", "names"}
    again = archive.read_dictionary("smplx")
    assert np.array_equal(again["pose"], inner["pose"])
    assert again["gender"] == inner["gender"] and again["n"] == 3
    assert archive.read("plain").tolist() == [0, 1, 2, 3]
    assert archive.read("names").tolist() == ["a", None]
    assert archive.read_dictionary("nothing") == {}
    assert pickle.loads(pickle.dumps(archive)).read("plain").tolist() == [0, 1, 2, 3]


def test_pickled_code_is_not_executed(harmful):
    archive = Archive(harmful)
    with pytest.raises(DataError, match=r"harmful\.npz.*mkdir.*--trust-pickle"):
        archive.read("meta")
    assert not PATH.exists()
    assert archive.read("good").tolist() == [1, 1, 1]
    Archive(harmful, trust_pickle=True).read("meta")
    assert PATH.exists()


def test_damaged_files_are_named(tmp_path, harmful):
    with pytest.raises(DataError, match=r"gone\.npz cannot be opened"):
        Archive(tmp_path / "gone.npz")
    (tmp_path / "half.npz").write_bytes(harmful.read_bytes()[:100])
    with pytest.raises(DataError, match=r"half\.npz is not a complete \.npz archive"):
        Archive(tmp_path / "half.npz")
    with pytest.raises(DataError, match="no array named 'bad'"):
        Archive(harmful).read("bad")
    with pytest.raises(DataError, match="'good' should be a dictionary"):
        Archive(harmful).read_dictionary("good")
    with pytest.raises(DataError, match=r"list\.npy cannot be read"):
        read_list(tmp_path / "list.npy")
