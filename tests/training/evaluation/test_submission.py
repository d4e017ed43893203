"""Submissions: metrics of the written file, and errors that a leaderboard would report."""

import io
import pickle
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.people import People
from aios.prediction import Prediction
from tests.helpers.metric_people import NUM_VERTICES, as_prediction, make_truth, small_parts
from tests.training.evaluation.test_reference_metrics import (
    agora_parts,
    images_of,
    our_name,
    recorded_image,
)
from tests.training.evaluation.test_reference_metrics import recording as recording
from training.evaluation.metrics import AGORA as AGORA_METRICS
from training.evaluation.metrics import (
    BodyParts,
    PredictedPeople,
    Records,
    TruePeople,
    measure_image,
    summarise,
)
from training.evaluation.submission import (
    AGORA,
    AGORA_SMPL,
    BEDLAM,
    Submission,
    SubmissionError,
    check_submission,
    kept_people,
    mesh_entries,
    parameter_entries,
    write_submission,
)
from training.evaluation.submission.__main__ import main
from training.evaluation.submission.write import portable_pickle

SMALL = replace(BEDLAM, num_vertices=NUM_VERTICES)
"""BEDLAM's form for the bodies of these tests."""


def with_noise(truth, seed):
    random = np.random.default_rng(seed)
    perfect = as_prediction(truth)
    noise = {
        "joints_3d": perfect.joints_3d + random.normal(size=perfect.joints_3d.shape) * 0.05,
        "vertices": perfect.vertices + random.normal(size=perfect.vertices.shape) * 0.05,
    }
    return replace(perfect, **noise)


def official(images, parts):
    """Official metrics of (name, prediction, ground truth) of each image."""
    made = (measure_image(name, own, true, AGORA_METRICS, parts) for name, own, true in images)
    return summarise(Records(AGORA_METRICS, made), 0)["official"]


def test_meshes_read_back_have_the_same_metrics(tmp_path):
    """One missed person, one false positive, one image without predictions."""
    truths = {f"image_{n}.png": make_truth(3, seed=n, kid=[n == 1] * 3) for n in range(4)}
    own = {name: with_noise(truth, 7) for name, truth in truths.items()}
    own["image_1.png"] = own["image_1.png"].select(slice(2))
    own["image_2.png"] = own["image_2.png"].select(np.array([0, 1, 2, 0]))
    own["image_3.png"] = PredictedPeople.empty()
    path = tmp_path / "predictions.zip"
    written = write_submission(path, SMALL, ((n, mesh_entries(p)) for n, p in own.items()))
    assert written == 9
    parts = small_parts()
    memory = official([(n, own[n], truth) for n, truth in truths.items()], parts)
    with Submission(path, SMALL) as submission:
        assert submission.images == ["image_0.png", "image_1.png", "image_2.png"]
        read = [(n, submission.people(n), truth) for n, truth in truths.items()]
    assert official(read, parts) == memory
    assert memory["f1"] < 1 and memory["mve_mm"] > 10


def test_submission_of_the_recording_has_the_recorded_metrics(tmp_path, recording):
    """People written to a zip and read back have the metrics of AGORA's program."""
    found = [recorded_image(recording, index) for index in images_of(recording)]
    vertices = max(len(true.vertices[0]) for _, _, true in found)
    form = replace(AGORA, num_vertices=vertices)
    path = tmp_path / "predictions.zip"
    write_submission(path, form, ((name, mesh_entries(own)) for name, own, _ in found))
    names = [name for name, _, _ in found]
    assert check_submission(path, form, names) == []
    with Submission(path, form) as submission:
        read = [(name, submission.people(name), true) for name, _, true in found]
    metrics = official(read, agora_parts(recording))
    for name in recording:
        if name.startswith("agora/out/smplx_all/"):
            metric = name.rsplit("/", 1)[1]
            ours = metrics[our_name(metric) if "-" in metric else metric]
            assert ours == pytest.approx(float(recording[name]), rel=1e-6), name


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def prediction(body):
    """Three posed people in a photo of 1280 x 720."""
    random, count = np.random.default_rng(3), 3
    shapes = {name: getattr(People.empty(), name).shape[1:] for name in People.__dataclass_fields__}
    arrays = {
        name: (random.normal(size=(count, *shape)) * 0.2).astype(np.float32)
        for name, shape in shapes.items()
    }
    arrays["scores"] = np.array([0.9, 0.8, 0.3], np.float32)
    arrays["query_indices"] = np.arange(count)
    arrays["transl"] = np.array([[-1.5, 0, 7], [0, 0, 7], [1.5, 0, 8]], np.float32)
    people = People(**arrays)
    posed = body({k: torch.from_numpy(v) for k, v in people.smplx_parameters().items()})
    camera = Camera(900.0, (640.0, 360.0), 1280, 720)
    vertices, joints = posed.vertices.numpy(), posed.joints_3d.numpy()
    return Prediction(people, camera, vertices, joints, body.faces, "test", body.name)


