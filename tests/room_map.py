"""Draw the rooms of the program and their imports: `python -m tests.room_map`.

Writes `assets/rooms.svg`. Each row may import the rows below it. An arrow that follows from
others (A -> B -> C implies A -> C) is left out.
"""

import ast
import sys
from html import escape

from tests.helpers.imports import ROOT, arrows

PICTURE = ROOT / "assets" / "rooms.svg"
BOX_WIDTH, BOX_HEIGHT, GAP, ROW, MARGIN = 176, 52, 18, 104, 24
CHARACTERS = 29  # of a summary line in a box


def main() -> None:
    PICTURE.write_text(draw(), "utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}\n")


def draw() -> str:
    """The picture as SVG text."""
    parts, top, width = [], MARGIN, 0
    for root, colour in (("aios", "#dbeafe"), ("training", "#dcfce7")):
        rows = levels(arrows(root))
        width = max(width, *(len(row) * (BOX_WIDTH + GAP) for row in rows))
        parts.append((root, colour, rows, top))
        top += ROW * len(rows) + 40
    width += 2 * MARGIN
    body = "".join(_package(*part, width) for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" '
        'font-family="Helvetica, Arial, sans-serif">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#475569"/></marker></defs>\n'
        f'<rect width="{width}" height="{top}" fill="white"/>\n{body}</svg>\n'
    )


def levels(edges: set[tuple[str, str]]) -> list[list[str]]:
    """Rows of rooms, top first; every room is above all that it imports."""
    below: dict[str, set[str]] = {}
    for source, target in edges:
        below.setdefault(source, set()).add(target)
        below.setdefault(target, set())

    def height(name: str) -> int:
        return 1 + max(map(height, below[name]), default=-1)

    rows: list[list[str]] = [[] for _ in range(1 + max(map(height, below)))]
    for name in sorted(below):
        rows[height(name)].append(name)
    for row, lower in zip(rows[1:], rows, strict=False):
        places = {name: index for index, name in enumerate(lower)}

        def mean_place(name: str, places: dict[str, int] = places) -> float:
            found = [places[other] for other in below[name] if other in places]
            return sum(found) / len(found) if found else len(places)

        row.sort(key=mean_place)
    return rows[::-1]


def direct(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The transitive reduction of an acyclic graph."""
    below: dict[str, set[str]] = {}
    for source, target in edges:
        below.setdefault(source, set()).add(target)

    def reach(name: str) -> set[str]:
        return below.get(name, set()).union(*map(reach, below.get(name, set())))

    return {
        (source, target)
        for source, target in edges
        if not any(target in reach(other) for other in below[source] - {target})
    }


def _package(root: str, colour: str, rows: list[list[str]], top: int, width: int) -> str:
    centres = {}
    for index, row in enumerate(rows):
        start = (width - len(row) * (BOX_WIDTH + GAP) + GAP) / 2
        for place, name in enumerate(row):
            x = start + place * (BOX_WIDTH + GAP) + BOX_WIDTH / 2
            centres[name] = (x, top + index * ROW + BOX_HEIGHT / 2 + 18)
    lines = "".join(
        f'<path d="{_curve(centres[source], centres[target])}" fill="none" stroke="#475569" '
        'stroke-width="1.2" marker-end="url(#tip)"/>\n'
        for source, target in sorted(direct(arrows(root)))
    )
    boxes = "".join(_box(root, name, colour, *centre) for name, centre in centres.items())
    title = f'<text x="{MARGIN}" y="{top + 12}" font-size="17" font-weight="bold">{root}</text>\n'
    return title + lines + boxes


def _curve(source: tuple[float, float], target: tuple[float, float]) -> str:
    x0, y0, x1, y1 = source[0], source[1] + BOX_HEIGHT / 2, target[0], target[1] - BOX_HEIGHT / 2
    bend = min(40.0, (y1 - y0) / 2)
    return f"M{x0:.0f} {y0:.0f}C{x0:.0f} {y0 + bend:.0f} {x1:.0f} {y1 - bend:.0f} {x1:.0f} {y1:.0f}"


def _box(root: str, name: str, colour: str, x: float, y: float) -> str:
    left, upper = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    is_room = (ROOT / root / name).is_dir()
    texts = "".join(
        f'<text x="{x:.0f}" y="{y + 4 + 12 * line:.0f}" font-size="10" text-anchor="middle" '
        f'fill="#334155">{escape(text)}</text>\n'
        for line, text in enumerate(_summary(root, name))
    )
    return (
        f'<rect x="{left:.0f}" y="{upper:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{colour if is_room else "#f8fafc"}" stroke="#64748b"/>\n'
        f'<text x="{x:.0f}" y="{y - 10:.0f}" font-size="13" font-weight="bold" '
        f'text-anchor="middle">{name}{"/" if is_room else ".py"}</text>\n{texts}'
    )


def _summary(root: str, name: str) -> list[str]:
    """The first line of the docstring, on at most two lines."""
    path = ROOT / root / name / "__init__.py"
    path = path if path.exists() else ROOT / root / f"{name}.py"
    words = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0].split()
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > CHARACTERS:
            if len(lines) == 2:
                lines[-1] += " ..."
                break
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


if __name__ == "__main__":
    main()
