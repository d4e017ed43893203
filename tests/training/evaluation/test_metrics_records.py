"""Records of images: merging, resuming and thresholds never change the metrics."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.metric_people import as_prediction, make_truth, small_parts
from training.evaluation.metrics import (
    AGORA,
    AGORA_SMPL,
    VERTICES,
    PeopleError,
    PredictedPeople,
    RecordLog,
    Records,
    RecordsError,
    TruePeople,
    measure_image,
    outcome,
    summarise,
    sweep,
)

PARTS = small_parts()


def noisy(truth, seed):
    """All people with noise, and two false positives, with random scores."""
    random = np.random.default_rng(seed)
    people = as_prediction(truth, random.random(len(truth)).round(1))
    people = people.select(np.r_[np.arange(len(truth)), random.integers(0, len(truth), 2)])
    size = len(people)
    return PredictedPeople(
        scores=np.r_[people.scores[:-2], random.random(2).round(1)],
        joints_2d=people.joints_2d + random.normal(size=(size, 1, 2)) * 60,
        joints_3d=people.joints_3d + random.normal(size=people.joints_3d.shape) * 0.03,
        vertices=people.vertices + random.normal(size=people.vertices.shape) * 0.03,
    )


def make_records(protocol=AGORA, count=12):
    """Records of images with several people, some of them kids or occluded."""
    made = []
    for index in range(count):
        random = np.random.default_rng(100 + index)
        people = 1 + index % 5
        truth = make_truth(
            people,
            seed=index,
            occlusion=random.uniform(0, 110, people).clip(0, 100),
            kid=random.random(people) < 0.3,
        )
        made.append(measure_image(f"p{index}", noisy(truth, index), truth, protocol, PARTS))
    return made


@pytest.mark.parametrize("protocol", [AGORA, AGORA_SMPL, VERTICES])
def test_metrics_depend_only_on_the_set_of_images(tmp_path, protocol):
    """Another order, two processes or a file give exactly the same metrics."""
    made = make_records(protocol)
    wanted = summarise(Records(protocol, made), 0.3)
    assert summarise(Records(protocol, made[::-1]), 0.3) == wanted
    paths = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    for rank, path in enumerate(paths):
        # Both have the last image, like padded distributed samplers.
        Records(protocol, [*made[rank::2], made[-1]]).save(path)
    assert summarise(Records.load(*paths), 0.3) == wanted
    assert summarise(Records.load(*paths[::-1]), 0.3) == wanted


def test_metrics_average_over_people_not_images():
    crowd, alone = make_truth(3, seed=1), make_truth(1, seed=2)
    vertices = crowd.vertices.copy()
    vertices[:, PARTS.body] += [0.04, 0, 0]
    records = Records(
        AGORA,
        [
            measure_image(
                "a", replace(as_prediction(crowd), vertices=vertices), crowd, AGORA, PARTS
            ),
            measure_image("b", as_prediction(alone), alone, AGORA, PARTS),
        ],
    )
    for metrics in summarise(records, 0).values():
        assert metrics["body_mve_mm"] == pytest.approx(30)


@pytest.mark.parametrize("mode", ["official", "plain"])
@pytest.mark.parametrize("protocol", [AGORA, VERTICES])
def test_sweep_equals_evaluation_at_each_threshold(protocol, mode):
    """The metrics of a sweep equal those of predictions cut at the threshold."""
    truth = make_truth(4, seed=3, occlusion=np.array([0.0, 95, 20, 30]))
    people = noisy(truth, 5)
    records = Records(protocol, [measure_image("a", people, truth, protocol, PARTS)])
    thresholds = [0.0, *sorted(set(people.scores.tolist())), 1.0]
    for metrics in sweep(records, thresholds, mode):
        kept = people.select(people.scores >= metrics["threshold"])
        if protocol.one_person and mode == "official":
            kept = people
        alone = measure_image("a", kept, truth, protocol, PARTS)
        wanted = summarise(Records(protocol, [alone]), 0)[mode]
        assert metrics.keys() - {"threshold"} == wanted.keys()
        assert metrics == pytest.approx(wanted | {"threshold": metrics["threshold"]}, nan_ok=True)
    recalls = [metrics.get("recall", 1) for metrics in sweep(records, thresholds, "plain")]
    assert recalls[0] == max(recalls) and recalls[-1] == min(recalls)


def test_outcome_has_a_row_for_every_valid_person():
    made = make_records()
    result = outcome(Records(AGORA, made), 0.4, "plain")
    assert len(result.person) == sum(int(record.valid.sum()) for record in made)
    assert (~result.found).sum() > 0
    by_name = {record.name: record for record in made}
    for row, (person, prediction) in enumerate(zip(result.person, result.prediction, strict=True)):
        record = by_name[result.images[result.image_index[row]]]
        assert result.occlusion[row] == record.occlusion[person] <= 90
        assert result.kid[row] == record.kid[person]
        assert result.size_px[row] == record.size_px[person] > 50
        error = result.errors["body_mve"][row]
        if prediction < 0:
            assert np.isnan(result.score[row]) and np.isnan(error)
        else:
            assert result.score[row] == record.scores[prediction] >= 0.4
            pair = record.pairs.tolist().index([prediction, person])
            assert error == record.errors[pair, 1] > 0
    assert summarise(Records(AGORA, made), 0.4)["plain"]["body_mve_mm"] == pytest.approx(
        1000 * np.nanmean(result.errors["body_mve"])
    )


def test_worst_images_are_sorted_by_error():
    made = make_records()
    result = outcome(Records(AGORA, made), 0.2, "plain")
    worst = result.worst_images("body_mve", 5)
    assert len(worst) == 5
    assert [value for _, value in worst] == sorted((v for _, v in worst), reverse=True)
    rows = result.image_index == result.images.index(worst[0][0])
    assert worst[0][1] == pytest.approx(1000 * np.nanmean(result.errors["body_mve"][rows]))


def test_images_in_which_no_one_is_found_are_the_worst():
    many, one = make_truth(3, 1), make_truth(1, 2)
    found = measure_image("found", as_prediction(one), one, AGORA, PARTS)
    empty = [
        measure_image(name, PredictedPeople.empty(), truth, AGORA, PARTS)
        for name, truth in (("missed one", one), ("missed three", many), ("empty", make_truth(0)))
    ]
    result = outcome(Records(AGORA, [found, *empty]), 0.2, "plain")
    worst = result.worst_images("body_mve", 5)
    assert [name for name, _ in worst] == ["missed three", "missed one", "found"]
    assert np.isnan([error for _, error in worst]).tolist() == [True, True, False]


def test_killed_run_resumes(tmp_path):
    made = make_records()
    path = tmp_path / "records.jsonl"
    log = RecordLog(path, AGORA)
    for record in made[:5]:
        log.add(record)
    log.close()
    whole = path.read_text()
    path.write_text(whole[:-40])  # incomplete fifth line
    log = RecordLog(path, AGORA)
    assert [record.name in log.records for record in made[:6]] == [True] * 4 + [False] * 2
    for record in made[4:]:
        log.add(record)
    log.close()
    wanted = summarise(Records(AGORA, made), 0.3)
    assert summarise(Records.load(path), 0.3) == wanted == summarise(log.records, 0.3)
    with pytest.raises(RecordsError, match="not vertices: choose another folder"):
        RecordLog(path, VERTICES)


def test_records_are_strict_json(tmp_path):
    """NaN is not JSON: unknown occlusion and hands outside the image are null."""
    truth = make_truth(2)
    left = {tuple(point) for point in truth.vertices[0, PARTS.left_hand]}

    def in_image(_, points):
        return np.array([[tuple(p) not in left for p in person] for person in points])

    record = measure_image("a", as_prediction(truth), truth, VERTICES, PARTS, in_image)
    assert np.isnan(record.errors).sum() == 2
    path = tmp_path / "records.jsonl"
    Records(VERTICES, [record]).save(path)
    line = path.read_text().splitlines()[1]
    assert json.loads(line, parse_constant=pytest.fail)["occlusion"] == [None, None]
    assert Records.load(path).images()[0].to_line() == line


def test_images_without_people_or_predictions(tmp_path):
    none, some = make_truth(0), make_truth(2)
    made = [
        measure_image("a", PredictedPeople.empty(), none, AGORA, PARTS),
        measure_image("b", as_prediction(some), none, AGORA, PARTS),
        measure_image("c", PredictedPeople.empty(), some, AGORA, PARTS),
    ]
    path = tmp_path / "records.jsonl"
    Records(AGORA, made).save(path)
    for metrics in summarise(Records.load(path), 0).values():
        assert (metrics["false_positives"], metrics["people"], metrics["found"]) == (2, 2, 0)
    for metrics in summarise(Records(AGORA), 0).values():
        assert metrics["pictures"] == 0 and np.isnan(metrics["f1"])


def test_records_are_selected_by_name():
    records = Records(AGORA, make_records())
    assert len(records.only(lambda name: name in ("p1", "p3"))) == 2


def test_contradicting_records_are_refused():
    truth = make_truth(2)
    first = measure_image("a", as_prediction(truth), truth, AGORA, PARTS)
    other = measure_image("a", as_prediction(truth).select(slice(1)), truth, AGORA, PARTS)
    records = Records(AGORA, [first])
    with pytest.raises(RecordsError, match="Image a has two records"):
        records.add(other)
    records.add(measure_image("a", as_prediction(truth), truth, AGORA, PARTS))
    assert len(records) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "hello\n",
        "[]\n",
        '{"records": 99, "protocol": "agora"}\n',
        '{"records": 1, "protocol": "other"}\n',
        '{"records": 1, "protocol": "agora"}\n{"name": "a"}\n',
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(RecordsError, match="is not a record file of this version"):
        Records.load(path)


def test_records_of_different_protocols_are_not_merged(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, protocol in zip(paths, (AGORA, VERTICES), strict=True):
        Records(protocol, make_records(protocol, 2)).save(path)
    with pytest.raises(RecordsError, match="cannot be merged"):
        Records.load(*paths)
    with pytest.raises(RecordsError, match="no record files to load"):
        Records.load()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("joints_2d", lambda x: x[:1], "shape"),
        ("joints_2d", lambda x: x[:, :17], "17 joints, needs 24"),
        ("vertices", lambda x: np.where(np.arange(2)[:, None, None] == 1, np.nan, x), "person 1"),
        ("joints_3d", lambda x: x[0], "3 dimensions"),
    ],
)
def test_invalid_predictions_are_refused(name, change, message):
    people = as_prediction(make_truth(2))
    with pytest.raises(PeopleError, match=message):
        replace(people, **{name: change(getattr(people, name))})


def test_invalid_ground_truth_is_refused():
    truth = make_truth(2)
    arrays = truth.joints_2d, truth.joints_3d, truth.vertices
    with pytest.raises(PeopleError, match="occlusion has shape"):
        TruePeople.from_arrays(*arrays, {"occlusion": np.zeros(3)})
    with pytest.raises(PeopleError, match="confidence has shape"):
        TruePeople.from_arrays(*arrays, {"confidence": np.zeros((2, 5))})
    with pytest.raises(PeopleError, match="no field age"):
        TruePeople.from_arrays(*arrays, {"age": np.zeros(2)})
    few = replace(as_prediction(truth), joints_2d=truth.joints_2d[:, :24])
    with pytest.raises(PeopleError, match="up to joint 65"):
        measure_image("a", few, truth, VERTICES, PARTS)