def test_parameters_read_back_have_the_same_metrics(tmp_path, body, prediction):
    """AGORA form: joints at 3840 x 2160, parameters posed by the reader."""
    own = PredictedPeople.from_prediction(prediction, AGORA.resolution_wh)
    photo = prediction.camera.project(prediction.joints_3d[:, :24].astype(float))
    np.testing.assert_allclose(own.joints_2d[:, :24], 3 * photo)
    weights = np.eye(55)[np.arange(10475) % 55]
    parts = BodyParts.from_skinning(weights, np.eye(55, 10475))
    vertices = np.roll(own.vertices, 1, 2)
    true = TruePeople.from_arrays(own.joints_2d, own.joints_3d * 1.05, vertices)
    path = tmp_path / "predictions.zip"
    write_submission(path, AGORA, [("a.png", parameter_entries(prediction.people, own.joints_2d))])
    assert check_submission(path, AGORA, ["a.png"]) == []
    with Submission(path, AGORA, body) as submission:
        read = submission.people("a.png")
    np.testing.assert_allclose(read.vertices, own.vertices, atol=1e-5)
    memory = official([("a.png", own, true)], parts)
    assert official([("a.png", read, true)], parts) == memory
    assert memory["f1"] == 1 and memory["body_mve_mm"] > 10
    with Submission(path, AGORA) as submission, pytest.raises(SubmissionError, match="give the"):
        submission.people("a.png")


