from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import pytest

from aios import report
from aios.geometry.camera import Camera
from aios.people import People
from aios.prediction import Prediction
from tests.helpers.served import WEIGHTS

STANDIN = SimpleNamespace(is_standin=True, name="stand-in")
SMPLX = SimpleNamespace(is_standin=False, name="SMPL-X")
OFFICIAL = replace(
    WEIGHTS, name="official", is_official=True, body_convention="smplx", description="the paper's"
)


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


def test_banner_names_weights_and_body_without_folders():
    html = report.banner_html(WEIGHTS, STANDIN, "exact")
    assert "Weights from tiny.safetensors." in html
    assert "/secret" not in html
    assert "stand-in" in html
    assert "ttxskk/AiOS" in html and report.BODY_SITE in html
    assert "--body PATH" in html and "AIOS_SMPLX" in html


def test_banner_says_what_is_approximated():
    assert "Shape is approximated" in report.banner_html(OFFICIAL, STANDIN, "exact")
    assert "learned the shapes of the stand-in" in report.banner_html(WEIGHTS, SMPLX, "exact")
    assert report.caveat(WEIGHTS, STANDIN) == report.caveat(OFFICIAL, SMPLX) == ""


def test_banner_of_the_paper_explains_nothing_further():
    html = report.banner_html(OFFICIAL, SMPLX, "exact")
    assert "<details>" not in html


def test_banner_shows_descriptions_as_text():
    strange = replace(WEIGHTS, description="<script>alert(1)</script>")
    assert "<script>" not in report.banner_html(strange, STANDIN, "exact")


def test_rows_of_people():
    rows = report.people_rows(prediction(2))
    assert rows[1] == {
        "name": "Person 2",
        "score": 0.4,
        "depth_order": 0,
        "distance_m": 1.0,
        "box_xyxy_px": [10.4, 20.2, 40.4, 80.2],
    }


def test_table_has_a_row_and_a_colour_of_its_own_for_each_person():
    html = report.people_html(prediction(3))
    assert html.count("<tr>") == 4
    colours = {part.split(")")[0] for part in html.split("background:rgb(")[1:]}
    assert len(colours) == 3
    assert "<td>3</td><td>3.00 m</td><td>10, 20, 30 × 60</td>" in html
    assert report.people_html(prediction(0)) == ""


@pytest.mark.parametrize(
    ("count", "start"), [(0, "**Nobody found**"), (1, "**1 person**"), (3, "**3 people**")]
)
def test_summary_counts(count, start):
    assert report.summary_text(prediction(count), 0.5, 0.9).startswith(start)


def test_summary_of_nobody_says_what_helps():
    assert "scores 0.31: lower" in report.summary_text(prediction(0), 0.5, 0.31)


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_speed_in_use_is_said(speed):
    assert speed in report.speed_text(speed)
    assert escape(report.speed_text(speed))[1:] in report.banner_html(WEIGHTS, STANDIN, speed)
