import json

import cv2

from training.tools.curve import main, read_runs


def run_of(folder, *lines):
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(text)
    return folder


def test_consecutive_runs_are_drawn_on_one_time_axis(tmp_path, capsys):
    first = run_of(
        tmp_path / "first",
        {"minutes": 1.0, "dense_class": 0.9, "dense_heat": 4.0},
        {"minutes": 2.5, "dense_class": 0.5, "dense_heat": 3.0},
    )
    second = run_of(tmp_path / "second", {"minutes": 1.5, "class": 0.4, "root": 1.0})
    runs = read_runs([first, second])
    assert [[line["minutes"] for line in run] for run in runs] == [[1.0, 2.5], [4.0]]
    assert runs[1][0]["root"] == 1.0
    out = tmp_path / "curve.png"
    assert main([str(first), str(second), "--out", str(out)]) == 0
    assert cv2.imread(str(out)).std() > 5
    assert main([str(tmp_path / "none"), "--out", str(out)]) == 1
    assert main([str(run_of(tmp_path / "new")), "--out", str(out)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "does not hold log.jsonl" in errors[0] and "is empty" in errors[1]
