"""Event handlers of the tabs, without a browser."""

import base64
import io
import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import trimesh
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from PIL import Image

from aios.page.attention_tab import AttentionHandlers
from aios.page.context import PageContext, session_name
from aios.page.photo_files import FileChoice
from aios.page.photo_handlers import EVERYONE, PhotoHandlers
from aios.page.photo_views import person_map
from aios.page.results import PhotoQuery
from aios.page.sessions import Sessions
from aios.page.webcam_tab import LiveHandler
from aios.page.widgets import camera_input, live_picture
from aios.pipelines import live
from tests.helpers.live_folder import files_under
from tests.helpers.served import count_forwards, save_photo, tiny_predictor

VIEWS = ["overlay", "compare", "depth", "marks", "plan", "scene", "parameters"]
ALL = list(range(5))
VISIBLE = FileChoice("visible")
LAYERS = ["boxes", "body", "hands", "face"]


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def context(predictor, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    sessions = Sessions(predictor, tmp_path / "uploads")
    return PageContext(gr.Blocks(), predictor, sessions, 0.0, gr.State(None), gr.State(None))


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "group.png", 240, 180)


@pytest.fixture
def handlers(context):
    return PhotoHandlers(context, VIEWS)


def visitor(name="a"):
    return SimpleNamespace(session_hash=name)


def is_skip(update):
    return isinstance(update, dict) and update.get("__type__") == "update" and len(update) == 1


def ask(photo, threshold=0.0, size="full", field_of_view=0):
    return [str(photo), threshold, 30, size, field_of_view, False]


def photo_query(photo, threshold=0.0, field_of_view=0):
    return PhotoQuery(photo, threshold, 30, "full", field_of_view, False)


def write(handlers, query, person=-1, shown=ALL, choice=VISIBLE):
    return handlers.write(query, person, shown, choice, visitor())


def paths(buttons):
    """Paths of download buttons after the note."""
    return [Path(button.value["path"]) for button in buttons[1:]]


def json_ids(downloads):
    document = json.loads(paths(downloads)[0].read_text("utf-8"))
    return [person["id"] for person in document["people"]]


def click_on_a_person(context, query):
    """Index of a visible person, and a click on them."""
    result = context.visit(visitor()).result(query)
    person = person_map(result, ALL)
    rows, columns = np.nonzero(person >= 0)
    scale = result.photo.shape[1] / person.shape[1]
    middle = len(rows) // 2
    point = int((columns[middle] + 0.5) * scale), int((rows[middle] + 0.5) * scale)
    return int(person[rows[middle], columns[middle]]), SimpleNamespace(index=point)


def test_new_photo_keeps_the_visible_view_until_its_picture_is_drawn(handlers, photo):
    text, query, person, shown, *rest = handlers.show(*ask(photo), "depth", -1, visitor())
    assert "5 people" in text and query == photo_query(photo)
    assert person.value == EVERYONE[1] and len(person.choices) == 6
    assert shown.value == ALL
    assert [is_skip(view) for view in rest[:7]] == [name == "depth" for name in VIEWS]
    assert [view for view in rest[:7] if not is_skip(view)] == [None] * 6
    assert all(button.interactive is False for button in rest[8:])


def test_selected_person_stays_selected_while_there_are_enough_people(handlers, photo):
    assert handlers.show(*ask(photo), "overlay", 3, visitor())[2].value == 3
    assert handlers.show(*ask(photo, 1.0), "overlay", 3, visitor())[2].value == EVERYONE[1]


def test_missing_and_unreadable_photo_clear_the_results(handlers, photo, tmp_path):
    bad = tmp_path / "notes.jpg"
    bad.write_bytes(b"no photo")
    for path, words in ((None, "Choose a photo"), (str(bad), "notes.jpg is not a photo")):
        answer = handlers.show(path, *ask(photo)[1:], "overlay", -1, visitor())
        assert words in answer[0] and answer[1] is None
        assert answer[4:11] == [None] * 7
    assert handlers.draw(None, "overlay", -1, ALL, LAYERS, visitor()) == [*[None] * 7, "", None]
    assert all(b.interactive is False for b in write(handlers, None)[1:])


