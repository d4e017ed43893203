"""Views of a photo: visible people, their colours and positions."""

import io
import struct

import numpy as np
import pytest
import trimesh

from aios.page.parameters_view import parameter_rows, parameters_html
from aios.page.photo_views import (
    ViewOptions,
    depth_view,
    keypoints_view,
    overlay_view,
    person_at,
    person_map,
    plan_view,
    scene_view,
)
from aios.page.results import PhotoQuery
from aios.page.sessions import Sessions
from aios.render.colors import person_colors
from aios.render.scene import srgb_to_linear
from tests.helpers.served import save_photo, tiny_predictor

VIEWS = (overlay_view, depth_view, keypoints_view, plan_view)


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    return Sessions(tiny_predictor(), tmp_path_factory.mktemp("uploads")).visit("a")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photo") / "photo.png", 240, 180)


@pytest.fixture(scope="module")
def result(visit, photo):
    return visit.result(PhotoQuery(photo, 0.0, 30, "full"))


@pytest.fixture(scope="module")
def empty(visit, photo):
    return visit.result(PhotoQuery(photo, 1.0, 30, "full"))


def visible_person(result):
    """Index of a person who is not fully covered by others."""
    count = len(result.prediction)
    return next(i for i in range(count) if (person_map(result, range(count)) == i).any())


@pytest.mark.parametrize("view", VIEWS)
def test_hiding_and_selecting_change_the_picture(view, result):
    everyone = view(result, ViewOptions())
    assert everyone.dtype == np.uint8 and everyone.ndim == 3
    index = visible_person(result)
    without = view(result, ViewOptions(hidden=frozenset({index})))
    alone = view(result, ViewOptions(person=index))
    assert without.shape[1] == everyone.shape[1]
    assert without.shape != everyone.shape or (without != everyone).any()
    assert (alone != everyone).any()
    whole = view(result, ViewOptions(hidden=frozenset(range(5))))
    assert whole.shape[1] == everyone.shape[1]


@pytest.mark.parametrize("view", VIEWS)
def test_views_without_people_are_drawn(view, empty):
    assert view(empty, ViewOptions()).shape[1] > 100


def test_overlay_without_people_is_the_photo(empty):
    np.testing.assert_array_equal(overlay_view(empty, ViewOptions()), empty.photo)


def test_each_keypoint_layer_can_be_hidden(result):
    whole = keypoints_view(result, ViewOptions())
    for part in ("boxes", "body", "hands", "face"):
        only = keypoints_view(result, ViewOptions(layers=(part,)))
        rest = keypoints_view(
            result, ViewOptions(layers=tuple({"boxes", "body", "hands", "face"} - {part}))
        )
        assert (only != whole).any() and (rest != whole).any() and (only != rest).any()
    bare = keypoints_view(result, ViewOptions(layers=()))
    assert (bare != whole).any()


def test_colour_belongs_to_the_person_when_others_are_hidden(result):
    options = ViewOptions(hidden=frozenset({0, 1}))
    np.testing.assert_array_equal(options.colors(5)[options.shown(5)], person_colors(5)[2:])
    assert (
        ViewOptions(person=3).colors(5)[[0, 1, 2, 4]] == ViewOptions(person=3).colors(5)[0]
    ).all()


def test_click_finds_the_visible_person(result):
    shown = list(range(5))
    person = person_map(result, shown)
    for index in {int(p) for p in np.unique(person)} - {-1}:
        rows, columns = np.nonzero(person == index)
        x, y = (columns[0] + 0.5) / person.shape[1], (rows[0] + 0.5) / person.shape[0]
        assert person_at(result, ViewOptions(), x, y) == index
        assert person_at(result, ViewOptions(hidden=frozenset({index})), x, y) != index


def test_click_beside_people_finds_none(result, empty):
    assert person_at(empty, ViewOptions(), 0.5, 0.5) is None
    assert person_at(result, ViewOptions(), -3.0, 0.5) is None
    assert person_at(result, ViewOptions(hidden=frozenset(range(5))), 0.5, 0.5) is None


def test_scene_has_one_named_coloured_node_per_person(result):
    scene = trimesh.load(io.BytesIO(scene_view(result, ViewOptions())), file_type="glb")
    names = {f"person_{index}" for index in range(1, 6)}
    assert set(scene.graph.nodes_geometry) == names
    for index, color in enumerate(srgb_to_linear(person_colors(5) / 255)):
        found = scene.geometry[f"person_{index + 1}"].visual.material.baseColorFactor
        np.testing.assert_allclose(np.array(found[:3]) / 255, color, atol=0.01)


def test_scene_follows_the_display_options(result):
    options = ViewOptions(hidden=frozenset({1}), person=2)
    content = scene_view(result, options)
    scene = trimesh.load(io.BytesIO(content), file_type="glb")
    assert set(scene.graph.nodes_geometry) == {f"person_{k}" for k in (1, 3, 4, 5)}
    colors = {k: tuple(m.visual.material.baseColorFactor) for k, m in scene.geometry.items()}
    assert colors["person_1"] == colors["person_4"] != colors["person_3"]
    assert struct.unpack_from("<I", content, 8)[0] == len(content)


def test_scene_without_visible_people_is_valid_gltf(result, empty):
    for content in (
        scene_view(empty, ViewOptions()),
        scene_view(result, ViewOptions(hidden=frozenset(range(5)))),
    ):
        assert not trimesh.load(io.BytesIO(content), file_type="glb").geometry


def test_table_contains_all_parameters(result):
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
