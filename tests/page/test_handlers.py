"""What the tabs' events answer, without a browser."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from aios.page.attention_tab import AttentionHandlers
from aios.page.context import PageContext, session_of
from aios.page.photo_handlers import EVERYONE, PhotoHandlers
from aios.page.photo_views import Look, badge_points
from aios.page.sessions import Choice, Sessions
from aios.page.webcam_tab import LiveHandler
from tests.helpers.served import count_forwards, save_photo, tiny_predictor

VIEWS = ["overlay", "compare", "depth", "marks", "plan", "scene", "parameters"]
ALL = list(range(5))
PARTS = ["boxes", "body", "hands", "face"]


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def context(predictor, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return PageContext(predictor, Sessions(predictor), 0.0, gr.State(None), gr.State(None))


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "group.png", 240, 180)


@pytest.fixture
def handlers(context):
    return PhotoHandlers(context, VIEWS, 4)


def visitor(name="a"):
    return SimpleNamespace(session_hash=name)


def is_skip(update):
    return isinstance(update, dict) and update.get("__type__") == "update" and len(update) == 1


def ask(photo, threshold=0.0, size="full", field_of_view=0):
    return [str(photo), threshold, 30, size, field_of_view]


def test_a_photo_is_shown_and_the_view_looked_at_waits_for_its_picture(handlers, photo):
    text, choice, person, shown, *rest = handlers.show(*ask(photo), "depth", -1, visitor())
    assert "5 people" in text and choice == Choice(photo, 0.0, 30, "full", 0)
    assert person.value == EVERYONE[1] and len(person.choices) == 6
    assert shown.value == ALL
    assert [is_skip(view) for view in rest[:7]] == [name == "depth" for name in VIEWS]
    assert [view for view in rest[:7] if not is_skip(view)] == [None] * 6
    assert all(button.interactive is False for button in rest[7:])


def test_somebody_singled_out_stays_while_there_are_enough_people(handlers, photo):
    assert handlers.show(*ask(photo), "overlay", 3, visitor())[2].value == 3
    assert handlers.show(*ask(photo, 1.0), "overlay", 3, visitor())[2].value == EVERYONE[1]


def test_no_photo_and_a_bad_photo_leave_nothing_to_see(handlers, photo, tmp_path):
    bad = tmp_path / "notes.jpg"
    bad.write_bytes(b"no photo")
    for path, words in ((None, "Waiting"), (str(bad), "notes.jpg is not a photo")):
        answer = handlers.show(path, *ask(photo)[1:], "overlay", -1, visitor())
        assert words in answer[0] and answer[1] is None
        assert answer[4:11] == [None] * 7
    assert handlers.draw(None, "overlay", -1, ALL, PARTS, visitor()) == [*[None] * 7, "", None]
    assert all(b.interactive is False for b in handlers.write(None, visitor()))


@pytest.mark.parametrize("view", VIEWS)
def test_one_view_is_drawn_at_a_time(handlers, photo, view):
    choice = Choice(photo, 0.0, 30, "full", 0)
    *views, table, person = handlers.draw(choice, view, 2, ALL, PARTS, visitor())
    assert [is_skip(v) for v in views] == [name != view for name in VIEWS]
    assert person == 2 and table.count("aios-chosen") == 1
    drawn = views[VIEWS.index(view)]
    if view == "parameters":
        assert "Person 3" in drawn
    elif view == "compare":
        assert len({Image.open(path).size for path in drawn}) == 1
    elif view == "scene":
        assert Path(drawn.value["path"]).read_bytes().startswith(b"glTF")
        assert drawn.camera_position[2] > 1
    else:
        assert Path(drawn).name == f"group_{view}.jpg" and Image.open(drawn).size[0] >= 480


def test_drawing_does_not_run_the_network(handlers, photo, predictor):
    handlers.show(*ask(photo), "overlay", -1, visitor())
    runs = count_forwards(predictor)
    for field_of_view in (0, 50):
        for view in VIEWS:
            choice = Choice(photo, 0.0, 30, "full", field_of_view)
            handlers.draw(choice, view, -1, ALL, PARTS, visitor())
    assert not runs


def test_a_click_singles_out_and_a_second_one_lets_go(handlers, context, photo):
    choice = Choice(photo, 0.0, 30, "full", 0)
    result = context.sessions.result("a", choice)
    points = badge_points(result, Look())
    person = int(np.flatnonzero(np.isfinite(points[:, 0]))[0])
    height, width = result.photo.shape[:2]
    event = SimpleNamespace(index=(int(points[person, 0] * width), int(points[person, 1] * height)))
    assert handlers.pick(choice, -1, ALL, PARTS, event, visitor()) == person
    assert handlers.pick(choice, person, ALL, PARTS, event, visitor()) == EVERYONE[1]
    hidden = [index for index in ALL if index != person]
    assert handlers.pick(choice, -1, hidden, PARTS, event, visitor()) != person


def test_files_are_the_visitors_and_go_with_them(handlers, context, photo):
    choice = handlers.show(*ask(photo), "overlay", -1, visitor())[1]
    handlers.draw(choice, "overlay", -1, ALL, PARTS, visitor())
    files = [Path(button.value["path"]) for button in handlers.write(choice, visitor())]
    assert [file.suffix for file in files] == [".json", ".npz", ".glb", ".png"]
    folder = context.folder(visitor())
    assert all(folder in file.parents for file in files)
    assert context.folder(visitor("b")) != folder
    context.sessions.leave("a")
    assert not folder.exists()


def test_older_pictures_make_room(context):
    picture = np.zeros((10, 12, 3), np.uint8)
    paths = [Path(context.save(visitor(), "x.jpg", picture)) for _ in range(8)]
    assert len(set(paths)) == 8
    assert [path.exists() for path in paths] == [False] * 4 + [True] * 4


def test_attention_follows_the_photo_and_the_person(context, photo):
    handlers = AttentionHandlers(context)
    choice = Choice(photo, 0.0, 30, "full", 0)
    entered = handlers.enter(choice, 2, visitor())
    assert entered.value == 2 and len(entered.choices) == 5
    assert handlers.enter(choice, None, visitor()).value == 0
    question = (2, "left wrist", 2, -1, -1, False)
    text, *pictures, person, figure, arrays = handlers.draw(choice, *question, visitor())
    assert "Person 3, left wrist" in text and person == 2
    assert all(Path(picture).exists() for picture in pictures)
    assert not figure.interactive and not arrays.interactive
    figure, arrays = handlers.write(choice, *question, visitor())
    assert Image.open(figure.value["path"]).size[0] > 800
    with np.load(arrays.value["path"]) as npz:
        assert npz["person"] == 3


def test_a_click_in_a_picture_of_attention_chooses_who_is_there(context, photo):
    handlers = AttentionHandlers(context)
    choice = Choice(photo, 0.0, 30, "full", 0)
    result = context.sessions.result("a", choice)
    points = badge_points(result, Look())
    person = int(np.flatnonzero(np.isfinite(points[:, 0]))[-1])
    height, width = result.photo.shape[:2]
    there = SimpleNamespace(index=(int(points[person, 0] * width), int(points[person, 1] * height)))
    assert handlers.pick(choice, 0, False, there, visitor()) == person
    assert is_skip(handlers.pick(choice, 0, True, there, visitor()))
    nobody = Choice(photo, 1.0, 30, "full", 0)
    assert handlers.pick(nobody, None, False, there, visitor()) is None


def test_attention_without_photo_or_people_says_so(context, photo):
    handlers = AttentionHandlers(context)
    assert handlers.enter(None, None, visitor()).choices == []
    nobody = Choice(photo, 1.0, 30, "full", 0)
    assert handlers.enter(nobody, 0, visitor()).value is None
    question = ("nose", 0, -1, -1, False)
    assert "Choose a photo" in handlers.draw(None, None, *question, visitor())[0]
    assert "Nobody was found" in handlers.draw(nobody, None, *question, visitor())[0]
    gone = handlers.draw(nobody, 0, *question, visitor())
    assert "best scores" in gone[0] and gone[1:5] == [None] * 4


def test_live_frames_and_the_end_of_them(context):
    handler = LiveHandler(context)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    picture, text, stream = handler(frame, None, 0.0, "fast", True, visitor())
    assert picture.shape == frame.shape and "5 people" in text
    picture, text, again = handler(frame, stream, 0.0, "fast", True, visitor())
    assert again is stream and "frames a second" in text
    assert handler(None, stream, 0.0, "fast", True, visitor())[0] is None
    with pytest.raises(gr.Error, match="narrow"):
        handler(np.zeros((2, 4000, 3), np.uint8), None, 0.0, "fast", True, visitor())


def test_a_visitor_without_a_name_shares_with_nobody():
    assert session_of(visitor("a")) == "a"
    assert len({session_of(None), session_of(None), session_of(visitor(None))}) == 3
