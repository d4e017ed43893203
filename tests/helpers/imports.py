"""Imports of the program, read from its source files."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imported(path: Path) -> dict[str, bool]:
    """Full names that a file imports -> whether importing the file imports them.

    Imports under `TYPE_CHECKING` are left out; imports inside functions map to False.
    """
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

    visit(ast.parse(path.read_text("utf-8")), True)
    return found


def room(module: str, root: str) -> str:
    """Top-level part of a module name below `root`: a room or a single module."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == root else ""


def arrows(root: str) -> set[tuple[str, str]]:
    """Pairs (importing room, imported room) inside package `root`, its `__init__` left out."""
    found = set()
    for path in (ROOT / root).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts == (root, "__init__"):
            continue
        for name in imported(path):
            target = room(name, root)
            known = (ROOT / root / target).is_dir() or (ROOT / root / f"{target}.py").exists()
            if target and known and target != parts[1]:
                found.add((parts[1], target))
    return found
