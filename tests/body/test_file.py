"""Body model files as people have them, and as attackers make them."""

import io
import pickle
import struct
import sys
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
import scipy.sparse

from aios.body import file as file_module
from aios.body.array_layout import find_layout
from aios.body.array_pickle import load_array_pickle
from aios.body.file import read_body_file
from aios.body.location import find_body_file
from aios.body.model import BodyModelError
from aios.resources import STANDIN_BODY


@pytest.fixture(scope="module")
def arrays():
    with np.load(STANDIN_BODY) as person:
        return {name: person[name] for name in person.files if name != "standin_note"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "SMPLX_NEUTRAL.npz"


@pytest.fixture
def chumpy(monkeypatch):
    """Class with the name and the pickled state of chumpy's arrays."""

    class Ch:
        def __init__(self, x):
            self.x, self._dirty_vars, self._itr = x, {"x"}, None

    module = types.ModuleType("chumpy.ch")
    module.Ch, Ch.__module__, Ch.__qualname__ = Ch, "chumpy.ch", "Ch"
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def saved(path, arrays):
    np.savez(path, **arrays)
    return path


def same(path):
    found, wanted = read_body_file(path).arrays, read_body_file(STANDIN_BODY).arrays
    return all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("protocol", range(5))
def test_pickle_with_chumpy_arrays_is_read(tmp_path, arrays, chumpy, protocol):
    """Protocols 0 to 3 write Python sets as calls of a class."""
    small = {"v_template": chumpy(arrays["v_template"]), "f": arrays["f"][:4]}
    found = load_array_pickle(pickle.dumps(small, protocol))
    np.testing.assert_array_equal(found["v_template"].to_array(), arrays["v_template"])
    if protocol == 2:
        path = tmp_path / "SMPLX_NEUTRAL.pkl"
        content = arrays | {
            "shapedirs": chumpy(arrays["shapedirs"]),
            "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        }
        path.write_bytes(pickle.dumps(content, protocol))
        assert same(path)


def test_pickled_arrays_of_an_npz_are_read(path, arrays, chumpy):
    """`np.savez` of the dictionary of a pickle."""
    objects = {
        "J_regressor": np.array(scipy.sparse.csc_matrix(arrays["J_regressor"]), dtype=object),
        "v_template": np.array(chumpy(arrays["v_template"]), dtype=object),
        "part2num": np.array({"a": 1}, dtype=object),
    }
    assert same(saved(path, arrays | objects))


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("form", ["matrix", "array"])
def test_sparse_matrices_of_scipy_are_read(arrays, kind, form):
    matrix = getattr(scipy.sparse, f"{kind}_{form}")(arrays["J_regressor"])
    found = load_array_pickle(pickle.dumps(matrix, 2))
    np.testing.assert_array_equal(found.to_array(), arrays["J_regressor"])


def test_coordinates_of_older_versions_of_scipy_are_read(arrays):
    matrix = scipy.sparse.coo_matrix(arrays["J_regressor"])
    state = vars(matrix)
    state["row"], state["col"] = state.pop("coords")
    found = load_array_pickle(pickle.dumps(matrix, 2))
    np.testing.assert_array_equal(found.to_array(), arrays["J_regressor"])


def test_arrays_in_other_shapes_are_read(path, arrays):
    changes = {
        "v_template": lambda v: v[None],
        "f": lambda v: v.T,
        "posedirs": lambda v: v.reshape(-1, v.shape[-1]).T,
        "shapedirs": lambda v: v.reshape(-1, 20),
        "J_regressor": lambda v: v.T,
        "kintree_table": lambda v: v.T,
        "hands_meanl": lambda v: v[None],
        "hands_meanr": lambda v: v.reshape(15, 3),
        "lmk_faces_idx": lambda v: v[:, None],
        "lmk_bary_coords": lambda v: v[:, None],
        "dynamic_lmk_faces_idx": lambda v: v.ravel(),
        "dynamic_lmk_bary_coords": lambda v: v.reshape(-1, 3),
    }
    changed = {name: change(arrays[name]) for name, change in changes.items()}
    assert all(changed[name].shape != arrays[name].shape for name in changed)
    assert same(saved(path, arrays | changed))


def test_shapes_that_mix_elements_are_refused():
    assert find_layout((3, 10475), (10475, 3)) == ((10475, 3), True)
    for shape in ((3, 20, 10475), (20, 10475, 3), (10475, 60, 2), (), (0, 3)):
        assert find_layout(shape, (10475, 3, 20)) is None
    assert find_layout((4, 9), (None, 3)) is None
    assert find_layout((36,), (None, 3)) == ((12, 3), False)


def test_content_counts_and_not_the_suffix(path, arrays):
    saved(path, arrays)
    for suffix in (".pkl", ".zip"):
        path = path.rename(path.with_suffix(suffix))
        assert same(find_body_file(path))
    path = path.with_suffix(".npz")
    path.write_bytes(pickle.dumps(arrays, 2))
    assert same(path)


def test_archive_of_the_download_page_is_explained(path, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("models/smplx/SMPLX_NEUTRAL.npz", b"...")
    text = r"unpack it and give the SMPLX_NEUTRAL\.npz"
    with pytest.raises(BodyModelError, match=text):
        read_body_file(path)
    with pytest.raises(BodyModelError, match=text):
        read_body_file(find_body_file(path.rename(path.with_name("models_smplx_v1_1.zip"))))


def test_smpl_is_named(path):
    path = path.with_suffix(".pkl")
    path.write_bytes(pickle.dumps({"v_template": np.zeros((6890, 3))}, 2))
    with pytest.raises(BodyModelError, match=r"SMPL or SMPL\+H model \(6890 vertices\)"):
        read_body_file(path)


def test_lack_of_memory_is_reported_as_such(path, arrays, monkeypatch):
    def no_memory(*_arguments):
        raise MemoryError

    saved(path, arrays)
    monkeypatch.setattr(file_module, "read_npz", no_memory)
    with pytest.raises(BodyModelError, match="not enough memory"):
        read_body_file(path)


def _changed(arrays, name, change):
    value = arrays[name].astype(np.float64)
    return arrays | {name: change(value)}


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("v_template", lambda v: v * 1000, "not the size of a person"),
        ("v_template", lambda v: v * 1e-3, "not the size of a person"),
        ("v_template", lambda v: v * [1, 1, 0], "not the size of a person"),
        ("v_template", lambda v: v * 1e30, "not the size of a person"),
        ("shapedirs", lambda v: v * 1e20, "shapedirs has values above 2"),
        ("posedirs", lambda v: v + 9, "posedirs has values above 2"),
        ("hands_meanl", lambda v: v + 1e6, "hands_meanl has values above"),
        ("weights", lambda v: v * 0, "do not sum to 1"),
        ("weights", lambda v: v * 2, "do not sum to 1"),
        ("weights", lambda v: np.eye(55)[np.zeros(len(v), int)], "joints without a vertex"),
        ("J_regressor", lambda v: v * 3, "J_regressor do not sum to 1"),
        ("f", lambda v: v * 0, "enclose 0 m³"),
        ("f", lambda v: v + 0.5, "not whole"),
        ("f", lambda v: np.tile(v, (100, 1)), r"f has shape \(2093800, 3\)"),
        ("shapedirs", lambda v: np.full(v.shape, np.inf), "not finite"),
    ],
)
def test_body_of_no_person_is_refused(path, arrays, name, change, text):
    with pytest.raises(BodyModelError, match=text) as error:
        read_body_file(saved(path, _changed(arrays, name, change)))
    assert "\n" not in str(error.value)


def test_archive_that_lies_about_a_size_allocates_nothing(path, arrays):
    header = io.BytesIO()
    shape = (10475, 3, 10**9)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    saved(path, {name: value for name, value in arrays.items() if name != "shapedirs"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("shapedirs.npy", header.getvalue())
    assert _peak(path, "shapedirs has shape") < 30_000_000
    cut = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        cut, {"descr": "<f8", "fortran_order": False, "shape": (10475, 3, 400)}
    )
    other = path.with_name("cut.npz")
    saved(other, {name: value for name, value in arrays.items() if name != "shapedirs"})
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("shapedirs.npy", cut.getvalue())
    assert _peak(other, "not a readable .npz") < 30_000_000


def _peak(path, text):
    """Memory that reading a refused file allocates, bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(BodyModelError, match=text):
            read_body_file(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


_GIGABYTES = 4_000_000_000


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02K\x00r" + struct.pack("<I", 2**31 - 1) + b".",  # memo
        b"\x80\x02K\x00p2000000000\n.",
        b"\x80\x04\x8e" + struct.pack("<Q", _GIGABYTES) + b"abc.",  # length of a text
        b"\x80\x05\x96" + struct.pack("<Q", _GIGABYTES) + b"abc.",
        b"\x80\x02c__builtin__\nbytearray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85R.",
        b"\x80\x02cnumpy\nndarray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ"
        + struct.pack("<i", 2**31 - 1)
        + b"\x85U\x01b\x87R.",
    ],
    ids=["memo", "text memo", "text", "bytes", "bytearray", "ndarray", "reconstruct"],
)
def test_pickle_that_asks_for_gigabytes_is_refused(path, content):
    path = path.with_suffix(".pkl")
    path.write_bytes(content)
    assert _peak(path, "pickle") < 30_000_000


def test_sparse_matrix_that_lies_about_its_size_is_refused(path, arrays):
    path = path.with_suffix(".pkl")
    for change in ({"_shape": (10**6, 10**6)}, {"indptr": np.array([0, 10**12])}):
        matrix = scipy.sparse.csc_matrix(arrays["J_regressor"])
        vars(matrix).update(change)
        path.write_bytes(pickle.dumps(arrays | {"J_regressor": matrix}, 4))
        with pytest.raises(BodyModelError, match=r"damaged|has shape"):
            read_body_file(path)
