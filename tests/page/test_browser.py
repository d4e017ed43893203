"""The page in a real browser, each tab from input to downloaded result."""

import contextlib
import json
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from aios.page.context import PHOTOS_AT_ONCE
from aios.resources import ASSETS
from tests.helpers.browsing import (
    TIMEOUT_MS,
    chromium,
    download,
    expect_accessible,
    expect_drawn,
    expect_loaded,
    expect_people,
    expect_true,
    open_tab,
    picture,
    seen,
    set_number,
    source,
    upload,
    visit,
)
from tests.helpers.live_folder import files_under
from tests.helpers.served import (
    count_forwards,
    middle_threshold,
    save_photo,
    served,
    tiny_predictor,
)
from tests.helpers.waiting import wait_until

VIEWS = {
    "Meshes": "#overlay img",
    "Depth": "#depth img",
    "Keypoints": "#marks img",
    "Side and top": "#plan img",
    "Parameters": "#parameters table",
    "Before/after": "#compare img",
}
PHONE = {"width": 390, "height": 844}
FITS = """selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.left >= 0 && box.right <= window.innerWidth;
}"""
IN_PHONE_ORDER = """() => {
  const tops = ["choice", "results", "settings"].map(part =>
    [...document.querySelectorAll(`.aios-${part}`)].find(column => column.checkVisibility())
      .getBoundingClientRect().top);
  return tops[0] < tops[1] && tops[1] < tops[2];
}"""
RESULTS_ARE_ON_TOP = """() => {
  const top = document.querySelector("#photo-results").getBoundingClientRect().top;
  return top > -10 && top < 100;
}"""
THUMBNAILS_FILL_THEIR_FRAME = """() => {
  const items = [...document.querySelectorAll("#photo-choice .gallery-item")];
  return items.length > 0 && items.every(item => {
    const image = item.querySelector("img");
    if (!image) return false;
    const outer = item.getBoundingClientRect();
    const inner = image.getBoundingClientRect();
    const gaps = [outer.width - inner.width, outer.height - inner.height];
    return gaps.every(gap => Math.abs(gap) <= 4);
  });
}"""
NAMELESS = """() => {
  const shown = element => element.checkVisibility({visibilityProperty: true});
  const name = element => (
    element.getAttribute("aria-label") || element.title || element.innerText ||
    (element.labels && [...element.labels].map(l => l.innerText).join(" ")) || element.alt || ""
  ).trim();
  return [...document.querySelectorAll("input, select, textarea, button, [role=tab], img")]
    .filter(element => shown(element) && !name(element))
    .map(element => element.outerHTML.slice(0, 160));
}"""


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(predictor, uploads):
    with served(predictor, uploads) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("camera")) as browser:
        yield browser


