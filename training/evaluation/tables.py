"""Tables in Markdown and LaTeX: published rows and ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .metrics import MetricValues
from .published import OTHER_TABLES, SWEEP_COLUMNS, TABLES, Column, Row, Table
from .run_summary import ALL, RunSummary

_DASH = "–"
_BOXES_TABLE = 7
_ESCAPED = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", ">=": r"$\geq$", _DASH: "--"}


def tables_of(benchmark: str) -> list[Table]:
    """Tables about a benchmark."""
    return [table for table in (*TABLES, *OTHER_TABLES) if table.benchmark == benchmark]


def our_rows(table: Table, summary: RunSummary) -> list[Row]:
    """Rows of one run in a table.

    Modes `official` and `plain` have separate rows if their values differ.
    """
    if table.number == _BOXES_TABLE:
        return [Row(name, values) for name, values in summary.boxes.items()]
    label = f"ours, {summary.about.get('weights', 'measured')}"
    one_person = "pve_all_mm" in {column.metric for column in table.columns}
    rows: list[Row] = []
    for threshold, modes in summary.figures[ALL].items():
        score = f"score >= {threshold:g}"
        best = "best person of each image" if one_person else score
        official = Row(f"{label}, {best}", modes["official"])
        plain = Row(f"{label}, {score}", modes["plain"])
        if _cells(table.columns, official.metrics) == _cells(table.columns, plain.metrics):
            rows.append(plain)
            continue
        for row, mode in ((official, "official"), (plain, "plain")):
            with_mode = f"{row.label} ({mode})"
            if with_mode not in [known.label for known in rows]:
                rows.append(Row(with_mode, row.metrics))
    return rows


def rows_of_parts(table: Table, summary: RunSummary) -> list[Row]:
    """Rows of a benchmark with parts: one for each part, at the first threshold.

    Modes `official` and `plain` have separate rows if their values differ.
    """
    rows: list[Row] = []
    for part in summary.figures:
        rows.append(Row(part, summary.main(part)))
        official = summary.main(part, "official")
        if _cells(table.columns, official) != _cells(table.columns, rows[-1].metrics):
            rows.append(Row(f"{part} (official)", official))
    return rows


def by_threshold(summary: RunSummary) -> tuple[Table, list[Row]]:
    """Table of `plain` metrics of all parts at every score threshold of the sweep."""
    table = Table(0, "By score threshold (plain)", summary.benchmark, SWEEP_COLUMNS)
    rows = [Row(f"score >= {metrics['threshold']:g}", metrics) for metrics in summary.sweep]
    return table, rows


def leaderboard_row(metrics: Mapping[str, Any]) -> Row:
    """Row of metrics returned by a leaderboard, under our names.

    Raises:
        ValueError: a value is not a number.
    """
    wrong = [name for name, value in metrics.items() if not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"The metrics of the leaderboard must be numbers: {', '.join(wrong)}.")
    return Row("ours, leaderboard", {name: float(value) for name, value in metrics.items()})


def markdown(table: Table, rows: Sequence[Row]) -> str:
    """Format the published rows and the given rows as Markdown."""
    head, *body = _grid(table, rows)
    lines = [f"| {' | '.join(cells)} |" for cells in body]
    frame = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    note = ["", table.note] if table.note else []
    return "\n".join([_title(table), "", *frame, *lines, *note]) + "\n"


def latex(table: Table, rows: Sequence[Row]) -> str:
    """Format the table as LaTeX; needs the package booktabs."""
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
    """All cells including the headings."""
    columns = _used(table, rows)
    grid = [["", *(column.head for column in columns)]]
    grid += [[row.label, *_cells(columns, row.metrics)] for row in (*table.rows, *rows)]
    return [list(cells) for cells in zip(*grid, strict=True)] if table.upright else grid


def write_tables(path: Path, tables: Sequence[tuple[Table, Sequence[Row]]]) -> None:
    """Write `path`.md and `path`.tex."""
    texts = {".md": markdown, ".tex": latex}
    for suffix, text in texts.items():
        content = "\n".join(text(table, rows) for table, rows in tables)
        path.with_suffix(suffix).write_text(content)


def all_tables(
    summaries: Sequence[RunSummary], server: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Table, list[Row]]]:
    """Tables 1 to 10 of the paper and tables of other evaluated benchmarks.

    Args:
        summaries: of runs.
        server: benchmark -> metrics returned by its leaderboard.
    """
    tables = []
    for table in (*TABLES, *OTHER_TABLES):
        own = [summary for summary in summaries if summary.benchmark == table.benchmark]
        rows = [row for summary in own for row in rows_of(table, summary)]
        rows += [leaderboard_row(server[table.benchmark])] if table.benchmark in server else []
        if table.number or is_shown(table, rows):
            tables.append((table, rows))
    return tables


def is_shown(table: Table, rows: Sequence[Row]) -> bool:
    """Whether any cell of the given rows has a value."""
    return any(cell != _DASH for row in rows for cell in _cells(table.columns, row.metrics))


def rows_of(table: Table, summary: RunSummary) -> list[Row]:
    """Our rows in a table."""
    parts = [part for part in summary.figures if part != ALL]
    return rows_of_parts(table, summary) if parts else our_rows(table, summary)


def _title(table: Table) -> str:
    return f"Table {table.number}: {table.title}" if table.number else table.title


def _used(table: Table, rows: Sequence[Row]) -> list[Column]:
    """Columns in which any row has a value."""
    all_rows = (*table.rows, *rows)
    if not all_rows:
        return list(table.columns)
    return [
        column
        for column in table.columns
        if any(cell != _DASH for row in all_rows for cell in _cells([column], row.metrics))
    ]


def _cells(columns: Sequence[Column], metrics: MetricValues) -> list[str]:
    values = [(column, metrics.get(column.metric, math.nan)) for column in columns]
    return [_DASH if math.isnan(v) else f"{v:.{column.decimals}f}" for column, v in values]


def _escape(text: str) -> str:
    for plain, escaped in _ESCAPED.items():
        text = text.replace(plain, escaped)
    return text
