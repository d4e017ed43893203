"""What is kept of pictures: merged, resumed, cut by threshold, always with equal sums."""

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
    measure_picture,
    outcome,
    summarise,
    sweep,
)

PARTS = small_parts()


def noisy(truth, seed):
    """Everybody with some error, and two who are not there, by random scores."""
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


def pictures(protocol=AGORA, count=12):
    """Records of crowds, some of whom are kids or hidden."""
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
        made.append(measure_picture(f"p{index}", noisy(truth, index), truth, protocol, PARTS))
    return made


@pytest.mark.parametrize("protocol", [AGORA, AGORA_SMPL, VERTICES])
def test_sums_depend_on_the_pictures_alone(tmp_path, protocol):
    """In another order, from two processes, from a file: bit by bit the same."""
    made = pictures(protocol)
    wanted = summarise(Records(protocol, made), 0.3)
    assert summarise(Records(protocol, made[::-1]), 0.3) == wanted
    paths = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    for rank, path in enumerate(paths):
        # The last picture is measured by both, as samplers do to give each process as many.
        Records(protocol, [*made[rank::2], made[-1]]).save(path)
    assert summarise(Records.load(*paths), 0.3) == wanted
    assert summarise(Records.load(*paths[::-1]), 0.3) == wanted


def test_a_figure_is_a_mean_over_people_not_pictures():
    crowd, alone = make_truth(3, seed=1), make_truth(1, seed=2)
    vertices = crowd.vertices.copy()
    vertices[:, PARTS.body] += [0.04, 0, 0]
    records = Records(
        AGORA,
        [
            measure_picture(
                "a", replace(as_prediction(crowd), vertices=vertices), crowd, AGORA, PARTS
            ),
            measure_picture("b", as_prediction(alone), alone, AGORA, PARTS),
        ],
    )
    for figures in summarise(records, 0).values():
        assert figures["body_mve_mm"] == pytest.approx(30)


@pytest.mark.parametrize("mode", ["official", "plain"])
@pytest.mark.parametrize("protocol", [AGORA, VERTICES])
def test_any_threshold_as_if_measured_at_it(protocol, mode):
    """One run answers all thresholds: the same as predicting fewer people from the start."""
    truth = make_truth(4, seed=3, occlusion=np.array([0.0, 95, 20, 30]))
    people = noisy(truth, 5)
    records = Records(protocol, [measure_picture("a", people, truth, protocol, PARTS)])
    thresholds = [0.0, *sorted(set(people.scores.tolist())), 1.0]
    for figures in sweep(records, thresholds, mode):
        kept = people.select(people.scores >= figures["threshold"])
        if protocol.one_person and mode == "official":
            kept = people
        alone = measure_picture("a", kept, truth, protocol, PARTS)
        wanted = summarise(Records(protocol, [alone]), 0)[mode]
        assert figures.keys() - {"threshold"} == wanted.keys()
        assert figures == pytest.approx(wanted | {"threshold": figures["threshold"]}, nan_ok=True)
    recalls = [figures.get("recall", 1) for figures in sweep(records, thresholds, "plain")]
    assert recalls[0] == max(recalls) and recalls[-1] == min(recalls)


def test_rows_tell_of_every_person():
    made = pictures()
    result = outcome(Records(AGORA, made), 0.4, "plain")
    rows = result.rows()
    assert len(rows) == sum(int(record.valid.sum()) for record in made)
    assert sum(row["prediction"] < 0 for row in rows) == (~result.found).sum() > 0
    by_name = {record.name: record for record in made}
    for row in rows:
        record = by_name[row["picture"]]
        assert row["occlusion"] == record.occlusion[row["person"]] <= 90
        assert row["kid"] == record.kid[row["person"]]
        assert row["size_px"] == record.size_px[row["person"]] > 50
        if row["prediction"] < 0:
            assert np.isnan(row["score"]) and np.isnan(row["body_mve_mm"])
        else:
            assert row["score"] == record.scores[row["prediction"]] >= 0.4
            place = record.pairs.tolist().index([row["prediction"], row["person"]])
            assert row["body_mve_mm"] == 1000 * record.errors[place, 1] > 0
    found = [row["body_mve_mm"] for row in rows if row["prediction"] >= 0]
    assert summarise(Records(AGORA, made), 0.4)["plain"]["body_mve_mm"] == pytest.approx(
        np.mean(found)
    )


def test_worst_pictures():
    made = pictures()
    result = outcome(Records(AGORA, made), 0.2, "plain")
    worst = result.worst_pictures("body_mve", 5)
    assert len(worst) == 5
    assert [value for _, value in worst] == sorted((v for _, v in worst), reverse=True)
    rows = [row["body_mve_mm"] for row in result.rows() if row["picture"] == worst[0][0]]
    assert worst[0][1] == pytest.approx(np.nanmean(rows))


