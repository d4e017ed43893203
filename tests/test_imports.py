"""Which module may import which: read from the source, not from what happens to be loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = sorted((ROOT / "aios" / "page").glob("*.py"))
PACKAGE = sorted(set((ROOT / "aios").rglob("*.py")) - set(PAGE))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
APP = ROOT / "app.py"
PROGRAM = [*PACKAGE, *PAGE, *TRAINING, *([APP] if APP.exists() else [])]


def imported(path: Path) -> dict[str, bool]:
    """Full names that a file imports -> whether it does so when it is itself imported."""
    found: dict[str, bool] = {}
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])

    def visit(node: ast.AST, at_once: bool) -> None:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            found[name] = found.get(name, False) or at_once
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, at_once)
            return
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_once and not inside)

    visit(ast.parse(path.read_text()), True)
    return found


def users(files, *modules: str) -> set[str]:
    """Those of `files` that import one of `modules` or something below it."""
    return {
        str(path.relative_to(ROOT))
        for path in files
        for name in imported(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def test_this_test_can_see():
    assert "aios/model.py" in users(PACKAGE, "torch")
    assert "aios/decoder.py" in users(PACKAGE, "aios.boxes")
    assert users(PROGRAM, "smplx")


def test_the_package_knows_neither_training_nor_app():
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
    assert not users(outside, "scipy", "tensorboard", "torch.utils.tensorboard", "matplotlib")
    assert not users(outside, "torch.distributed")


def test_smplx_is_behind_one_door_and_lazy():
    """Its licence is for non-commercial research."""
    assert users(PROGRAM, "smplx") == {"aios/body_model.py"}
    lazily = imported(ROOT / "aios" / "body_model.py")
    assert not any(at_once for name, at_once in lazily.items() if name.split(".")[0] == "smplx")


def test_no_compiled_operators_and_no_other_peoples_networks():
    assert not users(PROGRAM, "torchvision", "mmcv", "pytorch3d", "timm", "detectron2")


def test_drawing_takes_arrays():
    drawing = [path for path in PACKAGE if path.stem.startswith("render")]
    assert drawing
    assert not users(drawing, "aios.model", "aios.predictor", "aios.people", "torch")


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
        "heavy = {'smplx', 'pyrender', 'OpenGL', 'gradio', 'scipy'} & set(sys.modules)\n"
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
