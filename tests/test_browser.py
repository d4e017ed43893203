"""The page in a real browser: Chromium of the system, driven by Playwright."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.served import middle_threshold, save_photo, served, tiny_predictor

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PATIENCE_MS = 60_000
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


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def address(predictor, tmp_path_factory):
    with served(predictor, tmp_path_factory.mktemp("uploads")) as address:
        yield address


def save_camera_film(path: Path) -> Path:
    """What the pretended camera sees: bright on its left, dark on its right."""
    bright = np.repeat(np.uint8([[235] * 32 + [16] * 32]), 48, axis=0).tobytes()
    grey = bytes([128]) * (32 * 24 * 2)
    path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\nFRAME\n" + bright + grey)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    executable = find_chromium()
    film = save_camera_film(tmp_path_factory.mktemp("camera") / "film.y4m")
    arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A fresh visitor; afterwards, nothing may have been asked of any other machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photos") / "group.png", 240, 180)


def upload(page: Page, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", photo)


def expect_people(page: Page, count: int) -> None:
    expect(page.locator("#people tbody tr")).to_have_count(count)


def picture(page: Page, selector: str) -> np.ndarray:
    """Pixels of the last image there, fetched as the page fetches them."""
    image = page.locator(f"{selector} img").last
    expect(image).to_be_visible()
    reply = page.request.get(image.get_attribute("src"))
    assert reply.ok
    return np.asarray(Image.open(io.BytesIO(reply.body())).convert("RGB")).astype(int)


def overlay_of(page: Page) -> np.ndarray:
    sources = page.locator("#overlay img").evaluate_all("all => all.map(one => one.src)")
    assert len(set(sources)) == 2
    return picture(page, "#overlay")


def test_from_photo_to_files(page, predictor, photo, tmp_path):
    expect(page.locator("#summary")).to_contain_text("Waiting for a photo")
    expect(page.get_by_role("button", name="Results (JSON)")).to_be_disabled()
    upload(page, photo)
    expect_people(page, 5)
    expect(page.locator("#summary")).to_contain_text("5 people")
    everyone = overlay_of(page)
    assert everyone.shape == (180, 240, 3)
    before = page.locator("#overlay img").last.get_attribute("src")

    threshold = middle_threshold(predictor, photo)
    number = page.get_by_label("number input for Score threshold")
    number.fill(f"{threshold:.9f}")
    number.press("Enter")
    expect_people(page, 2)
    expect(page.locator("#overlay img").last).not_to_have_attribute("src", before)
    some = overlay_of(page)
    assert (np.abs(some - everyone).max(2) > 40).any()

    files = {}
    for label in ("Results (JSON)", "SMPL-X (NPZ)", "Meshes (GLB)", "Overlay (PNG)"):
        button = page.get_by_role("button", name=label)
        expect(button).to_be_enabled()
        with page.expect_download() as download:
            button.click()
        files[label] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[label])
    assert sorted(path.name for path in files.values()) == [
        "group.glb",
        "group.json",
        "group.npz",
        "group_overlay.png",
    ]
    result = json.loads(files["Results (JSON)"].read_text("utf-8"))
    assert (result["photo"], len(result["people"])) == ("group.png", 2)
    with np.load(files["SMPL-X (NPZ)"]) as arrays:
        assert arrays["body_pose"].shape == (2, 63)
    assert len(trimesh.load(files["Meshes (GLB)"]).geometry) == 2
    assert Image.open(files["Overlay (PNG)"]).size == (240, 180)


def test_nobody_is_a_friendly_answer(page, photo):
    upload(page, photo)
    expect_people(page, 5)
    page.get_by_label("range slider for Score threshold").press("End")
    expect(page.locator("#summary")).to_contain_text("Nobody found")
    expect(page.locator("#summary")).to_contain_text("lower the threshold")
    expect_people(page, 0)


def test_a_bad_photo_is_a_sentence_and_the_next_one_works(page, photo, tmp_path):
    bad = tmp_path / "notes.jpg"
    bad.write_bytes(b"no photo at all")
    upload(page, photo)
    expect_people(page, 5)
    upload(page, bad)
    sentence = "notes.jpg is not a photo that can be read"
    expect(page.locator("#summary")).to_contain_text(sentence)
    expect_people(page, 0)
    assert "Traceback" not in page.inner_text("body")
    expect(page.get_by_role("button", name="Results (JSON)")).to_be_disabled()
    upload(page, photo)
    expect_people(page, 5)


def test_an_example_and_the_depth_order(page):
    page.locator("button.gallery-item").first.click()
    expect_people(page, 5)
    page.get_by_role("tab", name="Depth order").click()
    assert picture(page, "#depth").shape[0] > 100


def test_a_snapshot_is_not_mirrored(page):
    page.locator("#photo").get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.readyState === 4")
    page.locator("#photo").get_by_label("capture photo").click()
    expect_people(page, 5)
    seen = picture(page, "#photo")
    width = seen.shape[1]
    assert seen[:, : width // 3].mean() > 180 > 80 > seen[:, -width // 3 :].mean()


def test_a_phone_shows_all_of_it(page, photo):
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, photo)
    expect_people(page, 5)
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    for selector in ("#photo", "#overlay", "#people"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_banner_says_what_is_in_use_and_how_to_get_the_papers(page):
    banner = page.locator(".aios-banner")
    expect(banner).to_contain_text("tiny.safetensors")
    expect(banner).to_contain_text("stand-in")
    banner.get_by_text("How to get what the paper uses").click()
    expect(banner.get_by_role("link", name="smpl-x.is.tue.mpg.de")).to_be_visible()
