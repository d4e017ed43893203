"""Contents of a folder that a running server changes."""

import os
from fnmatch import fnmatch
from pathlib import Path


def paths_under(folder: Path, *patterns: str) -> set[Path]:
    """Return the files and folders at any depth whose names match a pattern, by default all.

    `Path.rglob` fails when a folder is deleted while it is read; `os.walk` skips that folder.
    """
    return {
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if any(fnmatch(name, pattern) for pattern in patterns or ("*",))
    }


def files_under(folder: Path, *patterns: str) -> set[Path]:
    """Return those of `paths_under` that are files."""
    return {path for path in paths_under(folder, *patterns) if path.is_file()}