def test_photo_that_is_cut_off_is_noted_in_the_summary(handlers, photo, tmp_path):
    cut = tmp_path / "cut.jpg"
    Image.open(photo).save(cut)
    cut.write_bytes(cut.read_bytes()[:-2])
    summary = handlers.show(*ask(cut), "overlay", -1, visitor())[0]
    assert summary.endswith("<br>cut.jpg is cut off: its end is missing.")


@pytest.mark.parametrize("view", VIEWS)
def test_only_the_visible_view_is_drawn(handlers, photo, view):
    query = photo_query(photo)
    *views, table, person = handlers.draw(query, view, 2, ALL, LAYERS, visitor())
    assert [is_skip(v) for v in views] == [name != view for name in VIEWS]
    assert person == 2 and table.count("aios-chosen") == 1
    drawn = views[VIEWS.index(view)]
    if view == "parameters":
        assert "Person 3" in drawn
    elif view == "compare":
        assert len({Image.open(path).size for path in drawn}) == 1
    elif view == "scene":
        assert drawn.startswith('<div class="aios-viewer"') and "group_scene.glb" in drawn
    else:
        assert Path(drawn).name == f"group_{view}.jpg" and Image.open(drawn).size[0] >= 480


def test_drawing_does_not_run_the_network(handlers, photo, predictor):
    handlers.show(*ask(photo), "overlay", -1, visitor())
    runs = count_forwards(predictor)
    for field_of_view in (0, 50):
        for view in VIEWS:
            query = photo_query(photo, 0.0, field_of_view)
            handlers.draw(query, view, -1, ALL, LAYERS, visitor())
    assert not runs


def test_click_selects_a_person_and_second_click_deselects(handlers, context, photo):
    query = photo_query(photo)
    person, event = click_on_a_person(context, query)
    assert handlers.pick(query, -1, ALL, LAYERS, event, visitor()) == person
    assert handlers.pick(query, person, ALL, LAYERS, event, visitor()) == EVERYONE[1]
    hidden = [index for index in ALL if index != person]
    assert handlers.pick(query, -1, hidden, LAYERS, event, visitor()) != person


def test_glb_is_not_offered_without_people(handlers, photo):
    query = photo_query(photo, 1.0)
    handlers.show(*ask(photo, 1.0), "overlay", -1, visitor())
    buttons = write(handlers, query)
    assert [button.interactive for button in buttons[1:]] == [True, True, False, True, True, True]
    names = zipfile.ZipFile(paths(["", buttons[6]])[0]).namelist()
    assert names == ["group.json", "group.npz", "group_overlay.png", "group_strip.png"]


def test_files_lie_in_the_folder_of_the_visit(handlers, context, photo):
    query = handlers.show(*ask(photo), "overlay", -1, visitor())[1]
    handlers.draw(query, "overlay", -1, ALL, LAYERS, visitor())
    files = paths(write(handlers, query))
    assert [file.suffix for file in files] == [".json", ".npz", ".glb", ".png", ".png", ".zip"]
    folder = context.visit(visitor()).folder()
    assert all(folder in file.parents for file in files)
    assert context.visit(visitor("b")).folder() != folder
    context.sessions.leave("a")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("people", "person", "ids"),
    [
        ("visible", -1, [2, 4]),
        ("visible", 3, [2, 4]),
        ("all", 3, [1, 2, 3, 4, 5]),
        ("selected", 3, [4]),
        ("selected", -1, [2, 4]),
    ],
)
def test_files_contain_the_chosen_people_under_their_numbers(handlers, photo, people, person, ids):
    query = photo_query(photo)
    handlers.show(*ask(photo), "overlay", -1, visitor())
    buttons = write(handlers, query, person, [3, 1], FileChoice(people))
    assert json_ids(buttons) == ids
    assert buttons[0] == f"Files of person {', '.join(map(str, ids))}."
    _, npz, glb, _, strip, archive = paths(buttons)
    with np.load(npz) as arrays:
        assert arrays["person_ids"].tolist() == ids
        assert arrays["body_pose"].shape == (len(ids), 63)
    names = {f"person_{number}" for number in ids}
    assert set(trimesh.load_scene(glb).graph.nodes_geometry) == names
    assert Image.open(strip).height == 768
    whole = {name for name in zipfile.ZipFile(archive).namelist() if name.endswith("_smplx.npz")}
    assert whole == {f"group_{name}_smplx.npz" for name in names}


