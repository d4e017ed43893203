"""Exact and fast: same people, vertices within millimetres, and a way back where fast is not."""

import logging

import pytest
import torch

from aios import int8, speed
from aios.body_file import STANDIN_PATH
from aios.body_model import BodyModel
from aios.predictor import AiOSPredictor
from aios.weights import load_model

from .benchmark_difference import difference
from .networks import SMALL, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

MEDIAN_MM, MEAN_MM = 1.5, 3.0
"""Distance of a person's vertices from those of the exact network, pelvis on pelvis.

Of two nearly equal answers for one person the other one may come to be the better: some 15 mm for
that person, which in so few photos moves the mean.
"""
CPU = torch.device("cpu")


def builtin(wanted):
    loaded = load_model("builtin")
    return AiOSPredictor(loaded.model, loaded.weights, BodyModel.load(STANDIN_PATH), "cpu", wanted)


def test_fast_finds_the_same_people_within_millimetres():
    exact, fast = builtin("exact"), builtin("fast")
    assert exact.speed == "exact"
    assert fast.speed == ("exact" if int8.why_not() else "fast")
    found = difference(exact, fast, sorted(speed.EXAMPLES_PATH.glob("*.jpg")))
    assert found["people"] >= 8
    assert found["missed"] == found["extra"] == 0
    assert found["median_mm"] < MEDIAN_MM
    assert found["mean_mm"] < MEAN_MM
    assert (found["mean_mm"] > 0) == (fast.speed == "fast")


@pytest.mark.parametrize("reason", ["no instructions", "no examples", "no CPU"])
def test_where_fast_cannot_be_had_exact_is_used_and_one_line_says_why(
    monkeypatch, tmp_path, caplog, reason
):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: reason != "no instructions")
    if reason == "no examples":
        monkeypatch.setattr(speed, "EXAMPLES_PATH", tmp_path)
        monkeypatch.setattr(int8, "why_not", lambda: None)
    device = torch.device("meta") if reason == "no CPU" else CPU
    model = random_model(SMALL, 1)
    with caplog.at_level(logging.WARNING, "aios"):
        assert speed.make_ready(model, device, "fast") == "exact"
    (record,) = caplog.records
    assert "exact instead of fast" in record.getMessage()
    assert not any(isinstance(module, int8.Int8Linear) for module in model.modules())


def test_an_unknown_speed_is_refused():
    with pytest.raises(ValueError, match="choose exact or fast"):
        speed.make_ready(random_model(SMALL, 1), CPU, "faster")
