"""Pickles of NumPy, SciPy and chumpy arrays are read; other classes are refused."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from aios.body.array_pickle import StoredArray, load_array_pickle

DATA = Path(__file__).resolve().parents[1] / "data" / "body"


def load(content):
    return load_array_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_protocol_are_read(protocol, order):
    content = {"a": np.asarray(np.arange(6.0).reshape(2, 3), order=order), "b": [np.float32(2)]}
    found = load(pickle.dumps(content, protocol=protocol))
    np.testing.assert_array_equal(found["a"], content["a"])
    assert found["b"] == [2]


def test_arrays_from_bytes_are_read():
    class Bare:
        def __reduce__(self):
            return np.ndarray, ((2,), "<f8", bytearray(np.array([1.0, 2.0]).tobytes()))

    np.testing.assert_array_equal(load(pickle.dumps(Bare())), [1, 2])


@pytest.mark.parametrize("kind", [csc_matrix, csr_matrix])
def test_sparse_matrices_become_dense(kind):
    dense = np.array([[0.0, 2, 0], [1, 0, 3]])
    found = load(pickle.dumps(kind(dense)))
    assert isinstance(found, StoredArray)
    np.testing.assert_array_equal(found.to_array(), dense)


@pytest.mark.parametrize("value", [print, io.BytesIO(), ValueError("x"), np.load])
def test_other_classes_are_refused(value):
    with pytest.raises(pickle.UnpicklingError):
        load(pickle.dumps(value))


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_the_real_chumpy_are_read(protocol):
    """Written by chumpy 0.70 on Python 3.8, see `tests/data`."""
    found = load((DATA / f"chumpy_protocol_{protocol}.pkl").read_bytes())
    np.testing.assert_array_equal(found["shapedirs"].to_array(), np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(found["J_regressor"].to_array(), np.eye(2, 3))
    assert found["f"].tolist() == [0, 1, 2]