def test_images_in_which_no_one_is_found_are_the_worst():
    many, one = make_truth(3, 1), make_truth(1, 2)
    found = measure_picture("found", as_prediction(one), one, AGORA, PARTS)
    empty = [
        measure_picture(name, PredictedPeople.empty(), truth, AGORA, PARTS)
        for name, truth in (("missed one", one), ("missed three", many), ("empty", make_truth(0)))
    ]
    result = outcome(Records(AGORA, [found, *empty]), 0.2, "plain")
    worst = result.worst_pictures("body_mve", 5)
    assert [name for name, _ in worst] == ["missed three", "missed one", "found"]
    assert np.isnan([error for _, error in worst]).tolist() == [True, True, False]


def test_a_killed_run_goes_on(tmp_path):
    made = pictures()
    path = tmp_path / "records.jsonl"
    log = RecordLog(path, AGORA)
    for record in made[:5]:
        log.add(record)
    log.close()
    whole = path.read_text()
    path.write_text(whole[:-40])  # killed within the fifth line
    log = RecordLog(path, AGORA)
    assert [record.name in log.records for record in made[:6]] == [True] * 4 + [False] * 2
    for record in made[4:]:
        log.add(record)
    log.close()
    wanted = summarise(Records(AGORA, made), 0.3)
    assert summarise(Records.load(path), 0.3) == wanted == summarise(log.records, 0.3)
    with pytest.raises(RecordsError, match="not vertices: choose another folder"):
        RecordLog(path, VERTICES)


def test_lines_are_json_of_every_reader(tmp_path):
    """NaN is no JSON: unknown occlusion and unseen hands are null."""
    truth = make_truth(2)
    left = {tuple(point) for point in truth.vertices[0, PARTS.left_hand]}

    def in_picture(_, points):
        return np.array([[tuple(p) not in left for p in person] for person in points])

    record = measure_picture("a", as_prediction(truth), truth, VERTICES, PARTS, in_picture)
    assert np.isnan(record.errors).sum() == 2
    path = tmp_path / "records.jsonl"
    Records(VERTICES, [record]).save(path)
    line = path.read_text().splitlines()[1]
    assert json.loads(line, parse_constant=pytest.fail)["occlusion"] == [None, None]
    assert Records.load(path).pictures()[0].to_line() == line


def test_pictures_with_nobody(tmp_path):
    none, some = make_truth(0), make_truth(2)
    made = [
        measure_picture("a", PredictedPeople.empty(), none, AGORA, PARTS),
        measure_picture("b", as_prediction(some), none, AGORA, PARTS),
        measure_picture("c", PredictedPeople.empty(), some, AGORA, PARTS),
    ]
    path = tmp_path / "records.jsonl"
    Records(AGORA, made).save(path)
    for figures in summarise(Records.load(path), 0).values():
        assert (figures["false_positives"], figures["people"], figures["found"]) == (2, 2, 0)
    for figures in summarise(Records(AGORA), 0).values():
        assert figures["pictures"] == 0 and np.isnan(figures["f1"])


def test_only_some_pictures():
    records = Records(AGORA, pictures())
    assert len(records.only(lambda name: name in ("p1", "p3"))) == 2


def test_a_picture_has_one_result():
    truth = make_truth(2)
    first = measure_picture("a", as_prediction(truth), truth, AGORA, PARTS)
    other = measure_picture("a", as_prediction(truth).select(slice(1)), truth, AGORA, PARTS)
    records = Records(AGORA, [first])
    with pytest.raises(RecordsError, match="Picture a was measured twice"):
        records.add(other)
    records.add(measure_picture("a", as_prediction(truth), truth, AGORA, PARTS))
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
def test_files_of_something_else(tmp_path, content):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(RecordsError, match="is not a file of records of this version"):
        Records.load(path)


def test_files_that_do_not_fit_together(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, protocol in zip(paths, (AGORA, VERTICES), strict=True):
        Records(protocol, pictures(protocol, 2)).save(path)
    with pytest.raises(RecordsError, match="cannot be summed up together"):
        Records.load(*paths)
    with pytest.raises(RecordsError, match="no records to load"):
        Records.load()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("joints_2d", lambda x: x[:1], "shape"),
        ("joints_2d", lambda x: x[:, :17], "17 joints, wanted 24"),
        ("vertices", lambda x: np.where(np.arange(2)[:, None, None] == 1, np.nan, x), "person 1"),
        ("joints_3d", lambda x: x[0], "3 dimensions"),
    ],
)
def test_predictions_that_are_none(name, change, said):
    people = as_prediction(make_truth(2))
    with pytest.raises(PeopleError, match=said):
        replace(people, **{name: change(getattr(people, name))})


def test_truths_that_are_none():
    truth = make_truth(2)
    arrays = truth.joints_2d, truth.joints_3d, truth.vertices
    with pytest.raises(PeopleError, match="occlusion has shape"):
        TruePeople.from_arrays(*arrays, {"occlusion": np.zeros(3)})
    with pytest.raises(PeopleError, match="confidence has shape"):
        TruePeople.from_arrays(*arrays, {"confidence": np.zeros((2, 5))})
    with pytest.raises(PeopleError, match="nothing of age"):
        TruePeople.from_arrays(*arrays, {"age": np.zeros(2)})
    few = replace(as_prediction(truth), joints_2d=truth.joints_2d[:, :24])
    with pytest.raises(PeopleError, match="up to joint 65"):
        measure_picture("a", few, truth, VERTICES, PARTS)