def test_files_have_the_chosen_options(handlers, photo):
    query = photo_query(photo)
    handlers.show(*ask(photo), "overlay", -1, visitor())
    choice = handlers.choose_files("selected", True, "mixamo", True, ["rigged", "obj"])
    buttons = write(handlers, query, 0, ALL, choice)
    files = zipfile.ZipFile(paths(buttons)[5])
    assert {"group_person_1.obj", "group_person_1_rigged.glb"} <= set(files.namelist())
    assert b"mixamorig:Hips" in files.read("group_person_1_rigged.glb")
    low, _ = trimesh.load_scene(paths(buttons)[2]).geometry["person_1"].bounds
    assert low[1] == pytest.approx(0, abs=1e-5)


def test_download_buttons_are_disabled_while_their_files_are_outdated(handlers, photo):
    query = photo_query(photo)
    handlers.show(*ask(photo), "overlay", -1, visitor())
    selected = FileChoice("selected")
    arguments = [query, 2, ALL, selected, visitor()]
    assert not any(button.interactive for button in handlers.expire_files(*arguments)[1:])
    first = write(handlers, query, 2, ALL, selected)
    assert all(is_skip(button) for button in handlers.expire_files(*arguments))
    assert paths(write(handlers, query, 2, [0, 2], selected)) == paths(first)
    visible = handlers.expire_files(query, 2, [0, 2], VISIBLE, visitor())
    assert not any(button.interactive for button in visible[1:])
    assert json_ids(write(handlers, query, 2, [0, 2])) == [1, 3]


def test_files_that_are_no_longer_wanted_are_not_offered(handlers, context, photo, monkeypatch):
    query = photo_query(photo)
    handlers.show(*ask(photo), "overlay", -1, visitor())
    visit = context.visit(visitor())
    usual = visit.write

    def write_slowly(request):
        files = usual(request)
        handlers.expire_files(query, -1, [0], VISIBLE, visitor())
        return files

    monkeypatch.setattr(visit, "write", write_slowly)
    assert all(is_skip(button) for button in write(handlers, query))


def test_refinement_is_switched_without_the_network(handlers, photo, predictor):
    plain = handlers.show(*ask(photo), "overlay", -1, visitor())[1]
    runs = count_forwards(predictor)
    refined = handlers.show(*ask(photo)[:-1], True, "overlay", -1, visitor())[1]
    assert not runs
    tables = [
        handlers.draw(query, "overlay", -1, ALL, LAYERS, visitor())[-2]
        for query in (plain, refined)
    ]
    assert ["refined" in table for table in tables] == [False, True]


def test_older_pictures_are_deleted(context):
    pictures = [np.full((10, 12, 3), 20 * k, np.uint8) for k in range(8)]
    visit = context.visit(visitor())
    paths = [Path(visit.save("x.jpg", picture)) for picture in pictures]
    assert len(set(paths)) == 8
    assert [path.exists() for path in paths] == [False] * 4 + [True] * 4


def test_attention_follows_the_photo_and_the_person(context, photo):
    handlers = AttentionHandlers(context)
    query = photo_query(photo)
    dropdown = handlers.open_tab(query, 2, visitor())
    assert dropdown.value == 2 and len(dropdown.choices) == 5
    assert handlers.open_tab(query, None, visitor()).value == 0
    selection = (2, "left wrist", 2, -1, -1, False)
    text, *pictures, person, figure, arrays = handlers.draw(query, *selection, visitor())
    assert "Person 3, left wrist" in text and person == 2
    assert all(Path(picture).exists() for picture in pictures)
    assert not figure.interactive and not arrays.interactive
    figure, arrays = handlers.write(query, *selection, visitor())
    assert Image.open(figure.value["path"]).size[0] > 800
    with np.load(arrays.value["path"]) as npz:
        assert npz["person"] == 3


