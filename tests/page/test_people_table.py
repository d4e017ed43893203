"""Summary line and table of the people in one photo."""

from dataclasses import replace

import numpy as np
import pytest

from aios.geometry.camera import Camera
from aios.page.people_table import people_html, people_rows, summary_text
from aios.people import People
from aios.prediction import Prediction
from tests.helpers.served import WEIGHTS

BUILTIN = replace(WEIGHTS, name="builtin", threshold=0.25)


def prediction(count):
    empty = People.empty()
    fields = {
        name: np.zeros((count, *values.shape[1:]), values.dtype)
        for name, values in vars(empty).items()
    }
    fields["scores"] = np.linspace(0.9, 0.4, count, dtype=np.float32)
    fields["boxes_xyxy_px"] = np.tile(np.float32([10.4, 20.2, 40.4, 80.2]), (count, 1))
    joints_3d = np.zeros((count, 144, 3), np.float32)
    joints_3d[:, 0, 2] = np.arange(count, 0, -1)
    return Prediction(
        people=People(**fields),
        camera=Camera(500.0, (60.0, 45.0), 120, 90),
        vertices=np.zeros((count, 4, 3), np.float32),
        joints_3d=joints_3d,
        faces=np.array([[0, 1, 2]]),
        weights="file",
        body="stand-in",
    )


def test_rows_hold_rounded_values_of_each_person():
    rows = people_rows(prediction(2))
    assert rows[1] == {
        "name": "Person 2",
        "score": 0.4,
        "depth_order": 1,
        "distance_m": 1.0,
        "box_xyxy_px": [10.4, 20.2, 40.4, 80.2],
    }


def test_table_has_a_row_and_a_colour_for_each_person():
    html = people_html(prediction(3))
    assert html.count("<tr>") == 4
    colours = {part.split(")")[0] for part in html.split("background:rgb(")[1:]}
    assert len(colours) == 3
    assert "<td>3rd</td><td>3.00 m</td><td>10, 20, 30 × 60</td>" in html
    assert people_html(prediction(0)) == ""


@pytest.mark.parametrize(
    ("count", "start"), [(0, "**No people found**"), (1, "**1 person**"), (3, "**3 people**")]
)
def test_summary_counts_people(count, start):
    assert summary_text(prediction(count), 0.5, 0.9, BUILTIN).startswith(start)


@pytest.mark.parametrize(("threshold", "best"), [(0.5, 0.31), (0.9, 0.2), (0.25, 0.16)])
def test_summary_suggests_a_lower_threshold_for_a_likely_candidate(threshold, best):
    text = summary_text(prediction(0), threshold, best, BUILTIN)
    assert f"has {best:.2f}: lower the threshold" in text


def test_summary_without_a_likely_candidate_names_limits_of_the_weights():
    text = summary_text(prediction(0), 0.25, 0.05, BUILTIN)
    assert "lower" not in text and "often miss people who are small" in text
    text = summary_text(prediction(0), 0.25, 0.05, replace(BUILTIN, name="file"))
    assert "lower" not in text and "only 0.05" in text
