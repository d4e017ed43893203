"""Tab Webcam in a real browser: stream, stop and camera errors."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.browsing import (
    TIMEOUT_MS,
    chromium,
    expect_loaded,
    launch_browser,
    open_tab,
    seen,
    visit,
)
from tests.helpers.served import served, tiny_predictor

FAILING_CAMERA = """navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("", "%s");
}"""


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def address(predictor, tmp_path_factory):
    with served(predictor, tmp_path_factory.mktemp("uploads")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("camera")) as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    with visit(browser, address) as page:
        yield page


def test_webcam_shows_people_and_stops(page):
    open_tab(page, "Webcam")
    frames: list[str] = []
    page.on("request", lambda r: frames.append(r.url) if "/stream/" in r.url else None)
    page.get_by_text("Click to Access Webcam").last.click()
    page.locator("#camera").get_by_text("Record").click()
    expect(page.locator("#speed")).to_contain_text(re.compile(r"[1-9]\d*\.\d frames per second"))
    expect(page.locator("#speed")).to_contain_text("5 people")
    expect_bright(page)
    page.locator("#camera").get_by_text("Stop").click()
    expect(page.locator("#camera").get_by_text("Record")).to_be_visible()
    expect(page.locator("#speed")).to_have_text("Stopped.")
    sent = len(frames)
    for name in ("About", "Webcam", "About", "Webcam"):
        open_tab(page, name)
    # One frame may have been in transit when the button was pressed.
    assert len([url for url in frames[sent:] if not url.endswith("/close")]) <= 1


def test_refused_webcam_is_explained(browser, address, tmp_path):
    refusing = launch_browser(browser.browser_type, tmp_path, "refused")
    with visit(refusing, address) as page:
        expect_camera_error(page, "The browser blocks the camera.")
    refusing.close()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (FAILING_CAMERA % "NotFoundError", "No camera found."),
        (FAILING_CAMERA % "NotReadableError", "in use by another program"),
        (FAILING_CAMERA % "AbortError", "could not be started"),
        ("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", "only over HTTPS"),
    ],
)
def test_webcam_error_tells_what_to_do(page, script, message):
    page.add_init_script(script)
    page.reload()
    expect_camera_error(page, message)


def expect_camera_error(page: Page, message: str) -> None:
    open_tab(page, "Webcam")
    page.get_by_text("Click to Access Webcam").last.click()
    expect(page.locator(".aios-camera-error")).to_contain_text(message)
    expect(page.locator(".aios-camera-error")).to_be_visible()


def test_slow_network_skips_webcam_frames(page, predictor, monkeypatch):
    """Frames that arrive while the network runs replace each other instead of queueing."""
    usual, done = predictor.find_candidates, []

    def slow(frame, **arguments):
        time.sleep(0.6)
        done.append(time.monotonic())
        return usual(frame, **arguments)

    monkeypatch.setattr(predictor, "find_candidates", slow)
    open_tab(page, "Webcam")
    page.get_by_text("Click to Access Webcam").last.click()
    page.locator("#camera").get_by_text("Record").click()
    expect(page.locator("#speed")).to_contain_text("5 people")
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if "/stream/" in r.url else None)
    before = len(done)
    end = time.monotonic() + TIMEOUT_MS / 1000
    while len(sent) <= len(done) - before + 5:
        assert time.monotonic() < end, "frames wait for the network"
        page.wait_for_timeout(200)
    page.locator("#camera").get_by_text("Stop").click()
    stopped = time.monotonic()
    page.wait_for_timeout(4000)
    # The frame in progress and the latest that arrived meanwhile.
    assert len([moment for moment in done if moment > stopped]) <= 2


def expect_bright(page: Page) -> None:
    """Wait until the live picture is drawn."""
    expect_loaded(page.locator("#live img"))
    end = time.monotonic() + TIMEOUT_MS / 1000
    while seen(page.locator("#live img")).mean() <= 20:
        assert time.monotonic() < end, "the live picture is dark"
