"""Chromium of the system, driven by Playwright: fixtures and steps of browser tests."""

import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE_MS = 90_000
expect.set_options(timeout=PATIENCE_MS)


def find_chromium() -> str:
    """The browser named by AIOS_CHROMIUM, else the first one installed."""
    named = os.environ.get("AIOS_CHROMIUM")
    for name in [named] if named else CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(
        "There is no Chromium: install it (apt-get install chromium) or name one in AIOS_CHROMIUM."
    )


def save_camera_film(path: Path) -> Path:
    """What the pretended camera sees: bright on its left, dark on its right."""
    bright = np.repeat(np.uint8([[235] * 32 + [16] * 32]), 48, axis=0).tobytes()
    grey = bytes([128]) * (32 * 24 * 2)
    path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\nFRAME\n" + bright + grey)
    return path


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A headless browser with WebGL in software and a camera that shows a film."""
    film = save_camera_film(folder / "film.y4m")
    arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, address: str, **settings) -> Iterator[Page]:
    """A fresh visitor; afterwards, nothing may have been asked of any other machine."""
    settings.setdefault("viewport", {"width": 1280, "height": 900})
    context = browser.new_context(**settings)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def upload(page: Page, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", photo)


def expect_people(page: Page, count: int) -> None:
    expect(page.locator("#people tbody tr")).to_have_count(count)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def source(page: Page, selector: str) -> str:
    """Address of the last image there."""
    image = page.locator(f"{selector} img").last
    expect(image).to_be_visible()
    return image.get_attribute("src")


def picture(page: Page, selector: str) -> np.ndarray:
    """Pixels of the last image there, fetched as the page fetches them."""
    reply = page.request.get(source(page, selector))
    assert reply.ok
    return np.asarray(Image.open(io.BytesIO(reply.body())).convert("RGB")).astype(int)


def seen(locator: Locator) -> np.ndarray:
    """Pixels of something as the visitor sees it."""
    shot = Image.open(io.BytesIO(locator.screenshot()))
    return np.asarray(shot.convert("RGB")).astype(int)


def expect_drawn(canvas: Locator) -> None:
    """Wait until something is to be seen in the middle of a 3-D scene."""
    expect(canvas).to_be_visible()
    end = time.monotonic() + PATIENCE_MS / 1000
    while np.ptp(seen(canvas)[60:-60], axis=(0, 1)).max() < 60:
        assert time.monotonic() < end, "nothing was drawn"


def set_number(page: Page, label: str, value: float) -> None:
    number = page.get_by_label(f"number input for {label}")
    number.fill(f"{value:.9g}")
    number.press("Enter")


def download(page: Page, label: str, folder: Path) -> Path:
    """The file behind a button, once there is one."""
    button = page.get_by_role("button", name=label)
    expect(button).to_be_enabled()
    with page.expect_download() as waiting:
        button.click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
