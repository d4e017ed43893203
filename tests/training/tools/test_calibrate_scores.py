"""Calibration of scores: labels, regression, and what is written."""

import json
import shutil

import numpy as np
import torch

from aios.resources import BUILTIN_WEIGHTS
from aios.weights.checkpoint import read_safetensors
from aios.weights.load import load_model
from tests.helpers.people_makers import make_person, together
from training.tools import calibrate_scores
from training.tools.calibrate_scores import fit, labelled, main


def found(*rows):
    """People with score, box and keypoint score each."""
    return together(
        *(
            make_person(
                score=score,
                boxes_xyxy_px=np.array([box], np.float32),
                keypoint_scores=np.full((1, 17), keypoint_score, np.float32),
            )
            for score, box, keypoint_score in rows
        )
    )


def test_people_are_right_if_they_find_a_box_once():
    people = found(
        (0.9, (0, 0, 10, 20), 0.5),
        (0.8, (0, 0, 10, 19), 0.5),  # overlaps the first
        (0.5, (40, 0, 50, 20), 0.1),  # nobody there
        (0.01, (60, 0, 70, 20), 0.9),  # not considered
    )
    inputs, right = labelled(people, np.array([[0.0, 0, 10, 20], [60, 0, 70, 20]]), 0.6)
    assert right.tolist() == [True, False]
    expected = [[np.log(9), np.log(0.5)], [0, np.log(0.1)]]
    np.testing.assert_allclose(inputs, expected, atol=1e-5)


def test_regression_recovers_the_coefficients_of_made_data():
    rng = np.random.default_rng(0)
    inputs = np.stack([rng.normal(-1, 2, 20000), rng.normal(-1, 1, 20000)], 1)
    logits = 1.5 + 2.0 * inputs[:, 0] + 0.7 * inputs[:, 1]
    right = (rng.random(20000) < 1 / (1 + np.exp(-logits))).astype(float)
    calibration = fit(torch.from_numpy(inputs), torch.from_numpy(right))
    expected = (1.5, 2.0, 0.7)
    np.testing.assert_allclose(tuple(vars(calibration).values()), expected, rtol=0.1)


def test_command_writes_coefficients_and_manifest(tmp_path, capsys):
    weights = tmp_path / BUILTIN_WEIGHTS.name
    shutil.copy(BUILTIN_WEIGHTS, weights)
    shutil.copy(BUILTIN_WEIGHTS.parent / "manifest.json", tmp_path)
    assert main(["--weights", str(weights), "--scenes", "60", "--max-overlap", "0.7"]) == 0
    printed = json.loads(capsys.readouterr().out)
    info = load_model(weights).weights
    np.testing.assert_allclose(tuple(vars(info.calibration).values()), list(printed.values()), 1e-3)
    assert (info.threshold, info.max_overlap) == (0.5, 0.7)
    before, after = read_safetensors(BUILTIN_WEIGHTS)[1], read_safetensors(weights)[1]
    assert all(torch.equal(before[name], after[name]) for name in before)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["bytes"] == weights.stat().st_size
    assert manifest["max_overlap"] == 0.7
    assert (tmp_path / "manifest.json").read_text().startswith("{\n ")


def test_scores_without_meaning_are_one_sentence(tmp_path, capsys, monkeypatch):
    """Right people have lower scores than wrong ones."""

    def reversed_labels(people, boxes_xyxy, max_overlap):
        logits = np.linspace(-2, 2, 9)
        return np.stack([logits, np.zeros(9)], 1), logits < 0

    monkeypatch.setattr(calibrate_scores, "labelled", reversed_labels)
    weights = tmp_path / BUILTIN_WEIGHTS.name
    shutil.copy(BUILTIN_WEIGHTS, weights)
    assert main(["--weights", str(weights), "--scenes", "1"]) == 1
    assert "give more --scenes" in capsys.readouterr().err
    assert weights.read_bytes() == BUILTIN_WEIGHTS.read_bytes()


def test_missing_weights_are_one_sentence(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.safetensors")]) == 1
    assert "none.safetensors" in capsys.readouterr().err
