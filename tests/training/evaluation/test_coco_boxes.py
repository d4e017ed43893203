"""COCO files of boxes for two-stage methods, and prediction records."""

import json

import numpy as np
import pytest

from aios.geometry.camera import Camera
from tests.helpers.people_makers import make_person, together
from training.evaluation.coco_boxes import shift_boxes, write_coco_boxes
from training.evaluation.prediction_records import (
    PredictionRecord,
    PredictionRecordError,
    append_prediction_records,
    read_prediction_records,
)

TRUE = np.array([[70.0, 40, 130, 160], [200, 40, 260, 160]])


def prediction_record(name="a.png", people=None, true=TRUE) -> PredictionRecord:
    if people is None:
        people = together(make_person((100, 100), 60), make_person((400, 100), 60, score=0.4))
    return PredictionRecord(
        name=name,
        group="",
        people=people,
        camera=Camera(500.0, (320.0, 180.0), 640, 360),
        joints_2d=np.zeros((len(people), 24, 2), np.float32),
        keypoints_right=np.zeros((len(people), len(true)), np.int64),
        keypoints_shown=np.zeros(len(true), np.int64),
        true_boxes_xyxy=true,
        depths_m=np.zeros(len(people)),
        true_depths_m=np.full(len(true), np.nan),
    )


def test_boxes_shift_by_a_share_of_their_size():
    boxes = np.tile(TRUE, (50, 1))
    moved = shift_boxes(boxes, 0.1, 3) - boxes
    assert set(np.abs(moved[:, [0, 2]]).round(9).ravel()) == {6.0}
    assert set(np.abs(moved[:, [1, 3]]).round(9).ravel()) == {12.0}
    np.testing.assert_array_equal(moved[:, :2], moved[:, 2:])
    assert 30 < (moved[:, 0] > 0).sum() < 70
    np.testing.assert_array_equal(shift_boxes(boxes, 0.1, 3), shift_boxes(boxes, 0.1, 3))
    assert (shift_boxes(boxes, 0.1, 3) != shift_boxes(boxes, 0.1, 4)).any()


def test_files_have_the_coco_format(tmp_path):
    metrics = write_coco_boxes(
        tmp_path, [prediction_record(), prediction_record("b/c.png", true=TRUE[:0])], 0.5
    )
    content = {file.stem: json.loads(file.read_text()) for file in tmp_path.iterdir()}
    assert set(content) == {"pictures", "aios", "annotated", "shifted"}
    assert [image["file_name"] for image in content["pictures"]["images"]] == ["a.png", "b/c.png"]
    assert len(content["pictures"]["annotations"]) == len(content["annotated"]) == 2
    assert content["pictures"]["annotations"][0] == {
        **{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0},
        **{"bbox": [70.0, 40.0, 60.0, 120.0], "area": 7200.0},
    }
    first = content["aios"][0]
    assert first["bbox"] == [70.0, 40.0, 60.0, 120.0] and first["score"] == pytest.approx(0.9)
    assert [box["image_id"] for box in content["aios"]] == [
        1,
        2,
    ]  # the box with score 0.4 is left out
    ours, noise = metrics.values()
    assert ours == {"boxes": 2, "mean_iou": pytest.approx(1), "recall": 0.5, "precision": 0.5}
    kept = 0.9 * 0.9
    assert noise["mean_iou"] == pytest.approx(kept / (2 - kept)) and noise["recall"] == 1


def test_prediction_record_round_trips_exactly():
    random = np.random.default_rng(0)
    people = make_person(betas=random.normal(size=10), transl=random.normal(size=3))
    again = PredictionRecord.from_line(prediction_record(people=people).to_line())
    np.testing.assert_array_equal(again.people.betas, people.betas)
    assert again.people.betas.dtype == np.float32
    assert again.to_line() == prediction_record(people=people).to_line()
    empty = PredictionRecord.from_line(prediction_record(people=together()).to_line())
    assert len(empty.people) == 0 and empty.keypoints_right.shape == (0, 2)


def test_damaged_and_outdated_records_are_refused(tmp_path):
    file = tmp_path / "answers_0.jsonl"
    append_prediction_records(file, [prediction_record("a"), prediction_record("b")])
    first, second = read_prediction_records([file], ["b", "a"])
    assert (first.name, second.name) == ("b", "a")
    np.testing.assert_array_equal(second.true_depths_m, np.full(len(TRUE), np.nan))
    known = json.loads(file.read_text().splitlines()[0])
    del known["depths_m"]
    file.write_text(json.dumps(known) + "\n")
    with pytest.raises(PredictionRecordError, match="another version.*--fresh"):
        next(read_prediction_records([file], ["a"]))
    file.write_text("no JSON\n")
    with pytest.raises(PredictionRecordError, match="damaged.*--fresh"):
        next(read_prediction_records([file], ["a"]))
