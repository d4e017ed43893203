"""Exact and fast: same people, vertices within millimetres, and a way back where fast is not."""

import logging
from dataclasses import replace

import pytest
import torch

from aios.accelerate import int8, speed
from aios.accelerate.int8_layers import Int8Linear
from aios.body.model import BodyModel
from aios.media.photo import read_photo
from aios.predictor import AiOSPredictor
from aios.resources import STANDIN_BODY
from aios.weights.load import load_model
from tests.benchmark.difference import difference
from tests.helpers.networks import SMALL, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN_MM = 2.5
"""Distance of a person's vertices from those of the exact network, pelvis on pelvis; it is 1.4 for
the present weights, whose narrow layers feel rounding more than those of a network that gains."""
CPU = torch.device("cpu")


def builtin():
    loaded = load_model("builtin")
    return AiOSPredictor(loaded.model, loaded.weights, BodyModel.load(STANDIN_BODY), "cpu")


def test_8_bits_find_the_same_people_within_millimetres():
    """Of the built-in network, the one with trained weights, though it gains no speed."""
    photos = sorted(speed.EXAMPLES.glob("*.jpg"))
    exact, rounded = builtin(), builtin()
    works = int8.why_not() is None
    if works:
        int8.quantise(rounded.model, [read_photo(path) for path in photos])
    found = difference(exact, rounded, photos)
    assert found["people"] >= 8
    assert found["missed"] == found["extra"] == 0
    assert found["mean_mm"] < MEAN_MM
    assert (found["mean_mm"] > 0) == works


def test_fast_is_fast_where_it_pays(monkeypatch):
    if int8.why_not():
        monkeypatch.setattr(int8, "why_not", lambda: None)
        monkeypatch.setattr(int8, "quantise", lambda _model, _pictures: None)
    assert speed.make_ready(random_model(replace(SMALL, hidden_dim=128), 1), CPU, "fast") == "fast"


@pytest.mark.parametrize("reason", ["no instructions", "no examples", "no CPU", "small"])
def test_where_fast_cannot_be_had_exact_is_used_and_one_line_says_why(
    monkeypatch, tmp_path, caplog, reason
):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: reason != "no instructions")
    if reason == "no examples":
        monkeypatch.setattr(speed, "EXAMPLES", tmp_path)
        monkeypatch.setattr(int8, "why_not", lambda: None)
    device = torch.device("meta") if reason == "no CPU" else CPU
    width = 64 if reason == "small" else 128
    model = random_model(replace(SMALL, hidden_dim=width), 1)
    with caplog.at_level(logging.WARNING, "aios"):
        assert speed.make_ready(model, device, "fast") == "exact"
    (record,) = caplog.records
    assert "exact instead of fast" in record.getMessage()
    assert not any(isinstance(module, Int8Linear) for module in model.modules())


def test_an_unknown_speed_is_refused():
    with pytest.raises(ValueError, match="choose exact or fast"):
        speed.make_ready(random_model(SMALL, 1), CPU, "faster")
