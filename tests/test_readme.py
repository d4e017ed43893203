"""The README's own words, run."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_python_snippet_runs_and_finds_the_skier():
    snippets = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
    (snippet,) = [found for found in snippets if "AiOSPredictor" in found]
    done = subprocess.run([sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, shapes = done.stdout.strip().splitlines()
    count = int(first.split()[0])
    assert count >= 1
    assert first.endswith("people, builtin weights, stand-in body")
    assert shapes == f"({count}, 10475, 3) ({count}, 17, 2)"


def test_every_file_the_readme_names_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(links) >= 5
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_options_of_the_page_and_the_command_line_are_as_described():
    page = subprocess.run(
        [sys.executable, "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    command = subprocess.run(
        [sys.executable, "-m", "aios", "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for option in set(re.findall(r"`(--[a-z]+)", README)):
        assert option in page + command, option
    assert (
        "PHOTO_FOLDER_OR_VIDEO" in command
        and "PHOTO_FOLDER_OR_VIDEO..." in README
        and "--out" in command
    )


def test_there_are_exactly_two_commands_on_the_first_screen():
    first_screen = README.split("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)```", first_screen, re.S)
    assert [len(command.strip().splitlines()) for command in commands] == [1, 1]
    assert commands[0].strip().endswith(".venv/bin/python app.py")
    assert commands[1].strip() == "bash tests/gate.sh"
