"""Screenshots of the page for the README: `python -m tests.screenshots`.

Needs Chromium; the page runs on the built-in weights and the stand-in body.
"""

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from aios import AiOSPredictor
from tests.helpers.browsing import chromium, expect_drawn, open_tab, upload, visit
from tests.helpers.served import STANDIN, served

ASSETS = Path(__file__).resolve().parents[1] / "assets"
_QUALITY = 82
_WINDOW = {"width": 1280, "height": 940}


def main() -> None:
    """Write `assets/page_photo.jpg`, `page_scene.jpg` and `page_attention.jpg`."""
    predictor = AiOSPredictor.from_pretrained("builtin", body=STANDIN, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(predictor, folder) as address, chromium(folder) as browser:
            _photo(browser, address)
            _scene(browser, address)
            _attention(browser, address)


def _photo(browser: Browser, address: str) -> None:
    with visit(browser, address, viewport=_WINDOW, color_scheme="light") as page:
        _show(page, "photo_skier.jpg")
        _save(page, "page_photo.jpg")


def _scene(browser: Browser, address: str) -> None:
    with visit(browser, address, viewport=_WINDOW, color_scheme="dark") as page:
        _show(page, "scene_two.jpg")
        open_tab(page, "3D")
        expect(page.locator("#scene [data-ready]")).to_be_visible()
        page.locator("#scene").get_by_label("Look at").select_option("Everyone and camera")
        expect_drawn(page.locator("#scene canvas"))
        _save(page, "page_scene.jpg")


def _attention(browser: Browser, address: str) -> None:
    with visit(browser, address, viewport=_WINDOW, color_scheme="light") as page:
        _show(page, "scene_two.jpg")
        open_tab(page, "Attention")
        expect(page.locator("#attention-tokens img")).to_be_visible()
        page.get_by_label("Token", exact=True).fill("left wrist")
        page.get_by_role("option", name="Left wrist", exact=True).click()
        expect(page.locator("#attention-text")).to_contain_text("left wrist")
        _save(page, "page_attention.jpg")


def _show(page: Page, example: str) -> None:
    upload(page, ASSETS / "examples" / example)
    expect(page.locator("#people tbody tr").first).to_be_visible()
    expect(page.locator("#overlay img")).to_be_visible()
    expect(page.get_by_role("button", name="Overlay (PNG)")).to_be_enabled()


def _save(page: Page, name: str) -> None:
    page.wait_for_function("[...document.images].every(image => image.complete)")
    # No control must have its hover colour.
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(ASSETS / name, quality=_QUALITY, optimize=True)


if __name__ == "__main__":
    main()
