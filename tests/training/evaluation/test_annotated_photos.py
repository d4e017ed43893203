"""The benchmark of annotated photos: rules of matching, keypoints, mesh points and close-ups."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.people import People
from aios.predictor import AiOSPredictor
from tests.helpers.evaluation_files import PerfectPredictor, as_people, some_people
from training.evaluate import main
from training.evaluation.annotated_photos import (
    CLOSE_UP_SHARES,
    PhotoAnnotation,
    PhotoCounts,
    close_up_windows,
    evaluate_photos,
    read_photo_annotations,
)

pytestmark = pytest.mark.usefixtures("one_thread")
THRESHOLD = 0.3


class PhotoPredictor(PerfectPredictor):
    """Returns the annotated people of known photos and one box as large as the image for crops."""

    def predict(self, photo, threshold=None, max_people=30):
        height, width = photo.shape[:2]
        try:
            return super().predict(photo, threshold, max_people)
        except KeyError:
            person = as_people(self.samples[0].targets.select([0]), (width, height))
            person = replace(person, boxes_xyxy_px=np.array([[0, 0, width, height]], np.float32))
            camera = Camera(500.0, (width / 2, height / 2), width, height)
            return self.assemble(replace(self.candidates, people=person, camera=camera), threshold)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def samples(body):
    return some_people(body, 0)


@pytest.fixture
def make_predictor(tmp_path, body, samples):
    def make(change=None):
        weights = tmp_path / "weights.bin"
        weights.write_bytes(b"weights")
        predictor = PhotoPredictor(body, weights, change)
        predictor.learn(samples)
        predictor.samples = samples
        predictor.candidates = next(iter(predictor._known.values()))
        return predictor

    return make


@pytest.fixture
def truth(tmp_path, samples):
    """The annotation file of the samples, beside their photos."""
    content = {}
    for number, sample in enumerate(samples):
        name = f"photo_{number}.png"
        cv2.imwrite(str(tmp_path / name), cv2.cvtColor(sample.picture, cv2.COLOR_RGB2BGR))
        height, width = sample.picture.shape[:2]
        people = as_people(sample.targets, (width, height))
        listed = [
            {
                "box_xyxy_px": people.boxes_xyxy_px[index].tolist(),
                "keypoints_2d_px": [[*xy, 1] for xy in people.keypoints_2d_px[index].tolist()],
                "ignore": False,
            }
            for index in range(len(people))
        ]
        content[name] = {"width": width, "height": height, "people": listed}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    return path


def metrics_of(truth, predictor, *thresholds):
    return evaluate_photos(read_photo_annotations(truth), truth.parent, predictor, thresholds)


def test_annotated_people_as_predictions_score_one(truth, make_predictor):
    (metrics,) = metrics_of(truth, make_predictor())
    assert metrics["people"] == 6 and metrics["threshold"] == THRESHOLD
    names = ("f1", "precision", "recall", "pck", "mesh_pck")
    assert [metrics[name] for name in names] == [1.0] * 5


def test_keypoints_and_mesh_points_are_scored_separately(truth, make_predictor):
    def move_keypoints(people: People) -> People:
        return replace(people, keypoints_2d_px=people.keypoints_2d_px + 1000)

    (metrics,) = metrics_of(truth, make_predictor(move_keypoints))
    assert metrics["pck"] == 0 and metrics["mesh_pck"] == 1

    def move_bodies(people: People) -> People:
        return replace(people, transl=people.transl + np.float32([5, 0, 0]))

    (metrics,) = metrics_of(truth, make_predictor(move_bodies))
    assert metrics["pck"] == 1 and metrics["mesh_pck"] == 0


def test_keypoints_of_missed_people_are_wrong(truth, make_predictor):
    """At 0.9 only the first person of each photo is kept: 3 of 6."""
    one, all_of_them = metrics_of(truth, make_predictor(), 0.9, 0.3)
    assert (one["recall"], one["precision"]) == (0.5, 1)
    assert one["pck"] == one["mesh_pck"] == 0.5
    assert all_of_them["recall"] == 1


def test_hidden_keypoints_are_not_scored(truth, make_predictor):
    content = json.loads(truth.read_text())
    for record in content.values():
        for person in record["people"]:
            person["keypoints_2d_px"] = [[0, 0, 0]] * 16 + person["keypoints_2d_px"][16:]
    truth.write_text(json.dumps(content))
    (metrics,) = metrics_of(truth, make_predictor())
    assert metrics["pck"] == 1


def prediction_of(predictor, boxes):
    """A prediction with these boxes, best score first."""
    candidates = predictor.candidates
    people = candidates.people.select([0] * len(boxes))
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    people = replace(people, boxes_xyxy_px=np.float32(boxes).reshape(-1, 4), scores=scores)
    return predictor.assemble(replace(candidates, people=people), 0.0)


def annotation_of(boxes, ignore, keypoints=None) -> PhotoAnnotation:
    count = len(boxes)
    keypoints = np.zeros((count, 17, 2)) if keypoints is None else keypoints
    return PhotoAnnotation(
        name="photo.png",
        size_wh=(640, 480),
        boxes_xyxy=np.array(boxes, float).reshape(count, 4),
        keypoints_2d=keypoints,
        visible=np.ones((count, 17), bool),
        ignore=np.array(ignore, bool),
    )


def test_a_prediction_on_an_ignored_person_is_neither_right_nor_wrong(make_predictor):
    person, ignored, elsewhere = [0, 0, 100, 200], [200, 0, 300, 200], [400, 0, 500, 200]
    annotation = annotation_of([person, ignored], [False, True])
    counts = PhotoCounts(0.3)
    counts.add(annotation, prediction_of(make_predictor(), [person, ignored, elsewhere]))
    assert (counts.found, counts.missed, counts.false_positives) == (1, 0, 1)


def test_two_predictions_on_one_person_count_once(make_predictor):
    person = [0, 0, 100, 200]
    counts = PhotoCounts(0.3)
    counts.add(annotation_of([person], [False]), prediction_of(make_predictor(), [person, person]))
    assert (counts.found, counts.missed, counts.false_positives) == (1, 0, 1)


def test_photos_without_people_or_predictions_are_counted(make_predictor):
    counts, box = PhotoCounts(0.3), [0, 0, 100, 200]
    predictor = make_predictor()
    counts.add(annotation_of([], []), prediction_of(predictor, [box]))
    counts.add(annotation_of([box], [False]), prediction_of(predictor, []))
    assert (counts.found, counts.missed, counts.false_positives) == (0, 1, 1)
    assert counts.metrics()["pck"] == 0 and counts.keypoints == 17


def upright_keypoints(x, y, shoulders):
    """Head 30 pixels above the shoulders, everything else far below."""
    points = np.full((17, 2), (x, y + 300.0))
    points[:5] = x, y
    points[5], points[6] = (x + shoulders / 2, y + 30), (x - shoulders / 2, y + 30)
    return points


def test_close_ups_hold_head_and_shoulders_and_stay_in_the_photo():
    keypoints = np.stack([upright_keypoints(320, 200, 60), upright_keypoints(20, 10, 60)])
    boxes = [[250, 150, 400, 480], [0, 0, 100, 400]]
    windows = list(close_up_windows(annotation_of(boxes, [False, False], keypoints)))
    assert [person for person, _ in windows] == [0] * len(CLOSE_UP_SHARES) + [1] * len(
        CLOSE_UP_SHARES
    )
    for (person, (x1, y1, x2, y2)), share in zip(windows, CLOSE_UP_SHARES * 2, strict=True):
        assert 0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480
        assert x2 - x1 == y2 - y1 == round(60 / share)
        assert x1 <= keypoints[person, 0, 0] <= x2 and y1 <= keypoints[person, 0, 1] <= y2


def test_people_without_visible_shoulders_or_size_have_no_close_up():
    box = [0, 0, 100, 400]
    large = annotation_of([box], [False], upright_keypoints(320, 200, 60)[None])
    hidden = large.visible.copy()
    hidden[0, 6] = False
    small = annotation_of([box], [False], upright_keypoints(320, 200, 60)[None] / 20)
    for annotation in (replace(large, visible=hidden), small, replace(large, ignore=~large.ignore)):
        assert list(close_up_windows(annotation)) == []


def test_close_ups_are_found_by_box_overlap(make_predictor):
    prediction = prediction_of(make_predictor(), [[0, 0, 100, 60], [0, 0, 100, 100]])
    counts = PhotoCounts(0.3)
    counts.add_close_up(np.array([0.0, 0, 100, 100]), prediction)
    counts.add_close_up(np.array([0.0, 0, 20, 20]), prediction)
    assert (counts.crops, counts.crops_found) == (2, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[]", "should be a dictionary"),
        ('{"a.png": {"width": 3, "height": 2}}', "annotation of a.png"),
        ('{"a.png": {"width": 3, "height": 2, "people": [{"ignore": false}]}}', "keypoints_2d_px"),
    ],
)
def test_malformed_annotations_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "truth.json"
    path.write_text(content)
    assert main(["photos", "--truth", str(path)]) == 1
    assert message in capsys.readouterr().err


def test_command_prints_a_table_and_writes_json(
    truth, tmp_path, monkeypatch, capsys, make_predictor
):
    predictor = make_predictor()
    monkeypatch.setattr(AiOSPredictor, "from_pretrained", lambda *_: predictor)
    out = tmp_path / "figures.json"
    command = ["photos", "--truth", str(truth), "--json", str(out), "--threshold", "0.3"]
    assert main([*command, "--threshold", "0.9", "--limit", "1"]) == 0
    rows = json.loads(out.read_text())
    assert [row["threshold"] for row in rows] == [0.3, 0.9]
    assert [row["f1"] for row in rows] == [1.0, pytest.approx(2 / 3)]
    printed = capsys.readouterr().out
    assert "mesh PCK@0.1" in printed and "0.67" in printed


def test_missing_annotation_is_one_sentence(tmp_path, capsys):
    assert main(["photos"]) == 1
    assert "--truth" in capsys.readouterr().err
    assert main(["photos", "--truth", str(tmp_path / "none.json")]) == 1
    assert "none.json cannot be read" in capsys.readouterr().err


def test_photo_of_another_size_is_refused(truth, make_predictor, capsys, monkeypatch):
    content = json.loads(truth.read_text())
    content["photo_0.png"]["width"] += 1
    truth.write_text(json.dumps(content))
    predictor = make_predictor()
    monkeypatch.setattr(AiOSPredictor, "from_pretrained", lambda *_: predictor)
    assert main(["photos", "--truth", str(truth)]) == 1
    assert "annotated as" in capsys.readouterr().err
