"""The Markdown documents: files and modules that they name exist."""

import re
import subprocess

import pytest

from tests.helpers.imports import ROOT
from tests.room_map import PICTURE, draw

DOCUMENTS = sorted(
    ROOT / name
    for name in subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, text=True
    ).splitlines()
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document):
    text = document.read_text("utf-8")
    named = re.findall(r"`((?:aios|training|tests|assets|checkpoints)/[\w./-]+)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    links = re.findall(r"\]\((?!http|#)([^)#\s]+)", text)
    missing += [link for link in links if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_commands_exist(document):
    for module in re.findall(r"python -m ((?:aios|training|tests)[\w.]*)", document.read_text()):
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_room_picture_is_up_to_date():
    assert PICTURE.read_text("utf-8") == draw(), "run `python -m tests.room_map`"
