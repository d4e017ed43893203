"""Banner with the weights, body and speed in use."""

from dataclasses import replace
from html import escape
from types import SimpleNamespace

import pytest

from aios.descriptions import body_mismatch_text, speed_text
from aios.page.model_summary import BODY_SITE, accuracy_note, banner_html
from tests.helpers.served import WEIGHTS

STANDIN = SimpleNamespace(is_standin=True, name="stand-in")
SMPLX = SimpleNamespace(is_standin=False, name="SMPL-X")
OFFICIAL = replace(
    WEIGHTS, name="official", is_official=True, body_convention="smplx", description="the paper's"
)


def test_banner_names_weights_and_body_without_folders():
    html = banner_html(WEIGHTS, STANDIN, "exact")
    assert "Weights from tiny.safetensors." in html
    assert "/secret" not in html
    assert "stand-in" in html
    assert "ttxskk/AiOS" in html and BODY_SITE in html
    assert "--body PATH" in html and "AIOS_SMPLX" in html


def test_banner_explains_a_mismatch_of_weights_and_body():
    assert "Shape is approximated" in banner_html(OFFICIAL, STANDIN, "exact")
    assert "trained with the stand-in body" in banner_html(WEIGHTS, SMPLX, "exact")
    assert body_mismatch_text(WEIGHTS, STANDIN) == body_mismatch_text(OFFICIAL, SMPLX) == ""


def test_banner_of_official_weights_and_smplx_has_no_instructions():
    assert "<details>" not in banner_html(OFFICIAL, SMPLX, "exact")


def test_banner_escapes_descriptions():
    hostile = replace(WEIGHTS, description="<script>alert(1)</script>")
    assert "<script>" not in banner_html(hostile, STANDIN, "exact")


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_banner_names_the_speed_mode(speed):
    assert speed in speed_text(speed)
    assert escape(speed_text(speed))[1:] in banner_html(WEIGHTS, STANDIN, speed)


def test_only_the_builtin_weights_get_an_accuracy_note():
    assert "less accurate" in accuracy_note(replace(WEIGHTS, name="builtin"))
    assert accuracy_note(WEIGHTS) == ""