def test_click_in_an_attention_picture_selects_a_person(context, photo):
    handlers = AttentionHandlers(context)
    query = photo_query(photo)
    person, there = click_on_a_person(context, query)
    assert handlers.pick(query, 0, False, there, visitor()) == person
    assert is_skip(handlers.pick(query, 0, True, there, visitor()))
    no_people = photo_query(photo, 1.0)
    assert handlers.pick(no_people, None, False, there, visitor()) is None


def test_attention_without_photo_or_people_is_explained(context, photo):
    handlers = AttentionHandlers(context)
    assert handlers.open_tab(None, None, visitor()).choices == []
    no_people = photo_query(photo, 1.0)
    assert handlers.open_tab(no_people, 0, visitor()).value is None
    selection = ("nose", 0, -1, -1, False)
    assert "Choose a photo" in handlers.draw(None, None, *selection, visitor())[0]
    assert "No people were found" in handlers.draw(no_people, None, *selection, visitor())[0]
    gone = handlers.draw(no_people, 0, *selection, visitor())
    assert "There is no person 1" in gone[0] and gone[1:5] == [None] * 4


def test_stream_shows_frames_until_it_ends(context):
    handler = LiveHandler(context)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    picture, text = handler(frame, 0.0, "fast", True, visitor())
    assert picture.shape == frame.shape and "5 people" in text
    stream = context.visit(visitor()).stream()
    picture, text = handler(frame, 0.0, "fast", True, visitor())
    assert context.visit(visitor()).stream() is stream and "frames per second" in text
    assert handler(None, 0.0, "fast", True, visitor())[0] is None
    assert context.visit(visitor()).stream() is not stream
    with pytest.raises(gr.Error, match="narrow"):
        handler(np.zeros((2, 4000, 3), np.uint8), 0.0, "fast", True, visitor())


def test_stream_uses_a_body_uploaded_meanwhile(context, predictor):
    visit = context.visit(visitor())
    stream = visit.stream()
    assert stream.predictor is predictor
    visit.use_body(predictor.body)
    assert visit.stream().predictor is visit.predictor is not predictor
    assert visit.stream() is visit.stream() is not stream


def test_stream_leaves_no_thread_and_no_file(context, monkeypatch):
    def threads():
        return [t for t in threading.enumerate() if t.name.startswith("aios-live")]

    handler, frame = LiveHandler(context), np.zeros((90, 120, 3), np.uint8)
    before = set(threads())
    for name in ("a", "b", "c"):
        handler(frame, 0.0, "fast", True, visitor(name))
    assert len(set(threads()) - before) == 3
    context.sessions.leave("a")
    handler(None, 0.0, "fast", True, visitor("b"))
    monkeypatch.setattr(live, "IDLE_SECONDS", -1.0)
    context.sessions.sweep()
    for thread in set(threads()) - before:
        thread.join(60)
    assert set(threads()) <= before
    assert not files_under(Path(get_upload_folder()))


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop", b"BM", b"no picture"]
)
def test_camera_frame_that_is_no_picture_is_refused(content, monkeypatch):
    def no_program(*_arguments, **_options):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", no_program)
    with gr.Blocks():
        camera = camera_input()
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    with pytest.raises(gr.Error, match="no usable picture"):
        camera.preprocess(ImageData(url=url))
    assert camera.preprocess(None) is None


def test_live_picture_is_sent_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "none"))
    with gr.Blocks():
        picture = live_picture()
    sent = picture.postprocess(np.full((20, 30, 3), 200, np.uint8))
    assert sent.url.startswith("data:image/jpeg;base64,") and not (tmp_path / "none").exists()
    content = base64.b64decode(sent.url.partition(",")[2])
    assert np.allclose(np.asarray(Image.open(io.BytesIO(content))), 200, atol=3)


def test_requests_without_a_session_get_different_names():
    assert session_name(visitor("a")) == "a"
    assert len({session_name(None), session_name(None), session_name(visitor(None))}) == 3
