"""Scenes of the 3D viewer."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aios.export.placement import AT_CAMERA, SceneBounds
from aios.geometry.floor import Floor
from aios.page.photo_views import ViewOptions
from aios.page.results import PhotoResult
from aios.page.scene_view import photo_scene_html, video_scene_html
from aios.pipelines.video import VideoResult
from aios.prediction import Candidates
from tests.helpers.predictions import CAMERA, synthetic_prediction


def scene(text):
    return json.loads(html.unescape(re.search('data-scene="([^"]*)"', text)[1]))


def photo_scene(count, options):
    prediction = synthetic_prediction(count, CAMERA)
    candidates = Candidates(prediction.people, prediction.camera)
    photo = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    result = PhotoResult(prediction, candidates, photo)
    paths = "/tmp/a b/m.glb", "/tmp/a b/p.jpg"
    return scene(photo_scene_html(result, options, *paths, "key")), prediction


def test_photo_scene_holds_the_visible_people_and_their_parts():
    found, prediction = photo_scene(3, ViewOptions(hidden=frozenset({1})))
    assert [person["node"] for person in found["people"]] == ["person_1", "person_3"]
    assert found["meshes"] == "gradio_api/file=/tmp/a%20b/m.glb"
    points = prediction.vertices[[0, 2]] * (1, -1, -1)
    np.testing.assert_allclose(found["box"], [points.min((0, 1)), points.max((0, 1))], rtol=1e-5)
    [head] = found["people"][1]["parts"]["head"]
    np.testing.assert_allclose(head, prediction.joints_3d[2, 15] * (1, -1, -1), rtol=1e-5)
    assert found["camera"]["position"] == [0, 0, 0]
    assert found["camera"]["rotation"] == [0, 0, 0, 1]
    assert found["camera"]["focal"] == pytest.approx(CAMERA.focal_length)


def test_photo_scene_without_people_has_a_box():
    found, _ = photo_scene(0, ViewOptions())
    low, high = found["box"]
    assert not found["people"] and (np.array(low) < high).all()


def test_video_scene_has_one_file_per_track():
    track = {"number": 1, "glb": "c_track_1.glb", "first_second": 0.1, "last_second": 0.9}
    summary = {"tracks": [track], "seconds": 1.0}
    bounds = SceneBounds(Floor(np.array([0.0, -0.8, -0.6]), 2.0))
    bounds.add(np.array([[[0, 0, 5], [1, 0, 5]]], np.float32))
    placement = bounds.grounded()
    files = Path("/r/c_overlay.mp4"), Path("/r/c.npz"), Path("/r/c.json")
    result = VideoResult(*files, [], summary, CAMERA, bounds, placement)
    found = scene(video_scene_html(result))
    assert found["video"] == "gradio_api/file=/r/c_overlay.mp4"
    assert found["people"][0]["url"] == "gradio_api/file=/r/c_track_1.glb"
    np.testing.assert_allclose(found["box"], [[-0.5, -1, 0], [0.5, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(found["camera"]["position"], [-0.5, 2, 4])
    rotation = Rotation.from_quat(found["camera"]["rotation"])
    np.testing.assert_allclose(rotation.apply([0, 0, -1]), [0, -0.6, -0.8], atol=1e-12)
    empty = VideoResult(*files, [], {"tracks": []}, CAMERA, SceneBounds(), AT_CAMERA)
    assert video_scene_html(empty) == ""
