"""Boxes for two-stage methods: COCO's form, and the noise experiment."""

import json

import numpy as np
import pytest

from aios.geometry.camera import Camera
from tests.helpers.people_makers import make_person, together
from training.evaluation.answers import Answer, AnswerError, read_answers, write_answers
from training.evaluation.boxes import shifted, write_boxes

TRUE = np.array([[70.0, 40, 130, 160], [200, 40, 260, 160]])


def answer(name="a.png", people=None, true=TRUE) -> Answer:
    if people is None:
        people = together(make_person((100, 100), 60), make_person((400, 100), 60, score=0.4))
    return Answer(
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


def test_every_box_moves_by_a_tenth_of_its_size():
    boxes = np.tile(TRUE, (50, 1))
    moved = shifted(boxes, 0.1, 3) - boxes
    assert set(np.abs(moved[:, [0, 2]]).round(9).ravel()) == {6.0}
    assert set(np.abs(moved[:, [1, 3]]).round(9).ravel()) == {12.0}
    np.testing.assert_array_equal(moved[:, :2], moved[:, 2:])
    assert 30 < (moved[:, 0] > 0).sum() < 70
    np.testing.assert_array_equal(shifted(boxes, 0.1, 3), shifted(boxes, 0.1, 3))
    assert (shifted(boxes, 0.1, 3) != shifted(boxes, 0.1, 4)).any()


def test_files_are_as_coco_has_them(tmp_path):
    figures = write_boxes(tmp_path, [answer(), answer("b/c.png", true=TRUE[:0])], 0.5)
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
    assert [box["image_id"] for box in content["aios"]] == [1, 2]  # the score 0.4 does not count
    ours, noise = figures.values()
    assert ours == {"boxes": 2, "mean_iou": pytest.approx(1), "recall": 0.5, "precision": 0.5}
    kept = 0.9 * 0.9
    assert noise["mean_iou"] == pytest.approx(kept / (2 - kept)) and noise["recall"] == 1


def test_an_answer_comes_back_bit_by_bit():
    random = np.random.default_rng(0)
    people = make_person(betas=random.normal(size=10), transl=random.normal(size=3))
    again = Answer.from_line(answer(people=people).to_line())
    np.testing.assert_array_equal(again.people.betas, people.betas)
    assert again.people.betas.dtype == np.float32
    assert again.to_line() == answer(people=people).to_line()
    nobody = Answer.from_line(answer(people=together()).to_line())
    assert len(nobody.people) == 0 and nobody.keypoints_right.shape == (0, 2)


def test_answers_of_another_version_ask_to_measure_again(tmp_path):
    file = tmp_path / "answers_0.jsonl"
    write_answers(file, [answer("a"), answer("b")])
    first, second = read_answers([file], ["b", "a"])
    assert (first.name, second.name) == ("b", "a")
    np.testing.assert_array_equal(second.true_depths_m, np.full(len(TRUE), np.nan))
    known = json.loads(file.read_text().splitlines()[0])
    del known["depths_m"]
    file.write_text(json.dumps(known) + "\n")
    with pytest.raises(AnswerError, match="another version.*--fresh"):
        next(read_answers([file], ["a"]))
    file.write_text("no answer\n")
    with pytest.raises(AnswerError, match="damaged.*--fresh"):
        next(read_answers([file], ["a"]))
