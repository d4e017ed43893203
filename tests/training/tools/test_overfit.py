"""The overfitting check: its images, its goal, and a falling loss on a very small network."""

import json

import cv2
import pytest

from training.tools.overfit import GOAL_MM, CurvePoint, main, overfit_samples

pytestmark = pytest.mark.usefixtures("one_thread")


def test_images_show_up_to_three_visible_people_and_are_reproducible():
    samples = overfit_samples(64, 3)
    again = overfit_samples(64, 3)
    for sample, other in zip(samples, again, strict=True):
        assert sample.picture.shape == (64, 85, 3)
        assert (sample.picture == other.picture).all()
        assert 1 <= len(sample.targets) <= 3
        assert (sample.targets.visible_share >= 0.3).all()


def test_goal_is_f1_of_one_and_25_mm():
    def point(f1, mve_mm):
        return CurvePoint(1, 1.0, 1.0, 1.0, f1, mve_mm)

    assert point(1.0, GOAL_MM - 1).reached
    assert not point(1.0, GOAL_MM + 1).reached
    assert not point(0.99, 1.0).reached
    assert not point(1.0, 0.0).reached


def test_loss_falls_within_sixty_steps(tmp_path):
    """The first stage trains only dense losses; the comparison starts after it."""
    options = ["--config", "tiny", "--out", str(tmp_path), "--every", "10"]
    changes = ["steps=60", "ema_decay=0.9", "stages.0.until=0.16", "optim.warmup_steps=5"]
    code = main([*options, *(part for change in changes for part in ("--set", change))])
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [point["step"] for point in curve] == [10, 20, 30, 40, 50, 60]
    losses = [point["loss"] for point in curve[1:]]
    assert losses[-1] < 0.8 * losses[0]
    assert code == (0 if curve[-1]["f1"] == 1.0 and 0 < curve[-1]["mve_mm"] < GOAL_MM else 1)
    assert cv2.imread(str(tmp_path / "curve.png")) is not None


def test_run_without_steps_is_refused(tmp_path, capsys):
    assert main(["--config", "builtin", "--out", str(tmp_path / "x")]) == 1
    assert "needs a length in steps" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
