"""Tables: published rows, our rows, Markdown, LaTeX and the command."""

import json
import math
from dataclasses import replace

import pytest

from training.evaluate import main
from training.evaluation.benchmarks import BENCHMARKS
from training.evaluation.published import OTHER_TABLES, TABLES
from training.evaluation.run_summary import ALL, RunSummary
from training.evaluation.tables import by_threshold, latex, markdown, our_rows, rows_of

AGORA = {"f1": 0.9, "body_mve_mm": 60.04, "body_nmve_mm": 66.7, "face_mve_mm": math.nan}
VERTICES = {"pve_all_mm": 45.0, "pa_pve_all_mm": 34.0}


def summary(benchmark, plain, official=None, parts=()):
    modes = {"plain": plain, "official": official or plain}
    thresholds = (0.5, 0.3)
    metrics = {part: dict.fromkeys(thresholds, modes) for part in (*parts, ALL)}
    return RunSummary(benchmark, {"weights": "mine"}, thresholds, metrics, [])


def test_every_table_of_the_paper_has_a_benchmark():
    assert [table.number for table in TABLES] == list(range(1, 11))
    assert {table.benchmark for table in (*TABLES, *OTHER_TABLES)} == set(BENCHMARKS)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.number))
def test_published_rows_are_consistent(table):
    """Normalised errors are errors over F1; the full body is body plus a third of the parts."""
    for row in table.rows:
        found = row.metrics
        assert set(found) <= {column.metric for column in table.columns}
        for error, normalised in (("mve", "nmve"), ("mpjpe", "nmje")):
            for part in ("", "body_"):
                names = f"{part}{error}_mm", f"{part}{normalised}_mm"
                if "f1" in found and all(name in found for name in names):
                    wanted = found[names[0]] / found["f1"]
                    assert found[names[1]] == pytest.approx(wanted, abs=0.25), (row.label, names)
            parts = [f"{part}_{error}_mm" for part in ("left_hand", "right_hand", "face")]
            if all(part in found for part in parts):
                whole = found[f"body_{error}_mm"] + sum(found[part] for part in parts) / 3
                assert found[f"{error}_mm"] == pytest.approx(whole, abs=0.11), row.label


def test_our_rows_follow_the_published_rows():
    table = TABLES[5]
    text = markdown(table, our_rows(table, summary("agora-val", AGORA)))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("Table 6: AGORA validation")
    assert lines[2].startswith("| AiOS, score >= 0.1 | 0.95 | 0.93 | 0.97 | 106.4 |")
    assert lines[3].startswith("| ours, mine, score >= 0.5 | 0.90 | – | – | – | 66.7 |")
    assert len({line.count("|") for line in lines}) == 1


def test_official_and_plain_have_rows_if_they_differ():
    official = AGORA | {"f1": 0.88}
    table = TABLES[5]
    rows = our_rows(table, summary("agora-val", AGORA, official))
    labels = [row.label for row in rows]
    assert labels[:2] == [
        "ours, mine, score >= 0.5 (official)",
        "ours, mine, score >= 0.5 (plain)",
    ]
    nearly = our_rows(table, summary("agora-val", AGORA, AGORA | {"f1": 0.9001}))
    assert [row.label for row in nearly] == ["ours, mine, score >= 0.5", "ours, mine, score >= 0.3"]


def test_official_row_of_one_person_protocol_has_no_threshold():
    rows = our_rows(TABLES[3], summary("ehf", VERTICES, VERTICES | {"pve_all_mm": 44.0}))
    assert [row.label for row in rows] == [
        "ours, mine, best person of each image (official)",
        "ours, mine, score >= 0.5 (plain)",
        "ours, mine, score >= 0.3 (plain)",
    ]


def test_upright_table_has_a_column_per_part():
    made = summary("synthetic", AGORA, parts=("single", "crowd"))
    text = markdown(OTHER_TABLES[0], rows_of(OTHER_TABLES[0], made))
    assert "|  | single | crowd | all |" in text and "| MVE body | 60.0 | 60.0 | 60.0 |" in text
    assert "face" not in text  # a metric without values
    other = summary("synthetic", AGORA, AGORA | {"body_mve_mm": 59.0}, ("single", "crowd"))
    text = markdown(OTHER_TABLES[0], rows_of(OTHER_TABLES[0], other))
    heads = "single | single (official) | crowd | crowd (official) | all | all (official)"
    assert f"|  | {heads} |" in text
    assert "| MVE body | 60.0 | 59.0 | 60.0 | 59.0 | 60.0 | 59.0 |" in text


def test_latex_has_escaped_cells():
    rows = our_rows(TABLES[0], summary("agora-test", AGORA))
    text = latex(TABLES[0], rows)
    assert text.count(r"\begin{tabular}{l" + 17 * "r" + "}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {17}
    assert r"$\geq$" in text and "–" not in text and ">=" not in text
    assert text.count(r"\midrule") == 2
    assert r"10 \%" in latex(TABLES[6], []) or "%" not in latex(TABLES[6], [])


def test_sweep_has_a_row_per_threshold():
    made = replace(
        summary("ehf", VERTICES), sweep=[{"threshold": t} | VERTICES for t in (0.1, 0.9)]
    )
    text = markdown(*by_threshold(made))
    assert "|  | PA-PVE all | PVE all |" in text
    assert "| score >= 0.1 | 34.0 | 45.0 |" in text and "| score >= 0.9 |" in text


def test_summary_round_trips_through_json():
    made = summary("agora-val", AGORA)
    content = json.loads(json.dumps(made.to_json(), allow_nan=False))
    again = RunSummary.from_json(content)
    assert math.isnan(again.main().pop("face_mve_mm"))
    assert again.thresholds == made.thresholds and again.main()["f1"] == 0.9


def test_command_prints_all_tables(tmp_path, capsys):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    made = json.dumps(summary("ehf", VERTICES).to_json(), allow_nan=False)
    (run / "figures.json").write_text(made)
    server = tmp_path / "server.json"
    server.write_text(json.dumps({"agora-test": {"f1": 0.91, "nmve_mm": 99.5}}))
    command = ["tables", "--runs", str(tmp_path / "runs"), "--server", str(server)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert all(f"Table {number}:" in printed for number in range(1, 11))
    assert "| ours, mine, score >= 0.5 | 34.0 | – | – | 45.0 |" in printed
    assert "| ours, leaderboard | 0.91 | – | – | 99.5 |" in printed
    assert (tmp_path / "runs" / "tables.tex").read_text().count(r"\end{table}") == 10
    (run / "figures.json").write_text("{}")
    assert main(command) == 1
    assert "evaluate again" in capsys.readouterr().err