@pytest.fixture
def page(browser, address, tmp_path):
    with visit(browser, address) as page:
        yield page
        page.screenshot(path=tmp_path / "page.png", full_page=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photos") / "group.png", 240, 180)


@pytest.fixture
def with_people(page, photo) -> Page:
    """Page with a photo of five people."""
    upload(page, photo)
    expect_people(page, 5)
    expect(page.locator("#overlay img")).to_be_visible()
    return page


def test_photo_gives_result_files(page, predictor, photo, tmp_path):
    expect(page.locator("#summary")).to_contain_text("Choose a photo")
    expect(page.get_by_role("button", name="Results (JSON)")).to_be_disabled()
    upload(page, photo)
    expect_people(page, 5)
    expect(page.locator("#summary")).to_contain_text("5 people")
    everyone, before = picture(page, "#overlay"), source(page, "#overlay")
    assert everyone.shape == (360, 480, 3)

    set_number(page, "Confidence threshold", middle_threshold(predictor, photo))
    expect_people(page, 2)
    expect(page.locator("#overlay img")).not_to_have_attribute("src", before)
    assert (np.abs(picture(page, "#overlay") - everyone).max(2) > 40).any()

    labels = ("Results (JSON)", "SMPL-X (NPZ)", "Meshes (GLB)", "Overlay (PNG)")
    result, npz, glb, overlay = (download(page, label, tmp_path) for label in labels)
    names = [path.name for path in (result, npz, glb, overlay)]
    assert names == ["group.json", "group.npz", "group.glb", "group_overlay.png"]
    written = json.loads(result.read_text("utf-8"))
    assert (written["photo"], len(written["people"])) == ("group.png", 2)
    with np.load(npz) as arrays:
        assert arrays["body_pose"].shape == (2, 63)
    assert len(trimesh.load(glb).geometry) == 2
    assert Image.open(overlay).size == (240, 180)


def test_downloads_follow_what_is_shown(with_people, tmp_path):
    page = with_people
    note = page.locator("#file-note")
    expect(note).to_have_text("Files of person 1, 2, 3, 4, 5.")
    page.get_by_text("Display options").click()
    page.locator("#shown").get_by_label("Person 2").uncheck()
    expect(note).to_have_text("Files of person 1, 3, 4, 5.")
    page.get_by_label("All people").check()
    expect(note).to_have_text("Files of person 1, 2, 3, 4, 5.")
    page.locator("#person input").click()
    page.get_by_role("option", name="Person 3").click()
    expect(page.locator("#people tr.aios-chosen")).to_contain_text("Person 3")
    page.get_by_label("Selected person").check()
    expect(note).to_have_text("Files of person 3.")
    document = json.loads(download(page, "Results (JSON)", tmp_path).read_text("utf-8"))
    assert [person["id"] for person in document["people"]] == [3]
    archive = zipfile.ZipFile(download(page, "All files (ZIP)", tmp_path))
    assert "group_person_3_smplx.npz" in archive.namelist()


def test_every_view_shows_a_picture(with_people):
    for name, selector in VIEWS.items():
        open_tab(with_people, name)
        expect(with_people.locator(selector).first).to_be_visible()
    two = "new Set([...document.querySelectorAll('#compare img')].map(one => one.src)).size === 2"
    expect_true(with_people, two)


def open_3d(page: Page) -> Locator:
    open_tab(page, "3D")
    expect(page.locator("#scene [data-ready]")).to_be_visible()
    canvas = page.locator("#scene canvas")
    expect_drawn(canvas)
    return canvas


def expect_changed(canvas: Locator, before: np.ndarray) -> np.ndarray:
    """Wait until a 3D scene differs in 200 pixels; returns its pixels."""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while (np.abs((now := seen(canvas)) - before).max(2) > 40).sum() < 200:
        assert time.monotonic() < end, "nothing changed"
    return now


def test_3d_scene_is_rendered_and_rotates(with_people):
    canvas = open_3d(with_people)
    before, box = seen(canvas), canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with_people.mouse.move(*middle)
    with_people.mouse.down()
    with_people.mouse.move(middle[0] + 150, middle[1], steps=5)
    with_people.mouse.up()
    turned = expect_changed(canvas, before)
    canvas.press("ArrowLeft")
    expect_changed(canvas, turned)


def test_3d_view_turns_until_it_is_stopped(with_people):
    canvas = open_3d(with_people)
    before = seen(canvas)
    turntable = with_people.get_by_role("button", name="Turntable")
    turntable.click()
    expect(turntable).to_have_attribute("aria-pressed", "true")
    with_people.evaluate(
        """() => new Promise((done) => {
            let frames = 0;
            const count = () => (++frames > 8 ? done() : requestAnimationFrame(count));
            count();
        })"""
    )
    turntable.click()
    expect(turntable).to_have_attribute("aria-pressed", "false")
    expect_changed(canvas, before)


def test_3d_view_of_the_camera_equals_the_overlay(with_people):
    over, bare = picture(with_people, "#overlay"), picture(with_people, "#photo")
    height, width = over.shape[:2]
    bare = np.asarray(Image.fromarray(bare.astype(np.uint8)).resize((width, height))).astype(int)
    canvas = open_3d(with_people)
    before = seen(canvas)
    with_people.get_by_role("button", name="Camera view").click()
    view = expect_changed(canvas, before)
    scale = min(view.shape[1] / width, view.shape[0] / height)
    size = round(width * scale), round(height * scale)
    left, top = (view.shape[1] - size[0]) // 2, (view.shape[0] - size[1]) // 2
    shown = view[top : top + size[1], left : left + size[0]].astype(np.uint8)
    shown = np.asarray(Image.fromarray(shown).resize((width, height))).astype(int)
    expected, found = (np.abs(one - bare).max(2) > 60 for one in (over, shown))
    assert (expected & found).sum() > 0.8 * (expected | found).sum()


def test_3d_view_shows_people_close_up_and_keeps_its_settings(with_people):
    page, canvas = with_people, open_3d(with_people)
    before = seen(canvas)
    page.locator("#scene").get_by_label("Look at").select_option("Person 2")
    before = expect_changed(canvas, before)
    for part in ("Face", "Left hand", "Right hand"):
        page.locator("#scene").get_by_label("Close-up").select_option(part)
        before = expect_changed(canvas, before)
    page.locator("#scene").get_by_label("Wireframe").check()
    before = expect_changed(canvas, before)
    page.locator("#scene").get_by_label("Opacity").fill("0.3")
    before = expect_changed(canvas, before)
    page.locator("#scene").get_by_label("Look at").select_option("Everyone and camera")
    expect_changed(canvas, before)
    page.locator("#person input").press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#people tr.aios-chosen")).to_have_count(1)
    expect(page.locator("#scene").get_by_label("Wireframe")).to_be_checked()


def test_click_selects_a_person_in_all_tabs(with_people):
    image, everyone = with_people.locator("#overlay img"), picture(with_people, "#overlay")
    before = source(with_people, "#overlay")
    bare = picture(with_people, "#photo")
    bare = np.asarray(Image.fromarray(bare.astype(np.uint8)).resize((480, 360))).astype(int)
    changed = np.abs(everyone - bare).max(2) > 90
    rows, columns = np.nonzero(changed)
    y, x = rows[len(rows) // 2], columns[len(rows) // 2]
    expect_loaded(image)
    box = image.bounding_box()
    scale = min(box["width"] / 480, box["height"] / 360)
    left, top = (box["width"] - 480 * scale) / 2, (box["height"] - 360 * scale) / 2
    image.click(position={"x": left + x * scale, "y": top + y * scale})
    expect(with_people.locator("#people tr.aios-chosen")).to_have_count(1)
    expect(with_people.locator("#overlay img")).not_to_have_attribute("src", before)
    name = with_people.locator("#people tr.aios-chosen th").inner_text().strip()
    expect(with_people.get_by_label("Person").first).to_have_value(name)
    open_tab(with_people, "Parameters")
    expect(with_people.locator("#parameters caption")).to_contain_text(name)
    open_tab(with_people, "Attention")
    expect(with_people.locator("#attention-text")).to_contain_text(name)
    # A person selected there is selected here too.
    other = "Person 2" if name == "Person 1" else "Person 1"
    with_people.get_by_label("Person", exact=True).last.click()
    with_people.get_by_role("option", name=other).click()
    expect(with_people.locator("#attention-text")).to_contain_text(other)
    open_tab(with_people, "Photo")
    expect(with_people.locator("#people tr.aios-chosen")).to_contain_text(other)
    expect(with_people.locator("#parameters caption")).to_contain_text(other)


def test_field_of_view_changes_distances_without_the_network(with_people, predictor):
    cell = with_people.locator("#people tbody tr").first.locator("td").nth(2)
    before = cell.inner_text()
    runs = count_forwards(predictor)
    set_number(with_people, "Camera field of view", 100)
    expect(cell).not_to_have_text(before)
    expect(with_people.locator("#people")).to_contain_text("100 degrees")
    assert not runs


def test_attention_follows_the_controls_and_is_downloaded(with_people, tmp_path):
    page = with_people
    open_tab(page, "Attention")
    expect(page.locator("#attention-text")).to_contain_text("Person 1, body box")
    first = source(page, "#attention-token")
    page.get_by_label("Token", exact=True).fill("left hand: index")
    page.get_by_role("option", name="Left hand: index tip").click()
    expect(page.locator("#attention-text")).to_contain_text("left hand: index tip")
    expect(page.locator("#attention-token img")).not_to_have_attribute("src", first)
    second = source(page, "#attention-token")
    page.get_by_label("1: locate").check()
    expect(page.locator("#attention-text")).to_contain_text("does not exist yet")
    expect(page.locator("#attention-token img")).not_to_have_attribute("src", second)
    figure = download(page, "Figure (PNG)", tmp_path)
    assert (figure.name, Image.open(figure).format) == ("group_attention.png", "PNG")
    with np.load(download(page, "Attention (NPZ)", tmp_path)) as arrays:
        assert arrays["layer3_tokens"].shape == (39,)


def test_attention_follows_the_keyboard(with_people):
    page = with_people
    open_tab(page, "Attention")
    text = page.locator("#attention-text")
    expect(text).to_contain_text("Person 1, body box")
    page.get_by_label("Token", exact=True).fill("left hand: index")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(text).to_contain_text("left hand: index tip")
    page.locator("#attention-who input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(text).not_to_contain_text("Person 1,")
    page.locator("#attention-layer input:checked").focus()
    page.keyboard.press("ArrowUp")
    expect(text).to_contain_text("decoder layer 2")


def test_photo_tab_follows_the_keyboard(with_people):
    page = with_people
    page.locator("#person input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#people tr.aios-chosen")).to_have_count(1)


def test_thumbnails_fill_their_frame(page):
    expect_true(page, THUMBNAILS_FILL_THEIR_FRAME)


def test_waiting_visitors_see_their_position_in_the_queue(
    browser, address, predictor, photo, tmp_path, monkeypatch
):
    gate, usual = threading.Event(), predictor.find_candidates

    def wait_and_find(*arguments, **more):
        assert gate.wait(TIMEOUT_MS / 1000)
        return usual(*arguments, **more)

    monkeypatch.setattr(predictor, "find_candidates", wait_and_find)
    with contextlib.ExitStack() as stack:
        visits = [stack.enter_context(visit(browser, address)) for _ in range(PHOTOS_AT_ONCE + 2)]
        for number, page in enumerate(visits):
            upload(page, save_photo(tmp_path / f"{number}.png", 100, 200 + number))
            place = number - PHOTOS_AT_ONCE + 1
            shown = "processing" if place < 1 else f"queue: {place}/{place}"
            expect(page.locator("#photo-results")).to_contain_text(shown)
        gate.set()
        for page in visits:
            expect_people(page, 5)


def test_no_people_found_is_explained(with_people):
    with_people.get_by_label("range slider for Confidence threshold").first.press("End")
    expect(with_people.locator("#summary")).to_contain_text("No people found")
    expect(with_people.locator("#summary")).to_contain_text("lower the threshold")
    expect_people(with_people, 0)


def test_unreadable_photo_is_refused_and_the_next_one_works(with_people, photo, tmp_path):
    page, bad = with_people, tmp_path / "notes.jpg"
    bad.write_bytes(b"no photo at all")
    upload(page, bad)
    sentence = "notes.jpg is not a photo that can be read"
    expect(page.locator("#summary")).to_contain_text(sentence)
    expect_people(page, 0)
    expect(page.locator("#overlay img")).to_have_count(0)
    assert "Traceback" not in page.inner_text("body")
    expect(page.get_by_role("button", name="Results (JSON)")).to_be_disabled()
    upload(page, photo)
    expect_people(page, 5)


def test_example_at_another_input_size(page, predictor):
    runs = count_forwards(predictor)
    page.get_by_role("button", name="Example: scene close").click()
    expect_people(page, 5)
    assert len(runs) == 1
    before = source(page, "#overlay")
    page.get_by_label("Fast (").first.check()
    expect(page.locator("#overlay img")).not_to_have_attribute("src", before)
    assert len(runs) == 2


def test_snapshot_is_not_mirrored(page):
    page.locator("#photo").get_by_label("Capture from camera").click()
    page.locator("#photo").get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#photo video')?.readyState === 4")
    page.locator("#photo").get_by_label("capture photo").click()
    expect_people(page, 5)
    shown = picture(page, "#photo")
    width = shown.shape[1]
    assert shown[:, : width // 3].mean() > 180 > 80 > shown[:, -width // 3 :].mean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone(browser, address, photo, tmp_path, scheme):
    with visit(browser, address, viewport=PHONE, color_scheme=scheme, has_touch=True) as page:
        upload(page, photo)
        expect_people(page, 5)
        expect_true(page, RESULTS_ARE_ON_TOP)
        expect_true(page, f"({NAMELESS})().length === 0")
        for selector in ("#photo", "#overlay", "#people"):
            expect_true(page, FITS, selector)
        for view, selector in VIEWS.items():
            open_tab(page, view)
            expect(page.locator(selector).first).to_be_visible()
        expect(page.get_by_role("button", name="Use via API")).to_be_visible()
        for tab in ("Photo", "Attention", "Webcam", "Video", "Batch", "About"):
            open_tab(page, tab)
            expect(page.get_by_role("tab", name=tab, exact=True)).to_be_in_viewport()
            expect_true(page, "document.documentElement.scrollWidth <= window.innerWidth")
            page.screenshot(path=tmp_path / f"{tab}.png", full_page=True)
        for tab in ("Photo", "Webcam", "Video", "Batch"):
            open_tab(page, tab)
            expect_true(page, IN_PHONE_ORDER)
        dark = json.dumps(scheme == "dark")
        expect_true(page, f"document.body.classList.contains('dark') === {dark}")


def test_phone_stays_where_the_visitor_scrolls(browser, address, predictor, tmp_path, monkeypatch):
    gate, usual = threading.Event(), predictor.find_candidates

    def wait_and_find(*arguments, **more):
        assert gate.wait(TIMEOUT_MS / 1000)
        return usual(*arguments, **more)

    monkeypatch.setattr(predictor, "find_candidates", wait_and_find)
    with visit(browser, address, viewport=PHONE, has_touch=True) as page:
        upload(page, save_photo(tmp_path / "first.png", 100, 160))
        expect_true(page, RESULTS_ARE_ON_TOP)
        page.mouse.move(200, 400)
        page.mouse.wheel(0, -5000)
        expect_true(page, "window.scrollY === 0")
        gate.set()
        expect(page.get_by_role("button", name="Results (JSON)")).to_be_enabled()
        expect_true(page, "window.scrollY === 0")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_has_no_serious_finding(browser, address, photo, scheme, width):
    viewport = {"width": width, "height": 900}
    with visit(browser, address, viewport=viewport, color_scheme=scheme) as page:
        upload(page, photo)
        expect(page.locator("#file-note")).to_contain_text("Files of person")
        open_tab(page, "Parameters")
        expect(page.locator("#parameters table")).to_be_visible()
        expect_accessible(page)
        open_3d(page)
        expect_accessible(page)
        open_tab(page, "Attention")
        expect(page.locator("#attention-token img")).to_be_visible()
        expect_accessible(page)
        for tab in ("Webcam", "Video", "Batch", "About"):
            open_tab(page, tab)
            expect_accessible(page)


def test_link_carries_view_and_settings(browser, address, photo):
    query = "?show=depth&size=fast&threshold=0.25&people=2&fov=500&refine=maybe"
    with visit(browser, address, query) as page:
        expect(page.get_by_role("tab", name="Depth")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#input-size input").first).to_be_checked()
        threshold = page.get_by_label("number input for Confidence threshold").first
        expect(threshold).to_have_value("0.25")
        # Values that are not allowed are ignored.
        expect(page.get_by_label("number input for Camera field of view")).to_have_value("0")
        expect(page).to_have_url(f"{address}?show=depth&size=fast&threshold=0.25&people=2")
        set_number(page, "Confidence threshold", 0)
        upload(page, photo)
        expect_people(page, 2)
        expect(page.locator("#depth img")).to_be_visible()
        set_number(page, "Max people", 3)
        page.locator("#input-size input").last.check()
        expect_people(page, 3)
        open_tab(page, "Keypoints")
        open_tab(page, "Attention")
        carried = "?show=keypoints&people=3&tab=attention"
        expect(page).to_have_url(f"{address}{carried}")


def test_link_carries_an_example_and_its_attention(browser, address):
    query = "?tab=attention&example=photo_skier&token=left+wrist&layer=2&head=all&level=2"
    with visit(browser, address, query) as page:
        text = page.locator("#attention-text")
        expect(text).to_contain_text("Person 1, left wrist")
        expect(text).to_contain_text("decoder layer 2")
        expect(page).to_have_url(re.compile("example=photo_skier.*&layer=2&level=2$"))
        expect(page.get_by_role("button", name="Figure (PNG)")).to_be_enabled()


def test_controls_have_names_and_tabs_open_by_keyboard(with_people):
    page = with_people
    expect_true(page, f"({NAMELESS})().length === 0")
    page.get_by_role("tab", name="Photo", exact=True).focus()
    for name, sign in (("Attention", "#attention-token img"), ("Webcam", "#camera video")):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        tab = page.get_by_role("tab", name=name, exact=True)
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(page.locator(sign)).to_be_attached()
        expect_true(page, f"({NAMELESS})().length === 0")


def test_leaving_deletes_uploads_and_results(browser, address, uploads, tmp_path):
    mine = save_photo(tmp_path / "mine alone.png", 200, 150)
    with visit(browser, address) as page:
        upload(page, mine)
        expect(page.get_by_role("button", name="Results (JSON)")).to_be_enabled()
        assert files_under(uploads, "mine alone*")
        expect(page.locator("#privacy")).to_contain_text("deleted when you close the page")
    wait_until(lambda: not files_under(uploads, "mine alone*"))


def test_example_uploaded_by_a_visitor_stays_for_others(browser, address, tmp_path):
    (example, *_) = sorted((ASSETS / "examples").glob("*.jpg"))
    mine = save_photo(tmp_path / "mine_too.png", 200, 150)
    with visit(browser, address) as page:
        for photo in (example, mine):
            upload(page, photo)
            expect(page.locator("#overlay img")).to_have_attribute("src", re.compile(photo.stem))
            expect(page.get_by_role("button", name="Results (JSON)")).to_be_enabled()
        example_url = page.locator("button.gallery-item img").first.get_attribute("src")
        mine_url = page.locator("#photo img").get_attribute("src")
        assert Path(mine_url.partition("file=")[2]).is_file()
    with visit(browser, address) as page:
        # A visit whose connection is lost ends after a minute of grace.
        end = time.monotonic() + 3 * TIMEOUT_MS / 1000
        # On disk, since a request during the deletion gets a broken answer.
        while Path(mine_url.partition("file=")[2]).exists():
            assert time.monotonic() < end, "the photo is still there"
            time.sleep(0.2)
        assert not page.request.get(mine_url).ok
        assert page.request.get(example_url).ok


def test_banner_names_the_model_and_how_to_get_the_papers(page):
    open_tab(page, "About")
    banner = page.locator(".aios-banner")
    expect(banner).to_contain_text("tiny.safetensors")
    expect(banner).to_contain_text("stand-in")
    banner.get_by_text("Get the paper’s weights and body").click()
    expect(banner.get_by_role("link", name="smpl-x.is.tue.mpg.de")).to_be_visible()
