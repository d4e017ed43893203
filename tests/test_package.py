"""The built wheel: complete, and usable from another folder."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy so that `build/` stays out of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "tests")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", "--no-deps", "--target", folder, wheel)
    return folder


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True)


def run(command, installed, folder):
    """Run outside the checkout with the installed wheel first on the path."""
    environment = os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_every_package_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = {name for name in settings["tool"]["setuptools"]["packages"] if "bundled" not in name}
    found = {
        ".".join(path.relative_to(ROOT).parent.parts)
        for path in (ROOT / "aios").rglob("__init__.py")
    }
    assert listed == found


def test_wheel_holds_the_package_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"aios"}


def test_console_command_writes_results(installed, tmp_path):
    photo = installed / "aios" / "bundled" / "assets" / "examples" / "photo_skier.jpg"
    command = [installed / "bin" / "aios", photo, "--out", tmp_path / "out", "--weights", "builtin"]
    done = run(command, installed, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "photo_skier_overlay.png").stat().st_size > 0
    assert len((tmp_path / "out" / "people.csv").read_text().splitlines()) > 1


def test_page_command_lists_its_options(installed, tmp_path):
    done = run([installed / "bin" / "aios-app", "--help"], installed, tmp_path)
    assert done.returncode == 0 and "--share" in done.stdout


def test_page_and_style_sheet_are_those_of_the_wheel(installed, tmp_path):
    code = (
        "import aios.page.layout, pathlib\n"
        "from aios.resources import ASSETS\n"
        f"assert pathlib.Path(aios.__file__).is_relative_to({str(installed)!r})\n"
        "(ASSETS / 'page.css').read_text()"
    )
    done = run([sys.executable, "-c", code], installed, tmp_path)
    assert done.returncode == 0, done.stderr
