"""Every benchmark from files to tables, with ground truth and known errors as predictions."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from aios.body.model import BodyModel
from aios.predictor import AiOSPredictor
from tests.helpers.evaluation_files import (
    COUNTS,
    PerfectPredictor,
    agora_name,
    as_people,
    digest,
    make_body_folder,
    some_people,
    write_agora,
    write_images,
    write_set,
)
from tests.helpers.training_samples import SIZE_HW
from training.data.batch import Sample
from training.evaluate import main
from training.evaluation.benchmarks import BENCHMARKS
from training.evaluation.bodies import Bodies
from training.evaluation.metrics import LicensedFileError, SmplConversion
from training.synthetic import BENCHMARK_PARTS, benchmark_scene
from training.targets import MALE

pytestmark = pytest.mark.usefixtures("one_thread")
HUMANDATA = ("bedlam-val", "ehf", "ubody", "arctic", "egobody")
DATAFRAMES = ("agora-val", "agora-smpl")
PEOPLE = sum(COUNTS)


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    """Folder of the body and its lists."""
    return make_body_folder(tmp_path_factory.mktemp("body"))


@pytest.fixture(scope="module")
def body(licensed):
    return BodyModel.load(licensed)


@pytest.fixture(scope="module")
def samples(body):
    made = {name: some_people(body, 10 * k) for k, name in enumerate(BENCHMARKS)}
    return made | {"agora-smpl": made["agora-val"]}  # the same images


@pytest.fixture(scope="module")
def data(tmp_path_factory, body, licensed, samples):
    """All data sets in their published layouts."""
    root = tmp_path_factory.mktemp("data")
    for name in HUMANDATA:
        write_set(root, BENCHMARKS[name].data, samples[name])
    files = (licensed / name for name in ("smplx2smpl.pkl", "SMPL_NEUTRAL.pkl"))
    write_agora(root, body, samples["agora-val"])
    write_agora(root, body, samples["agora-smpl"], SmplConversion.load(*files))
    test = {agora_name(k): sample for k, sample in enumerate(samples["agora-test"])}
    write_images(root / "agora/3840x2160/test", test)
    names = (f"scene_{k}/png/seq_000001/seq_000001_{k:04d}.png" for k in range(len(COUNTS)))
    bedlam = dict(zip(names, samples["bedlam-test"], strict=True))
    write_images(root / "bedlam/test_images", bedlam)
    return root


@pytest.fixture
def run(tmp_path, monkeypatch, body, licensed, data, samples, capsys):
    """Run the command with a predictor that returns the ground truth, optionally changed."""

    def evaluate(name, *more, change=None, body_model=body, known=()):
        monkeypatch.setenv("AIOS_RENDERER", "software")
        weights = tmp_path / "weights.bin"
        weights.write_bytes(b"weights")
        predictor = PerfectPredictor(body_model, weights, change)
        for sample in known:
            predictor.learn([sample], sample.targets.focal_length)
        predictor.learn(samples[name])
        monkeypatch.setattr(AiOSPredictor, "from_pretrained", lambda *_: predictor)
        out = tmp_path / "out" / name
        command = [name, "--data", str(data), "--out", str(out), "--worst", "2", "--interval", "1"]
        command += ["--trust-pickle", *more]
        if not body_model.is_standin:
            command += ["--body", str(licensed)]
        code = main(command)
        return code, out, capsys.readouterr(), predictor

    return evaluate


def metrics_of(out, mode="plain", part="all"):
    content = json.loads((out / "figures.json").read_text())
    return content["figures"][part][str(content["thresholds"][0])][mode]


def errors_of(metrics):
    return {name: value for name, value in metrics.items() if name.endswith("_mm")}


@pytest.mark.parametrize("name", [*HUMANDATA, *DATAFRAMES])
def test_ground_truth_as_prediction_is_perfect(run, name):
    code, out, printed, _ = run(name)
    assert code == 0, printed.err
    for mode in ("official", "plain"):
        metrics = metrics_of(out, mode)
        errors = errors_of(metrics)
        assert len(errors) >= 4 and None not in errors.values()
        assert max(errors.values()) < 0.01, errors
    assert metrics["f1"] == metrics["precision"] == metrics["recall"] == 1
    twice = COUNTS[0] if name == "agora-smpl" else 0  # images without "bfh" count only for SMPL
    assert metrics["people"] == PEOPLE + twice
    assert metrics.get("pck", 1) == metrics.get("depth_order", 1) == 1
    assert ("pck" in metrics) == (name != "agora-smpl")
    assert " 0.0 |" in printed.out and "ours, weights" in printed.out
    for file in ("table.md", "table.tex", "precision_recall.png", "size.png", "worst.html"):
        assert (out / file).stat().st_size > 100, file
    assert (out / "occlusion.png").exists() == (name in DATAFRAMES)


@pytest.mark.parametrize("name", ["bedlam-val", *DATAFRAMES])
def test_submission_file_has_the_metrics_of_the_run(run, name, tmp_path):
    """With a missed person and wrong bodies, the file read back gives the same metrics."""

    def wrong(people):
        turned = people.body_pose + np.float32(0.1)
        return replace(people, body_pose=turned).select(slice(2))

    _, out, _, _ = run(name, change=wrong)
    memory = metrics_of(out, "official")
    assert memory["f1"] < 1 and memory["body_mve_mm"] > 5
    threshold = BENCHMARKS[name].thresholds[0]
    form = BENCHMARKS[name].forms[0].name
    (written,) = out.glob(f"submission/{form}/score_{threshold:g}/predictions.zip")
    kept = shutil.copy(written, tmp_path)
    code, again, printed, _ = run(name, "--predictions", kept)
    assert code == 0, printed.err
    read = metrics_of(again, "official")
    detected = {f: v for f, v in memory.items() if not f.startswith(("pve", "pa_", "pck", "depth"))}
    assert set(read) == set(detected)
    for metric, value in detected.items():
        # Values halfway between two tenths may be rounded to either.
        assert read[metric] == pytest.approx(value, abs=0.11 if "_mm" in metric else 0), metric


@pytest.mark.parametrize("name", ["agora-test", "bedlam-test"])
def test_test_sets_give_submissions(run, name):
    code, out, printed, _ = run(name)
    assert code == 0, printed.err
    forms = BENCHMARKS[name].forms
    thresholds = BENCHMARKS[name].thresholds
    assert len(list(out.glob("submission/*/*/predictions.zip"))) == len(forms) * len(thresholds)
    assert "Upload it at" in printed.out and not (out / "figures.json").exists()


def test_synthetic_benchmark(run, tmp_path, monkeypatch):
    """The synthetic benchmark: stand-in body, parts, metrics as JSON."""
    scenes = {part: benchmark_scene(part, 0) for part in BENCHMARK_PARTS}
    seeds = []

    def rendered_once(part, _, seed):
        seeds.append(seed)
        return scenes[part]

    for user in ("training.evaluate", "training.evaluation.benchmark_samples"):
        monkeypatch.setattr(f"{user}.benchmark_scene", rendered_once)
    known = [Sample(scene.image, scene.targets) for scene in scenes.values()]
    path = tmp_path / "figures.json"
    code, out, printed, _ = run(
        *("synthetic", "--limit", "1", "--seed", "2", "--json", str(path)),
        body_model=BodyModel.load(),
        known=known,
    )
    assert code == 0, printed.err
    assert set(seeds) == {2} and "version 1, seed 2" in printed.out
    content = json.loads(path.read_text())
    assert list(content) == list(BENCHMARK_PARTS) == ["single", "group", "crowd"]
    for part, metrics in content.items():
        assert metrics["pictures"] == 1, part
        assert metrics["f1"] == 1 and metrics["pck"] == 1
        errors = errors_of(metrics)
        assert {"mve_mm", "nmve_mm", "body_nmje_mm", "face_mpjpe_mm", "pa_mpjpe_body_mm"} <= set(
            errors
        )
        assert max(errors.values()) < 0.01
    assert "| MVE body | 0.0 | 0.0 | 0.0 | 0.0 |" in printed.out


def test_known_errors_have_known_metrics(run, body, samples):
    """One person missed, one duplicated, all rotated about the optical axis."""
    angle = 0.05

    def wrong(people):
        chosen = {1: [0], 2: [0, 1, 1], 3: [0, 1]}[len(people)]
        turn = Rotation.from_rotvec([0, 0, angle])
        turned = (turn * Rotation.from_rotvec(people.global_orient)).as_rotvec()
        turned = replace(people, global_orient=turned.astype(np.float32)).select(np.array(chosen))
        turned.expression[2:] += 0.01  # identical people are refused in a submission
        return turned

    code, out, printed, _ = run("bedlam-val", change=wrong)
    assert code == 0, printed.err
    metrics = metrics_of(out)
    assert metrics["recall"] == pytest.approx((PEOPLE - 1) / PEOPLE)
    assert metrics["precision"] == pytest.approx((PEOPLE - 1) / PEOPLE)
    assert metrics["false_positives"] == 1
    people = [
        as_people(sample.targets, SIZE_HW[::-1]).select(slice(2))
        for sample in samples["bedlam-val"]
    ]
    radii = []
    for some in people:
        parameters = {name: torch.from_numpy(v) for name, v in some.smplx_parameters().items()}
        joints = body(parameters).joints_3d[:, :22].numpy()
        radii.append(
            np.linalg.norm((joints - joints[:, 1:3].mean(1, keepdims=True))[..., :2], axis=-1)
        )
    wanted = 2000 * np.sin(angle / 2) * np.concatenate(radii).mean()
    assert metrics["body_mpjpe_mm"] == pytest.approx(wanted, rel=1e-4)
    assert metrics["body_nmje_mm"] == pytest.approx(wanted / metrics["f1"], rel=1e-4)


def test_ground_truth_uses_the_annotated_gender(run, body, licensed, monkeypatch):
    """A male body scaled by 1.1 changes only the errors of men."""
    larger = BodyModel.load(licensed / "SMPLX_NEUTRAL.npz")
    larger._surface = replace(larger._surface, template=larger._surface.template * 1.1)
    monkeypatch.setattr(Bodies, "_others", {}, raising=False)
    monkeypatch.setattr("training.evaluation.bodies.BodyModel", lambda *_: larger)
    _, out, _, _ = run("ehf")
    errors = metrics_of(out)["pve_all_mm"]
    _, out, _, _ = run("ubody")  # uses the neutral body for every gender
    assert errors > 5 and metrics_of(out)["pve_all_mm"] < 0.01


@pytest.mark.parametrize(
    "name, missing, source",
    [
        ("bedlam-val", "body_verts_smplx.npy", "agora_evaluation"),
        ("ehf", "SMPLX_to_J14.pkl", "expose"),
        ("arctic", "MANO_SMPLX_vertex_ids.pkl", "smpl-x.is.tue.mpg.de"),
        ("agora-smpl", "smplx2smpl.pkl", "bedlam.is.tue.mpg.de"),
    ],
)
def test_missing_lists_are_named(run, tmp_path, licensed, name, missing, source):
    lists = tmp_path / "lists"
    lists.mkdir()
    for file in licensed.iterdir():
        if not file.name.startswith("SMPLX_") or file.suffix != ".npz":
            (lists / file.name).symlink_to(file)
    (lists / missing).unlink()
    code, out, printed, predictor = run(name, "--lists", str(lists))
    assert code == 1 and printed.err.count("\n") == 1
    assert missing in printed.err and source in printed.err and "needed for" in printed.err
    assert not predictor.pictures


@pytest.mark.parametrize("name", [n for n in BENCHMARKS if n != "synthetic"])
def test_missing_data_are_named(run, tmp_path, name):
    code, _, printed, _ = run(name, "--data", str(tmp_path / "nowhere"))
    assert code == 1 and printed.err.count("\n") == 1
    assert str(tmp_path / "nowhere") in printed.err and "https://" in printed.err


def test_real_benchmarks_refuse_the_standin_body(run):
    code, _, printed, _ = run("ehf", body_model=BodyModel.load())
    assert code == 1 and "SMPLX_NEUTRAL.npz" in printed.err and "--body" in printed.err


def test_data_frames_need_trust_pickle(tmp_path, monkeypatch, body, licensed, data, capsys):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"x")
    monkeypatch.setattr(
        AiOSPredictor, "from_pretrained", lambda *_: PerfectPredictor(body, weights)
    )
    command = ["agora-val", "--data", str(data), "--body", str(licensed), "--out", str(tmp_path)]
    assert main(command) == 1
    assert "--trust-pickle" in capsys.readouterr().err


def test_killed_run_resumes(run, samples):
    """With an incomplete last line only its batch is predicted again."""
    _, out, _, predictor = run("egobody", "--batch", "1")
    assert len(predictor.pictures) == len(COUNTS)
    whole = (out / "figures.json").read_text()
    records = out / "answers_0.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    code, _, printed, predictor = run("egobody", "--batch", "1")
    assert code == 0, printed.err
    assert predictor.pictures == [digest(samples["egobody"][-1].picture)]
    assert (out / "figures.json").read_text() == whole
    _, _, _, predictor = run("egobody", "--batch", "1", "--limit", "2")
    assert predictor.pictures == [] and metrics_of(out)["pictures"] == 2
    _, _, _, predictor = run("egobody", "--batch", "1", "--fresh")
    assert len(predictor.pictures) == len(COUNTS)


def test_results_of_another_run_are_refused(run, monkeypatch):
    _, out, _, _ = run("egobody")
    code, _, printed, _ = run("egobody", "--interval", "2")
    assert code == 1 and "interval" in printed.err and "--fresh" in printed.err


def test_ubody_counts_points_inside_the_image(run):
    """Wrong hands count, unless the predicted camera projects them below the image."""

    def wrong(people, down):
        hands = people.left_hand_pose + np.float32(0.3)
        shift = np.array([0, down, 0], np.float32)
        return replace(people, left_hand_pose=hands, transl=people.transl + shift)

    _, out, _, _ = run("ubody", change=lambda people: wrong(people, 0))
    assert metrics_of(out, "official")["pve_hands_mm"] > 1
    _, out, _, _ = run("ubody", "--fresh", change=lambda people: wrong(people, 100))
    metrics = metrics_of(out, "official")
    assert metrics["pve_hands_mm"] == metrics["pve_all_mm"] == 0
    assert metrics["found"] == len(COUNTS)


def test_no_predictions(run):
    code, out, printed, _ = run("bedlam-val", change=lambda people: people.select(slice(0)))
    assert code == 0, printed.err
    metrics = metrics_of(out)
    assert metrics["recall"] == 0 and metrics["body_mve_mm"] is None
    assert "No submission" in printed.out and "| 0.00 | 0.00 |" in printed.out


@pytest.mark.parametrize("wrong", [("--batch", "0"), ("--limit", "-1"), ("--threshold", "0.01")])
def test_impossible_options_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        main(["synthetic", *wrong])
    assert wrong[1] in capsys.readouterr().err


def test_missing_gendered_body_is_named(tmp_path, licensed, body, monkeypatch):
    monkeypatch.setattr(
        "training.evaluation.bodies.find_body_file", lambda _: tmp_path / "none.npz"
    )
    with pytest.raises(LicensedFileError, match="SMPLX_MALE.npz.*smpl-x.is.tue.mpg.de"):
        Bodies(body, licensed).pose({"betas": np.zeros((1, 10), np.float32)}, np.array([MALE]))
