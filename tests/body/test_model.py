"""Body model: posing compared with the `smplx` package, batching, gradients, bad files."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import torch

from aios.body.file import read_body_file
from aios.body.location import find_body_file
from aios.body.model import BodyModel, BodyModelError
from aios.body.parameters import SMPLX_SIZES
from aios.resources import STANDIN_BODY

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
for _wrist in (20, 21):
    for _ in range(5):
        PARENTS += [_wrist, len(PARENTS), len(PARENTS) + 1]


def random_body(components=20):
    """Random body model with pose directions, in the layout of the official files."""
    return dict(_random_body(components))


@functools.cache
def _random_body(components, num_faces=500):
    rng = np.random.default_rng(3)
    start = 300 if components == 400 else 10
    shapedirs = np.zeros((10475, 3, components), np.float32)
    shapedirs[..., :10] = 0.01 * rng.standard_normal((10475, 3, 10))
    shapedirs[..., start : start + 10] = 0.01 * rng.standard_normal((10475, 3, 10))
    posedirs = np.zeros((10475, 3, 486), np.float32)
    posedirs[::3] = 0.002 * rng.standard_normal((1, 3, 486))
    regressor = np.zeros((55, 10475), np.float32)
    regressor[np.repeat(np.arange(55), 8), rng.integers(0, 10475, 440)] = 1 / 8
    weights = rng.dirichlet(np.full(55, 0.1), 10475)
    with np.load(STANDIN_BODY) as person:
        template, faces = person["v_template"], person["f"]
    return {
        "v_template": template + 0.002 * rng.standard_normal((10475, 3)).astype(np.float32),
        "f": faces.astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": weights.astype(np.float32),
        "kintree_table": np.stack([np.array(PARENTS) % 2**32, np.arange(55)]).astype(np.uint32),
        "hands_meanl": rng.standard_normal(45),
        "hands_meanr": rng.standard_normal(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": rng.integers(0, num_faces, 51),
        "lmk_bary_coords": rng.dirichlet([1, 1, 1], 51),
        "dynamic_lmk_faces_idx": rng.integers(0, num_faces, (79, 17)),
        "dynamic_lmk_bary_coords": rng.dirichlet([1, 1, 1], (79, 17)),
    }


def random_parameters(count, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (0.5 * torch.randn(count, size, generator=generator)).to(dtype)
        for name, size in SMPLX_SIZES.items()
    }


def of_package(path, parameters, **settings):
    """Output of the `smplx` package for a file."""
    import smplx

    model = smplx.SMPLX(
        str(path), gender="neutral", ext="npz", use_pca=False, flat_hand_mean=False, num_betas=10,
        num_expression_coeffs=10, use_face_contour=True, **settings,
    )  # fmt: skip
    eyes = torch.zeros(len(parameters["betas"]), 3)
    with torch.no_grad():
        return model(**parameters, leye_pose=eyes, reye_pose=eyes)


@pytest.fixture(scope="module")
def standin():
    return BodyModel.load(STANDIN_BODY)


@pytest.fixture(scope="module")
def random_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "SMPLX_NEUTRAL.npz"
    np.savez(path, **random_body())
    return path


@pytest.mark.parametrize("which", ["random", "standin"])
def test_output_equals_the_package(which, random_file, capfd):
    path = STANDIN_BODY if which == "standin" else random_file
    parameters = random_parameters(4)
    parameters["left_hand_pose"][1] *= 9  # far above pi: added to the mean without reduction
    parameters["global_orient"][2] = torch.tensor([0.0, 1.0, 0.0])  # both ends of the contour table
    parameters["global_orient"][3] = torch.tensor([0.0, -1.2, 0.0])
    wanted = of_package(path, parameters)
    capfd.readouterr()
    body = BodyModel.load(path)
    found = body(parameters)
    assert capfd.readouterr() == ("", "")
    assert body.name == ("stand-in" if which == "standin" else "SMPL-X")
    assert body.is_standin == (which == "standin")
    torch.testing.assert_close(found.vertices, wanted.vertices, rtol=0, atol=5e-6)
    torch.testing.assert_close(found.joints_3d, wanted.joints, rtol=0, atol=5e-6)
    torch.testing.assert_close(body.joints(parameters), wanted.joints, rtol=0, atol=1e-5)


def test_400_components_use_the_first_ten_of_shape_and_expression(tmp_path, random_file):
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, **random_body(components=400))
    parameters = random_parameters(2)
    found = BodyModel.load(path)(parameters)
    torch.testing.assert_close(found.vertices, BodyModel.load(random_file)(parameters).vertices)
    wanted = of_package(path, parameters)
    torch.testing.assert_close(found.vertices, wanted.vertices, rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_joints_are_those_of_the_mesh(standin, dtype):
    body = standin.to(dtype=dtype)
    parameters = random_parameters(3, dtype=dtype)
    output, joints = body(parameters), body.joints(parameters)
    assert output.vertices.dtype == joints.dtype == dtype
    torch.testing.assert_close(joints, output.joints_3d, rtol=0, atol=1e-6)
    assert len(body._landmarks.template) * 20 < len(body._surface.template)


def test_to_does_not_change_the_original(standin):
    assert standin.to(dtype=torch.float64) is not standin
    assert standin(random_parameters(1)).vertices.dtype == torch.float32


def test_batch_equals_single_people(standin):
    parameters = random_parameters(3)
    together = standin(parameters)
    for person in range(3):
        alone = standin({name: value[person : person + 1] for name, value in parameters.items()})
        torch.testing.assert_close(alone.vertices[0], together.vertices[person])
        torch.testing.assert_close(alone.joints_3d[0], together.joints_3d[person])


def test_zero_people(standin):
    output = standin(random_parameters(0))
    assert output.vertices.shape == (0, 10475, 3)
    assert output.joints_3d.shape == (0, 144, 3)
    assert standin.joints(random_parameters(0)).shape == (0, 144, 3)


def test_missing_parameters_are_zero(standin):
    zeros = {name: torch.zeros(1, size) for name, size in SMPLX_SIZES.items()}
    wanted = standin(zeros).vertices
    torch.testing.assert_close(standin({"betas": torch.zeros(1, 10)}).vertices, wanted)


def test_translation_moves_everything(standin):
    parameters = random_parameters(2)
    there = standin(parameters)
    here = standin(parameters | {"transl": torch.zeros(2, 3)})
    shift = parameters["transl"][:, None]
    torch.testing.assert_close(there.vertices, here.vertices + shift)
    torch.testing.assert_close(there.joints_3d, here.joints_3d + shift)


@pytest.mark.parametrize("at_zero", [True, False])
def test_gradients(standin, at_zero):
    body = standin.to(dtype=torch.float64)
    parameters = random_parameters(1, seed=5, dtype=torch.float64)
    if at_zero:
        parameters = {name: torch.zeros_like(value) for name, value in parameters.items()}
        # Rodrigues' formula of the package is not differentiable at zero, so stay 1e-5 away.
        parameters = {name: value + 1e-5 for name, value in parameters.items()}
    wanted = [parameters[n].requires_grad_() for n in ("betas", "global_orient", "body_pose")]
    weights = torch.randn(144, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def total(*_):
        # Covers both paths: joints only and the whole mesh.
        joints = body.joints(parameters)
        return (joints * weights).sum() + body(parameters).vertices[:, ::997].square().sum()

    assert torch.autograd.gradcheck(total, wanted, eps=1e-6, atol=1e-5, fast_mode=True)


def test_gradient_reaches_every_parameter(standin):
    parameters = {n: v.requires_grad_() for n, v in random_parameters(2).items()}
    standin.joints(parameters).square().sum().backward()
    for name, value in parameters.items():
        assert value.grad is not None and value.grad.abs().sum() > 0, name


def test_nan_pose_gives_nan_joints(standin):
    parameters = random_parameters(1)
    parameters["global_orient"][:] = torch.nan
    assert standin.joints(parameters).isnan().any()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"betas": torch.zeros(1, 11)}, r"betas has shape \(1, 11\), expected \(1, 10\)"),
        ({"betas": torch.zeros(2, 10), "jaw_pose": torch.zeros(1, 3)}, "jaw_pose has shape"),
        ({"beta": torch.zeros(1, 10)}, "got beta"),
        ({}, "got nothing"),
    ],
)
def test_wrong_parameters_are_named(standin, parameters, text):
    with pytest.raises(BodyModelError, match=text):
        standin(parameters)


def stature(body, betas):
    height = body({"betas": betas}).vertices[..., 1]
    return height.amax(1) - height.amin(1)


def test_smplx_shapes_are_converted_for_the_standin(standin):
    betas = torch.zeros(5, 10)
    betas[1, 0], betas[2, 0], betas[3, 1], betas[4, 1] = 2, -2, 2, -2
    parameters = {"betas": betas, "jaw_pose": torch.ones(5, 3)}
    adapted = standin.adapt(parameters, from_official=True)
    torch.testing.assert_close(adapted["jaw_pose"], parameters["jaw_pose"])
    mean, tall, short, heavy, light = stature(standin, adapted["betas"])
    assert abs(mean - 1.71) < 0.01
    assert abs(tall - 1.85) < 0.01 and abs(short - 1.57) < 0.01
    assert abs(heavy - mean) < 0.01 and abs(light - mean) < 0.01
    corners = standin({"betas": adapted["betas"]}).vertices[:, standin.faces]
    volumes = (torch.linalg.cross(corners[:, :, 0], corners[:, :, 1]) * corners[:, :, 2]).sum(
        (1, 2)
    )
    assert volumes[3] / volumes[0] == pytest.approx(np.exp(0.16), abs=0.03)
    assert volumes[4] / volumes[0] == pytest.approx(np.exp(-0.16), abs=0.03)
    wild = standin.adapt({"betas": torch.full((1, 10), 50.0)}, from_official=True)["betas"]
    assert wild.abs().max() <= 3


def test_shapes_of_the_same_body_are_not_converted(standin, random_file):
    parameters = random_parameters(2)
    assert standin.adapt(parameters, from_official=False) == parameters
    assert BodyModel.load(random_file).adapt(parameters, from_official=True) == parameters


def test_importing_does_not_load_the_package():
    code = "import sys, aios.body.model; sys.exit('smplx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_source_from_the_environment(random_file, monkeypatch):
    monkeypatch.delenv("AIOS_SMPLX", raising=False)
    assert find_body_file(None) == STANDIN_BODY
    monkeypatch.setenv("AIOS_SMPLX", str(random_file.parent))
    assert find_body_file(None) == random_file
    monkeypatch.setenv("AIOS_SMPLX", "")
    assert find_body_file(None) == STANDIN_BODY


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickle_gives_the_arrays_of_the_npz(tmp_path, random_file, protocol):
    content = random_body()
    content["J_regressor"] = scipy.sparse.csc_matrix(content["J_regressor"])
    content["part2num"] = {"head": 3}
    path = tmp_path / "SMPLX_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    for name, array in read_body_file(random_file).arrays.items():
        np.testing.assert_array_equal(read_body_file(path).arrays[name], array, err_msg=name)
    content["J_regressor"] = content["J_regressor"].tocsr()
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    np.testing.assert_array_equal(
        read_body_file(path).arrays["J_regressor"], random_body()["J_regressor"]
    )


class _Touch:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickle_with_code_is_refused(tmp_path):
    path, mark = tmp_path / "SMPLX_NEUTRAL.pkl", tmp_path / "mark"
    path.write_bytes(pickle.dumps(random_body() | {"extra": _Touch(mark)}))
    with pytest.raises(BodyModelError, match="it contains .*open"):
        BodyModel.load(path)
    assert not mark.exists()


def test_object_arrays_of_an_npz_are_not_unpickled(tmp_path, random_file):
    mark = tmp_path / "mark"
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    extra = np.array({"head": _Touch(mark)}, dtype=object)
    np.savez(path, **random_body(), part2num=extra)
    BodyModel.load(path)  # official files have such arrays; they are not read
    np.savez(path, **(random_body() | {"weights": extra}))
    with pytest.raises(BodyModelError, match=r"pickled array that contains .*open, which was not"):
        BodyModel.load(path)
    assert not mark.exists()


def _save(path, **changes):
    content = random_body() | changes
    np.savez(path, **{name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weights": None, "f": None}, "lacks f, weights"),
        ({"v_template": np.zeros((6890, 3))}, r"is a SMPL or SMPL\+H model \(6890 vertices\)"),
        ({"v_template": np.zeros((778, 3))}, "is a MANO model"),
        ({"v_template": np.zeros((5023, 3))}, "is a FLAME model"),
        (
            {"weights": np.zeros((10475, 24))},
            r"weights has shape \(10475, 24\), expected 10475 x 55",
        ),
        ({"shapedirs": np.zeros((10475, 3, 16))}, "16 components"),
        ({"v_template": np.full((10475, 3), np.nan)}, "v_template has values that are not finite"),
        ({"f": np.full((9, 3), 10475)}, "indices of missing vertices"),
        (
            {"kintree_table": np.tile(np.arange(55), (2, 1))},
            "indices of missing vertices, faces or joints",
        ),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changes, text):
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    _save(path, **changes)
    with pytest.raises(BodyModelError, match=text) as error:
        BodyModel.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("missing.npz", None, "no body model at"),
        ("SMPLX_NEUTRAL.npz", b"not an archive", "not a readable .npz"),
        ("SMPLX_NEUTRAL.npz", b"", "not a readable .npz"),
        ("SMPLX_NEUTRAL.npz", b"PK\x03\x04 cut short", "not a readable .npz"),
        ("SMPLX_NEUTRAL.npz", b"<!DOCTYPE html><html>log in</html>", "is a web page"),
        ("SMPLX_NEUTRAL.npz", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ("SMPLX_NEUTRAL.pkl", b"not a pickle", "pickle"),
        ("SMPLX_NEUTRAL.pkl", b"", "not a readable body model pickle"),
        ("SMPLX_NEUTRAL.pkl", pickle.dumps([1, 2]), "not a body model pickle"),
        ("SMPLX_NEUTRAL.pkl", pickle.dumps({"a": 1}), "lacks v_template"),
        ("SMPLX_MALE.npz", b"", "is the male SMPL-X body by its name"),
        ("model_male.npz", b"", "is the male SMPL-X body by its name"),
        ("Female.pkl", b"", "is the female SMPL-X body by its name"),
        ("smplx_female.pkl", b"", "is the female SMPL-X body"),
        ("models/male/model.npz", b"", "is the male SMPL-X body by its name"),
        ("SMPLX_NEUTRAL.zip", b"PK", "not a readable .npz"),
        ("smplx_locked_head.tar.bz2", b"BZh9", "is an archive: unpack it and give"),
        ("SMPLX_NEUTRAL.fbx", b"", "must be an .npz or .pkl"),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BodyModelError, match=text) as error:
        BodyModel.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert "https://smpl-x.is.tue.mpg.de" in str(error.value) or "git lfs" in str(error.value)
