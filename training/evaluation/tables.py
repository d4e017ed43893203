"""Tables as Markdown and LaTeX: the published rows and ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import ALL, Summary
from .metrics import Figures
from .published import OTHER_TABLES, SWEEP_COLUMNS, TABLES, Column, Row, Table

_DASH = "–"
_BOXES_TABLE = 7
_ESCAPED = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", ">=": r"$\geq$", _DASH: "--"}


def tables_of(benchmark: str) -> list[Table]:
    """The tables in which a benchmark is a row."""
    return [table for table in (*TABLES, *OTHER_TABLES) if table.benchmark == benchmark]


def our_rows(table: Table, summary: Summary) -> list[Row]:
    """What one run adds to a table.

    `plain` has a row of its own where it shows other numbers than `official`.
    """
    if table.number == _BOXES_TABLE:
        return [Row(name, values) for name, values in summary.boxes.items()]
    who = f"ours, {summary.about.get('weights', 'measured')}"
    one_person = "pve_all_mm" in {column.figure for column in table.columns}
    rows: list[Row] = []
    for threshold, modes in summary.figures[ALL].items():
        score = f"score >= {threshold:g}"
        best = "best person of each picture" if one_person else score
        official = Row(f"{who}, {best}", modes["official"])
        plain = Row(f"{who}, {score}", modes["plain"])
        if _cells(table.columns, official.figures) == _cells(table.columns, plain.figures):
            rows.append(plain)
            continue
        for row, mode in ((official, "official"), (plain, "plain")):
            label = f"{row.label} ({mode})"
            if label not in [known.label for known in rows]:
                rows.append(Row(label, row.figures))
    return rows


def rows_of_parts(table: Table, summary: Summary) -> list[Row]:
    """What a run of a benchmark with parts adds: a row for each, figures at the first threshold.

    `official` has a row of its own where it shows other numbers than `plain`.
    """
    rows: list[Row] = []
    for part in summary.figures:
        rows.append(Row(part, summary.main(part)))
        official = summary.main(part, "official")
        if _cells(table.columns, official) != _cells(table.columns, rows[-1].figures):
            rows.append(Row(f"{part} (official)", official))
    return rows


def by_threshold(summary: Summary) -> tuple[Table, list[Row]]:
    """`plain` figures of everything at every score of the sweep."""
    table = Table(0, "By score threshold (plain)", summary.benchmark, SWEEP_COLUMNS)
    rows = [Row(f"score >= {figures['threshold']:g}", figures) for figures in summary.sweep]
    return table, rows


def leaderboard_row(figures: Mapping[str, Any]) -> Row:
    """What a server has answered, under the names of our figures.

    Raises:
        ValueError: something is not a number.
    """
    wrong = [name for name, value in figures.items() if not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"The figures of the leaderboard must be numbers: {', '.join(wrong)}.")
    return Row("ours, leaderboard", {name: float(value) for name, value in figures.items()})


def markdown(table: Table, rows: Sequence[Row]) -> str:
    """A table with the published rows, then some more."""
    head, *body = _grid(table, rows)
    lines = [f"| {' | '.join(cells)} |" for cells in body]
    frame = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    note = ["", table.note] if table.note else []
    return "\n".join([_title(table), "", *frame, *lines, *note]) + "\n"


def latex(table: Table, rows: Sequence[Row]) -> str:
    """The same for a paper; needs the package booktabs."""
    head, *body = ([_escape(cell) for cell in cells] for cells in _grid(table, rows))
    lines = [f"{' & '.join(cells)} \\\\" for cells in body]
    if table.rows and rows and not table.upright:
        lines.insert(len(table.rows), r"\midrule")
    frame = [
        r"\begin{table}",
        rf"\caption{{{_escape(_title(table))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        f"{' & '.join(head)} \\\\",
        r"\midrule",
    ]
    end = [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join([*frame, *lines, *end]) + "\n"


def _grid(table: Table, rows: Sequence[Row]) -> list[list[str]]:
    """All cells, headings included."""
    columns = _used(table, rows)
    grid = [["", *(column.head for column in columns)]]
    grid += [[row.label, *_cells(columns, row.figures)] for row in (*table.rows, *rows)]
    return [list(cells) for cells in zip(*grid, strict=True)] if table.upright else grid


def write_tables(path: Path, tables: Sequence[tuple[Table, Sequence[Row]]]) -> None:
    """Write `path`.md and `path`.tex."""
    texts = {".md": markdown, ".tex": latex}
    for suffix, text in texts.items():
        content = "\n".join(text(table, rows) for table, rows in tables)
        path.with_suffix(suffix).write_text(content)


def all_tables(
    summaries: Sequence[Summary], server: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Table, list[Row]]]:
    """Tables 1 to 10, and what else was measured.

    Args:
        summaries: of runs.
        server: benchmark -> figures that its leaderboard gave.
    """
    answer = []
    for table in (*TABLES, *OTHER_TABLES):
        own = [summary for summary in summaries if summary.benchmark == table.benchmark]
        rows = [row for summary in own for row in rows_of(table, summary)]
        rows += [leaderboard_row(server[table.benchmark])] if table.benchmark in server else []
        if table.number or is_shown(table, rows):
            answer.append((table, rows))
    return answer


def is_shown(table: Table, rows: Sequence[Row]) -> bool:
    """Whether there is a figure in it."""
    return any(cell != _DASH for row in rows for cell in _cells(table.columns, row.figures))


def rows_of(table: Table, summary: Summary) -> list[Row]:
    """Our rows in a table, whichever kind it is."""
    parts = [part for part in summary.figures if part != ALL]
    return rows_of_parts(table, summary) if parts else our_rows(table, summary)


def _title(table: Table) -> str:
    return f"Table {table.number}: {table.title}" if table.number else table.title


def _used(table: Table, rows: Sequence[Row]) -> list[Column]:
    """Columns in which somebody has a figure."""
    everybody = (*table.rows, *rows)
    if not everybody:
        return list(table.columns)
    return [
        column
        for column in table.columns
        if any(cell != _DASH for row in everybody for cell in _cells([column], row.figures))
    ]


def _cells(columns: Sequence[Column], figures: Figures) -> list[str]:
    values = [(column, figures.get(column.figure, math.nan)) for column in columns]
    return [_DASH if math.isnan(v) else f"{v:.{column.decimals}f}" for column, v in values]


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPED.items():
        text = text.replace(plain, escaped)
    return text
