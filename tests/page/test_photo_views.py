"""Every view of a photo: the right people, in their colours, where they are."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from aios.page.parameters_view import parameter_rows, parameters_html
from aios.page.photo_views import (
    Look,
    badge_points,
    depth_view,
    marks_view,
    overlay_view,
    person_at,
    person_map,
    plan_view,
    scene_view,
)
from aios.page.sessions import Choice, Sessions
from aios.render.colors import person_colors
from aios.render.scene import srgb_to_linear
from tests.helpers.served import save_photo, tiny_predictor

VIEWS = (overlay_view, depth_view, marks_view, plan_view)


@pytest.fixture(scope="module")
def sessions():
    return Sessions(tiny_predictor())


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photo") / "photo.png", 240, 180)


@pytest.fixture(scope="module")
def result(sessions, photo):
    return sessions.result("a", Choice(photo, 0.0, 30, "full"))


@pytest.fixture(scope="module")
def nobody(sessions, photo):
    return sessions.result("a", Choice(photo, 1.0, 30, "full"))


def seen_somewhere(result):
    """Somebody whom a click can hit."""
    count = len(result.prediction)
    return next(i for i in range(count) if (person_map(result, range(count)) == i).any())


@pytest.mark.parametrize("view", VIEWS)
def test_hiding_and_singling_out_change_the_picture(view, result):
    everyone = view(result, Look())
    assert everyone.dtype == np.uint8 and everyone.ndim == 3
    index = seen_somewhere(result)
    without = view(result, Look(hidden=frozenset({index})))
    alone = view(result, Look(person=index))
    assert without.shape[1] == everyone.shape[1]
    assert without.shape != everyone.shape or (without != everyone).any()
    assert (alone != everyone).any()
    whole = view(result, Look(hidden=frozenset(range(5))))
    assert whole.shape[1] == everyone.shape[1]


@pytest.mark.parametrize("view", VIEWS)
def test_nobody_is_a_picture_too(view, nobody):
    assert view(nobody, Look()).shape[1] > 100


def test_nobody_is_the_photo_itself(nobody):
    np.testing.assert_array_equal(overlay_view(nobody, Look()), nobody.photo)


def test_each_part_of_the_marks_can_be_left_out(result):
    whole = marks_view(result, Look())
    for part in ("boxes", "body", "hands", "face"):
        only = marks_view(result, Look(parts=(part,)))
        rest = marks_view(result, Look(parts=tuple({"boxes", "body", "hands", "face"} - {part})))
        assert (only != whole).any() and (rest != whole).any() and (only != rest).any()
    bare = marks_view(result, Look(parts=()))
    assert (bare != whole).any()


def test_colours_are_of_the_person_not_of_the_place_in_the_list(result):
    look = Look(hidden=frozenset({0, 1}))
    np.testing.assert_array_equal(look.colors(5)[look.shown(5)], person_colors(5)[2:])
    assert (Look(person=3).colors(5)[[0, 1, 2, 4]] == Look(person=3).colors(5)[0]).all()


def test_a_click_finds_who_is_seen_there(result):
    shown = list(range(5))
    person = person_map(result, shown)
    for index in {int(p) for p in np.unique(person)} - {-1}:
        rows, columns = np.nonzero(person == index)
        x, y = (columns[0] + 0.5) / person.shape[1], (rows[0] + 0.5) / person.shape[0]
        assert person_at(result, Look(), x, y) == index
        assert person_at(result, Look(hidden=frozenset({index})), x, y) != index
    point = badge_points(result, Look())[seen_somewhere(result)]
    assert person_at(result, Look(), *point) == seen_somewhere(result)


def test_a_click_beside_everybody_finds_nobody(result, nobody):
    assert person_at(nobody, Look(), 0.5, 0.5) is None
    assert person_at(result, Look(), -3.0, 0.5) is None
    assert person_at(result, Look(hidden=frozenset(range(5))), 0.5, 0.5) is None


def test_the_scene_has_one_named_coloured_node_a_person(result):
    scene = trimesh.load(io.BytesIO(scene_view(result, Look())), file_type="glb")
    names = {f"person_{index}" for index in range(1, 6)}
    assert set(scene.graph.nodes_geometry) == names
    for index, color in enumerate(srgb_to_linear(person_colors(5) / 255)):
        found = scene.geometry[f"person_{index + 1}"].visual.material.baseColorFactor
        np.testing.assert_allclose(np.array(found[:3]) / 255, color, atol=0.01)


def test_the_scene_follows_the_look(result):
    look = Look(hidden=frozenset({1}), person=2)
    content = scene_view(result, look)
    scene = trimesh.load(io.BytesIO(content), file_type="glb")
    assert set(scene.graph.nodes_geometry) == {f"person_{k}" for k in (1, 3, 4, 5)}
    colors = {k: tuple(m.visual.material.baseColorFactor) for k, m in scene.geometry.items()}
    assert colors["person_1"] == colors["person_4"] != colors["person_3"]
    assert struct.unpack_from("<I", content, 8)[0] == len(content)


def test_an_empty_scene_is_still_gltf(result, nobody):
    for content in (
        scene_view(nobody, Look()),
        scene_view(result, Look(hidden=frozenset(range(5)))),
    ):
        length = struct.unpack_from("<I", content, 12)[0]
        document = json.loads(content[20 : 20 + length])
        assert document["asset"]["version"] == "2.0"
        assert all(scene.get("nodes") != [] for scene in document["scenes"])


def test_parameters_are_all_there(result):
    rows = parameter_rows(result.prediction, 1)
    count = sum(len(values) for _, _, values in rows)
    # Pelvis, transl, camera; shape and expression; body, jaw, hands.
    assert count == 3 + 3 + 3 + 10 + 10 + 3 + 63 + 3 + 45 + 45
    by_name = {(group, name): values for group, name, values in rows}
    pose = np.degrees(result.prediction.people.body_pose[1].reshape(-1, 3))
    np.testing.assert_allclose(by_name["Body (degrees)", "left_knee"], pose[3])
    hand = np.degrees(result.prediction.people.right_hand_pose[1].reshape(-1, 3))
    np.testing.assert_allclose(by_name["Right hand (degrees)", "right_thumb3"], hand[14])
    html = parameters_html(result.prediction, 1)
    assert "SMPL-X parameters of Person 2" in html and html.count("<tr>") == len(rows) + 7
