"""Import rules: which room may import which, read from the source files."""

import subprocess
import sys

import pytest

from tests.helpers.imports import ROOT, arrows, imported

PAGE = sorted((ROOT / "aios" / "page").glob("*.py"))
PACKAGE = sorted(set((ROOT / "aios").rglob("*.py")) - set(PAGE))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
APP = ROOT / "app.py"
PROGRAM = [*PACKAGE, *PAGE, *TRAINING, APP]

# Room or module at the top of `aios` -> what it may import, beside itself.  The order is bottom
# up: each entry may only name entries above it, so there is no circle between rooms.
AIOS_ROOMS = {
    "resources": "",
    "geometry": "",
    "media": "",
    "network": "geometry",
    "accelerate": "geometry network",
    "weights": "resources network",
    "body": "resources geometry",
    "render": "geometry",
    "people": "geometry network body",
    "attention": "network",
    "prediction": "geometry network people attention",
    "tracking": "geometry people",
    "export": "resources geometry body render people prediction",
    "posing": "accelerate network body people",
    "fitting": "geometry body network people posing",
    "predictor": "resources geometry media network accelerate weights body people attention"
    " prediction posing fitting",
    "descriptions": "accelerate weights body",
    "cli": "weights body render predictor descriptions",
    "pipelines": "geometry media render body tracking export people prediction predictor",
    "cluster": "geometry media weights body export people prediction predictor cli pipelines",
    "__main__": "media render export predictor cli pipelines",
    "page": "resources geometry accelerate media weights body render export people attention"
    " prediction predictor descriptions cli pipelines",
}
TRAINING_ROOMS = {
    "joints": "",
    "targets": "joints",
    "tensorflow_js": "",
    "standin": "",
    "synthetic": "targets",
    "data": "targets joints synthetic",
    "losses": "targets joints data",
    "engine": "tensorflow_js targets joints synthetic data losses",
    "evaluation": "targets joints synthetic data engine",
    "annotation": "tensorflow_js joints synthetic data evaluation",
    "annotate": "annotation",
    "config": "data losses engine",
    "export": "engine config",
    "train": "synthetic data engine config",
    "evaluate": "synthetic data engine evaluation",
    "tools": "targets joints synthetic data losses engine evaluation config export",
}


def users(files, *modules: str) -> set[str]:
    """Those of `files` that import one of `modules` or something below it."""
    return {
        str(path.relative_to(ROOT))
        for path in files
        for name in imported(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def test_this_test_can_see():
    assert "aios/network/model.py" in users(PACKAGE, "torch")
    assert "aios/network/decoder.py" in users(PACKAGE, "aios.geometry.boxes")
    assert users(PROGRAM, "smplx")


@pytest.mark.parametrize(
    ("root", "rooms"),
    [("aios", AIOS_ROOMS), ("training", TRAINING_ROOMS)],
    ids=["aios", "training"],
)
def test_rooms_import_only_what_they_may(root, rooms):
    allowed = {(name, other) for name, others in rooms.items() for other in others.split()}
    assert sorted(arrows(root) - allowed) == []


@pytest.mark.parametrize("rooms", [AIOS_ROOMS, TRAINING_ROOMS], ids=["aios", "training"])
def test_room_table_has_no_circle(rooms):
    order = list(rooms)
    for name, others in rooms.items():
        for other in others.split():
            assert order.index(other) < order.index(name), (name, other)


def test_top_floor_of_the_package_is_small():
    entries = {p.name for p in (ROOT / "aios").iterdir() if p.name != "__pycache__"}
    assert len(entries) <= 25


@pytest.mark.parametrize("root", ["aios", "training"])
def test_modules_import_each_other_without_circles(root):
    """Imports at module level and inside functions alike."""
    graph = {}
    for path in (ROOT / root).rglob("*.py"):
        graph[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    edges = {name: sorted(set(imported(path)) & set(graph)) for name, path in graph.items()}
    done, open_ = set(), []

    def visit(name: str) -> None:
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        if name in done:
            return
        open_.append(name)
        for other in edges[name]:
            visit(other)
        open_.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_package_imports_neither_training_nor_app():
    assert not users([*PACKAGE, *PAGE], "training", "app", "tests")


def test_training_knows_no_app():
    assert not users(TRAINING, "app", "aios.page", "tests")


def test_gradio_is_the_pages_alone():
    assert users(PROGRAM, "gradio") <= {str(path.relative_to(ROOT)) for path in PAGE}
    assert users(PROGRAM, "aios.page") <= {"app.py", *(str(p.relative_to(ROOT)) for p in PAGE)}
    assert "app.py" in users(PROGRAM, "aios.page")


def test_scientific_extras_are_trainings_alone():
    """Running needs none of the packages of the extra `train`."""
    outside = set(PROGRAM) - set(TRAINING)
    assert not users(outside, "tensorboard", "torch.utils.tensorboard", "matplotlib", "pandas")
    assert not users(outside, "torch.distributed")


def test_packages_of_the_cluster_are_its_alone():
    """Running on one machine needs none of the packages of the extra `cluster`."""
    files = users(PROGRAM, "ray", "pyarrow", "fsspec")
    assert files and {path.rpartition("/")[0] for path in files} == {"aios/cluster"}


def test_smplx_is_behind_one_door_and_lazy():
    """Its licence is for non-commercial research."""
    assert users(PROGRAM, "smplx") == {"aios/body/model.py"}
    lazily = imported(ROOT / "aios" / "body" / "model.py")
    assert not any(at_once for name, at_once in lazily.items() if name.split(".")[0] == "smplx")


def test_no_compiled_operators_and_no_other_peoples_networks():
    assert not users(PROGRAM, "torchvision", "mmcv", "pytorch3d", "timm", "detectron2")


def test_drawing_takes_arrays():
    drawing = [path for path in PACKAGE if path.parent.name == "render"]
    assert drawing
    assert not users(drawing, "aios.network.model", "aios.predictor", "aios.people", "torch")


@pytest.mark.parametrize("path", PROGRAM, ids=lambda path: str(path.relative_to(ROOT)))
def test_program_does_not_need_the_tests(path):
    assert not any(name.split(".")[0] == "pytest" for name in imported(path))


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, aios; print(sorted({'torch', 'numpy', 'cv2', 'PIL'} & set(sys.modules)))"
    assert python(code).strip() == "[]"


def test_importing_everything_does_nothing():
    """No output, no thread, no OpenGL, no page, no body model."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in PACKAGE
        if path.stem != "__init__"
    ]
    code = (
        "import importlib, sys, threading\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "heavy = {'smplx', 'pyrender', 'OpenGL', 'gradio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert python(code) == ""


def test_every_public_name_exists():
    code = "import aios\nfor name in aios.__all__: getattr(aios, name)"
    assert python(code) == ""
    code = (
        "import aios\n"
        "try:\n    aios.nothing\n"
        "except AttributeError as error:\n    assert 'nothing' in str(error)\n"
        "else:\n    raise SystemExit(1)"
    )
    assert python(code) == ""
