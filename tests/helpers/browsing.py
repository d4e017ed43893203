"""Steps of browser tests: the system's Chromium, driven by Playwright."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserType, Locator, Page, expect, sync_playwright

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
]
CAMERAS = {
    "fake": ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    "refused": ["--use-fake-device-for-media-stream", "--deny-permission-prompts"],
}
"""Arguments for a camera that works, and for one that the visitor refuses."""
TIMEOUT_MS = 90_000
expect.set_options(timeout=TIMEOUT_MS)


def find_chromium() -> str:
    """Return the path of the browser in AIOS_CHROMIUM, else of the first one installed."""
    named = os.environ.get("AIOS_CHROMIUM")
    for name in [named] if named else CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail("Chromium is missing: install it (apt-get install chromium) or set AIOS_CHROMIUM.")


def save_camera_video(path: Path) -> Path:
    """Write the video of the fake camera: bright on the left, dark on the right."""
    bright = np.repeat(np.uint8([[235] * 32 + [16] * 32]), 48, axis=0).tobytes()
    grey = bytes([128]) * (32 * 24 * 2)
    path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\nFRAME\n" + bright + grey)
    return path


def launch_browser(kind: BrowserType, folder: Path, camera: str = "fake") -> Browser:
    """Start a headless browser with software WebGL and one of `CAMERAS`."""
    video = save_camera_video(folder / "camera.y4m")
    arguments = [*ARGUMENTS, *CAMERAS[camera], f"--use-file-for-fake-video-capture={video}"]
    return kind.launch(executable_path=find_chromium(), args=arguments)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start Playwright and a headless browser with a fake camera."""
    with sync_playwright() as playwright:
        browser = launch_browser(playwright.chromium, folder)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, address: str, query: str = "", **settings) -> Iterator[Page]:
    """Open the page as a new visitor; at the end, check that no other server was contacted.

    Args:
        browser: with which to visit.
        address: of the page.
        query: end of the address, from "?".
        settings: of the browser context.
    """
    settings.setdefault("viewport", {"width": 1280, "height": 900})
    context = browser.new_context(**settings)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + query)
    yield page
    context.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def expect_accessible(page: Page) -> None:
    """Wait until axe has no serious finding; controls that fade in have little contrast."""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while serious := serious_findings(page):
        assert time.monotonic() < end, "\n".join(serious)
        page.wait_for_timeout(500)


def serious_findings(page: Page) -> list[str]:
    """Rule, element and reason of each serious or critical finding of axe."""
    response = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return [
        f"{finding['id']}: {node['html'][:200]} {node['failureSummary']}"
        for finding in response["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]


def upload(page: Page, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", photo)


def expect_people(page: Page, count: int) -> None:
    expect(page.locator("#people tbody tr")).to_have_count(count)


def expect_true(page: Page, condition: str, argument: object = None) -> None:
    """Wait until a JavaScript expression, or function of `argument`, is true."""
    page.wait_for_function(condition, arg=argument)


def expect_loaded(image: Locator) -> None:
    """Wait until a picture is visible and decoded, after which its size is final."""
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", True)
    expect(image).not_to_have_js_property("naturalWidth", 0)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def source(page: Page, selector: str) -> str:
    """Address of the last image below `selector`."""
    image = page.locator(f"{selector} img").last
    expect(image).to_be_visible()
    return image.get_attribute("src")


def picture(page: Page, selector: str) -> np.ndarray:
    """Pixels of the file behind the last image below `selector`."""
    reply = page.request.get(source(page, selector))
    assert reply.ok
    return np.asarray(Image.open(io.BytesIO(reply.body())).convert("RGB")).astype(int)


def seen(locator: Locator) -> np.ndarray:
    """Pixels of a screenshot."""
    shot = Image.open(io.BytesIO(locator.screenshot()))
    return np.asarray(shot.convert("RGB")).astype(int)


def expect_drawn(canvas: Locator) -> None:
    """Wait until the middle of a 3D scene has contrast."""
    expect(canvas).to_be_visible()
    end = time.monotonic() + TIMEOUT_MS / 1000
    while np.ptp(seen(canvas)[60:-60], axis=(0, 1)).max() < 60:
        assert time.monotonic() < end, "nothing was drawn"


def set_number(page: Page, label: str, value: float) -> None:
    number = page.get_by_label(f"number input for {label}").first
    number.fill(f"{value:.9g}")
    number.press("Enter")


def download(page: Page, label: str, folder: Path) -> Path:
    """Wait until a download button is enabled, and save its file."""
    button = page.get_by_role("button", name=label)
    expect(button).to_be_enabled()
    with page.expect_download() as waiting:
        button.click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