def test_writing_again_replaces_the_file(tmp_path):
    path = tmp_path / "predictions.zip"
    entries = mesh_entries(as_prediction(make_truth(2)))
    write_submission(path, SMALL, [("a.png", entries), ("b.png", entries)])
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_submission(path, SMALL, [("b.png", entries[:1])])
        assert reader.read() == before  # an open file keeps its content
    assert zipfile.ZipFile(path).namelist() == ["predictions/b_personId_0.pkl"]
    first = path.read_bytes()
    write_submission(path, SMALL, [("b.png", entries[:1])])
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_failure_keeps_the_old_file(tmp_path):
    path = tmp_path / "predictions.zip"
    entries = mesh_entries(as_prediction(make_truth(1)))
    write_submission(path, SMALL, [("a.png", entries)])
    before = path.read_bytes()

    def breaks():
        yield "b.png", entries
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_submission(path, SMALL, breaks())
    with pytest.raises(SubmissionError, match="b.png is given twice"):
        write_submission(path, SMALL, [("b.png", entries), ("b.png", entries)])
    with pytest.raises(SubmissionError, match="There are no people to submit"):
        write_submission(path, SMALL, [("b.png", [])])
    with pytest.raises(SubmissionError, match="Person 0 of b.png has verts of shape"):
        write_submission(path, BEDLAM, [("b.png", entries)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_best_people_above_the_threshold_are_kept():
    scores = np.array([0.2, 0.9, 0.5, 0.5])
    assert kept_people(scores, 0.5).tolist() == [1, 2, 3]
    assert kept_people(scores, 0.0, most=2).tolist() == [1, 2]
    assert len(kept_people(np.ones(80), 0.1)) == 50


@pytest.mark.parametrize(
    ("form", "path", "name"),
    [
        (AGORA, "test/ag_testset_3dpeople_00001_1280x720.png", "ag_testset_3dpeople_00001.png"),
        (AGORA_SMPL, "ag_validationset_x_5_10_00.png", "ag_validationset_x_5_10_00.png"),
        (
            BEDLAM,
            "r/20221018_1/png/seq_000001/seq_000001_0005.png",
            "20221018_1_frameID_seq_000001_0005.png",
        ),
    ],
)
def test_image_names(form, path, name):
    assert form.image_name(path) == name


def test_a_bedlam_image_without_scene():
    with pytest.raises(SubmissionError, match="SCENE/png"):
        BEDLAM.image_name("seq_000001_0005.png")


def test_pickles_do_not_depend_on_the_numpy_version():
    content = {"joints": np.arange(4.0, dtype=np.float32).reshape(2, 2)[:, ::-1]}
    written = portable_pickle(content)
    assert b"multiarray" not in written and b"_core" not in written
    found = pickle.loads(written)["joints"]
    np.testing.assert_array_equal(found, content["joints"])
    assert found.dtype == np.float32
    found[0, 0] = 5  # the array is writable


def entry(**changes):
    """Entry of a person in BEDLAM's form; None removes a value."""
    random = np.random.default_rng(0)
    whole = {
        "joints": random.random((24, 2)),
        "verts": random.random((NUM_VERTICES, 3)),
        "allSmplJoints3d": random.random((127, 3)),
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def parameters(**changes):
    """Entry of a person in AGORA's form with changed parameters."""
    params = {name: np.zeros(shape) for name, shape in AGORA.parameters.items()} | changes
    params = {name: value for name, value in params.items() if value is not None}
    return {"joints": np.zeros((24, 2)), "params": params}


def make_zip(path, files):
    """Write (name, content) pairs, pickling content other than bytes; names may repeat."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # warns of repeated names
        for name, content in files:
            raw = content if isinstance(content, bytes) else pickle.dumps(content)
            archive.writestr(name, raw)


def as_matrices(shape):
    return (1, int(np.prod(shape)) // 3, 3, 3)


MATRICES = {
    name: np.zeros(as_matrices(shape) if "pose" in name or "orient" in name else shape)
    for name, shape in AGORA.parameters.items()
}
PERSON = "predictions/a_personId_0.pkl"
NAN = np.full((127, 3), np.nan)
AGORA_SMALL = replace(AGORA, num_vertices=NUM_VERTICES)


@pytest.mark.parametrize(
    ("form", "files", "message"),
    [
        (SMALL, [], "There is no file in"),
        (SMALL, [("a_personId_0.pkl", entry())], "is not in the folder predictions/"),
        (SMALL, [("predictions/a_0.pkl", entry())], "is not named PICTURE_personId_NUMBER.pkl"),
        (SMALL, [("predictions/b_personId_0.pkl", entry())], "belongs to b.png, which is not"),
        (SMALL, [(PERSON, entry()), (PERSON, entry())], "is in the zip 2 times"),
        (
            SMALL,
            [(PERSON, entry()), ("predictions/a_personId_1.pkl", entry())],
            "the same person as predictions/a_personId_0.pkl",
        ),
        (SMALL, [(PERSON, b"\x80\x04broken")], "is damaged or has"),
        (
            SMALL,
            [(PERSON, {"joints": io.BytesIO()})],
            "has content other than arrays (_io.BytesIO)",
        ),
        (SMALL, [(PERSON, [1, 2])], "holds a list instead of a dictionary"),
        (SMALL, [(PERSON, entry(joints=None))], "lacks joints"),
        (SMALL, [(PERSON, entry(joints=[[1.0, 2.0]] * 24))], "joints of type list instead of a"),
        (SMALL, [(PERSON, entry(joints=np.zeros((17, 2))))], "joints of shape (17, 2) instead of"),
        (SMALL, [(PERSON, entry(verts=None))], "has allSmplJoints3d but lacks verts"),
        (SMALL, [(PERSON, entry(verts=np.zeros((9, 3))))], "verts of shape (9, 3) instead of (60"),
        (SMALL, [(PERSON, entry(allSmplJoints3d=NAN))], "in allSmplJoints3d that are not finite"),
        (SMALL, [(PERSON, entry(verts=None, allSmplJoints3d=None))], "has neither verts and"),
        (SMALL, [(PERSON, parameters())], "bedlam takes only verts and allSmplJoints3d"),
        (AGORA_SMALL, [(PERSON, parameters(jaw_pose=None))], "has params that lack jaw_pose"),
        (AGORA_SMALL, [(PERSON, parameters(age=np.ones(1)))], "has unknown params: age"),
        (
            AGORA_SMALL,
            [(PERSON, parameters(betas=np.zeros((1, 11))))],
            "betas of shape (1, 11) instead of (1, 10)",
        ),
        (AGORA_SMALL, [(PERSON, parameters() | {"gender": "robot"})], "has gender 'robot'"),
        (AGORA_SMALL, [(PERSON, parameters() | {"num_betas": 400})], "has num_betas 400"),
        (AGORA_SMALL, [(PERSON, parameters() | {"params": [1]})], "has params of type list"),
    ],
)
def test_invalid_submissions_are_reported(tmp_path, form, files, message):
    path = tmp_path / "predictions.zip"
    make_zip(path, files)
    (fault,) = check_submission(path, form, ["a.png"])
    assert message in fault
    assert fault.endswith(".") and "\n" not in fault


@pytest.mark.parametrize(
    "person",
    [
        entry(verts=None, allSmplJoints3d=None) | {"params": parameters()["params"]},
        parameters() | {"gender": np.array("female"), "num_betas": np.array(10)},
        parameters(betas=np.zeros((1, 11))) | {"kid_flag": np.array([True])},
        parameters(betas=np.zeros((1, 300))) | {"num_betas": 299, "kid_flag": True},
    ],
)
def test_valid_options_are_accepted(tmp_path, person):
    path = tmp_path / "predictions.zip"
    make_zip(path, [("predictions/", b""), (PERSON, person)])
    assert check_submission(path, AGORA_SMALL, ["a.png"]) == []


def test_missing_and_truncated_zips_are_reported(tmp_path):
    path = tmp_path / "predictions.zip"
    (fault,) = check_submission(path, SMALL)
    assert "There is no file" in fault
    write_submission(path, SMALL, [("a.png", [entry()])])
    path.write_bytes(path.read_bytes()[:-30])
    (fault,) = check_submission(path, SMALL)
    assert "is not a zip file or is incomplete" in fault
    with pytest.raises(SubmissionError, match="not a zip file"):
        Submission(path, SMALL)


def test_reading_invalid_files_raises(tmp_path):
    path = tmp_path / "predictions.zip"
    make_zip(path, [(PERSON, entry(joints=None))])
    with (
        Submission(path, SMALL) as submission,
        pytest.raises(SubmissionError, match="lacks joints"),
    ):
        submission.people("a.png")
    make_zip(path, [(PERSON, entry()), (PERSON, entry())])
    with Submission(path, SMALL) as submission:
        assert len(submission.people("a.png")) == 1  # as after unpacking
    make_zip(path, [("predictions/x.pkl", entry())])
    with pytest.raises(SubmissionError, match="is not named"):
        Submission(path, SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gender": "male"}, "gendered body"),
        ({"num_betas": 11, "params": parameters(betas=np.zeros((1, 11)))["params"]}, "10 betas"),
        ({"pose2rot": False, "params": MATRICES}, "rotation matrices"),
        ({"params": parameters(leye_pose=np.ones((1, 3)))["params"]}, "eye poses"),
    ],
)
def test_unsupported_parameters_are_refused(tmp_path, body, change, message):
    path = tmp_path / "predictions.zip"
    make_zip(path, [(PERSON, parameters() | change)])
    assert check_submission(path, AGORA) == []
    with Submission(path, AGORA, body) as submission, pytest.raises(SubmissionError, match=message):
        submission.people("a.png")


def test_command_checks_a_file(tmp_path, capsys):
    path, names = tmp_path / "predictions.zip", tmp_path / "names.txt"
    write_submission(path, AGORA, [("a.png", [parameters()])])
    names.write_text("x/a_1280x720.png\nx/b.png\n")
    assert main(["agora", str(path), "--pictures", str(names)]) == 0
    assert "is valid" in capsys.readouterr().out
    assert main(["bedlam", str(path)]) == 1
    assert "takes only verts" in capsys.readouterr().out
    names.write_text("b.png\n")
    assert main(["agora", str(path), "--pictures", str(names)]) == 1
    (tmp_path / "a.png").touch()
    assert main(["agora", str(path), "--pictures", str(tmp_path)]) == 0
