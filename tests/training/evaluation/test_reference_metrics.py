"""Metrics against recorded outputs of the public evaluation programs.

The recording is `metrics/metrics_fixture.npz`; the tests assume neither its sizes nor its values.
"""

import re

import numpy as np
import pytest

from tests.helpers.reference import reference_folder
from training.evaluation.metrics import (
    AGORA,
    AGORA_SMPL,
    BodyParts,
    PredictedPeople,
    Records,
    TruePeople,
    measure_image,
    outcome,
    summarise,
)
from training.evaluation.metrics.alignment import fit_similarity, procrustes
from training.evaluation.metrics.errors import vertex_errors
from training.evaluation.metrics.matching import match_people

TOLERANCE = 1e-6
PARTS = {"body": "body", "lhand": "left_hand", "rhand": "right_hand", "face": "face"}
HANDS = ("hand", "l_hand", "r_hand")


@pytest.fixture(scope="module")
def recording():
    return dict(np.load(reference_folder("metrics") / "metrics_fixture.npz"))


@pytest.fixture(scope="module")
def compared(recording):
    """Names of the compared outputs; at the end all outputs must be among them."""
    names = set()
    yield names
    pattern = r"(agora|mesh)/out/[^#]*$|agora/pa/.*/(\w+_hat|scale|R|trans)$"
    outputs = {name for name in recording if re.match(pattern, name)}
    assert names >= outputs, f"never compared: {sorted(outputs - names)}"


@pytest.fixture
def check(recording, compared):
    def compare(name, ours):
        wanted = np.asarray(recording[name], np.float64)
        ours = np.asarray(ours, np.float64)
        if f"{name}#stride" in recording:
            assert ours.shape == tuple(recording[f"{name}#shape"]), name
            ours = ours.reshape(-1)[:: int(recording[f"{name}#stride"])]
        assert ours.shape == wanted.shape, name
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-12)
        np.testing.assert_allclose(ours, wanted, TOLERANCE, TOLERANCE * scale * 1e-3, err_msg=name)
        compared.add(name)

    return compare


def images_of(recording):
    found = {m[1] for name in recording if (m := re.match(r"agora/in/img(\d+)/", name))}
    return sorted(found, key=int)


def agora_parts(recording):
    lists = {
        name: recording[f"agora/in/vertex_idx/{name}"]
        for name in ("body", "face", "left_hand", "right_hand")
    }
    none = np.zeros((0, 0))
    return BodyParts(
        **lists,
        joint_regressor=none,
        j14_regressor=none,
        left_hand_regressor=none,
        right_hand_regressor=none,
    )


def recorded_image(recording, index):
    """Name, predictions and ground truth of a recorded image."""

    def given(name):
        return recording[f"agora/in/img{index}/{name}"]

    predicted = PredictedPeople.empty()
    if given("pred_joints").ndim == 3:
        count = len(given("pred_joints"))
        predicted = PredictedPeople(
            np.ones(count), given("pred_joints"), given("pred_joints3d"), given("pred_verts")
        )
    true = TruePeople.from_arrays(
        given("gt_joints_2d"),
        given("gt_joints_3d"),
        given("gt_verts"),
        {"occlusion": given("occlusion"), "kid": given("kid")},
    )
    return str(given("name")), predicted, true


def records_of(recording, protocol):
    parts = agora_parts(recording)
    records = Records(protocol)
    for index in images_of(recording):
        records.add(measure_image(*recorded_image(recording, index), protocol, parts))
    return records


def test_agora_matching(recording, compared):
    """The pairs, in order, and the unmatched predictions and people.

    The recorded list has invalid people once or twice, which does not affect the metrics.
    """
    for index in images_of(recording):
        name = f"agora/out/img{index}/matching"
        wanted = recording[name].tolist()
        label, predicted, true = recorded_image(recording, index)
        record = measure_image(label, predicted, true, AGORA, agora_parts(recording))
        ours = match_people(record.cost, record.iou, record.valid, "official")
        pairs = ours.pairs.tolist()
        assert pairs == [row for row in wanted if min(row) >= 0], name
        left = set(range(len(true))) - {person for _, person in pairs}
        rest = {(p, -3) for p in ours.false_positives.tolist()}
        rest |= {(-1 if true.valid[person] else -2, person) for person in left}
        assert rest == {tuple(row) for row in wanted if min(row) < 0}, name
        compared.add(name)


def test_agora_errors_of_people(recording, check):
    records = records_of(recording, AGORA)
    result = outcome(records, 0.5, "official")
    for index in images_of(recording):
        label, _, true = recorded_image(recording, index)
        row_of_image = result.images.index(label)
        rows = np.flatnonzero(result.image_index == row_of_image)
        missed = np.ones(len(true))
        missed[result.person[rows]] = result.prediction[rows] < 0
        check(f"agora/out/img{index}/miss_flag", missed)
        check(f"agora/out/img{index}/falsePositives", result.num_false_positives[row_of_image])
        for theirs, part in PARTS.items():
            for kind in ("MPJPE", "MVE"):
                errors = np.zeros(len(true))
                errors[result.person[rows]] = np.nan_to_num(
                    result.errors[f"{part}_{kind.lower()}"][rows]
                )
                check(f"agora/out/img{index}/{theirs}-{kind}", errors)


def our_name(name):
    """Our name of a metric of the AGORA program, e.g. of kid-lhand-MPJPE."""
    *kid, part, kind = re.fullmatch(r"(?:(kid)-)?(\w+)-(\w+)", name).groups()
    part = {**PARTS, "fullbody": ""}[part]
    return "_".join([w for w in (*kid, part, kind.lower(), "mm") if w])


@pytest.mark.parametrize("table", ["smplx_bfh", "smplx_all", "smpl_all"])
def test_agora_tables(recording, check, table):
    records = records_of(recording, AGORA_SMPL if table.startswith("smpl_") else AGORA)
    if table.endswith("bfh"):
        records = records.only(lambda name: any(word in name for word in ("bfh", "smplx")))
    ours = summarise(records, 0.5)["official"]
    for name in recording:
        if name.startswith(f"agora/out/{table}/"):
            metric = name.rsplit("/", 1)[1]
            check(name, ours[our_name(metric) if "-" in metric else metric])


@pytest.mark.parametrize("case", ["generic", "reflected"])
def test_agora_similarity(recording, check, case):
    def given(name):
        return recording[f"agora/pa/{case}/{name}"]

    fitted = int(given("num_joints"))
    similarity = fit_similarity(given("S1")[:fitted], given("S2")[:fitted])
    check(f"agora/pa/{case}/scale", similarity.scale)
    check(f"agora/pa/{case}/R", similarity.rotation)
    check(f"agora/pa/{case}/trans", similarity.translation[:, None])
    check(f"agora/pa/{case}/S1_hat", similarity(given("S1")))
    check(f"agora/pa/{case}/verts_hat", similarity(given("verts")))


def mesh_parts(recording):
    def given(name):
        return recording[f"mesh/in/{name}"]

    rows = given("rows_pelvis_lwrist_rwrist_neck")
    assert rows.tolist() == [0, 20, 21, 12]
    return BodyParts(
        body=np.zeros(0, np.int64),
        left_hand=given("lhand_vertex_idx"),
        right_hand=given("rhand_vertex_idx"),
        face=given("face_vertex_idx"),
        joint_regressor=given("J_regressor"),
        j14_regressor=given("j14_regressor"),
        left_hand_regressor=given("lhand_joint_regressor"),
        right_hand_regressor=given("rhand_joint_regressor"),
    )


def under_their_names(errors):
    """Errors in mm under the names of the SMPLer-X evaluation."""
    theirs = {}
    for ours, values in errors.items():
        kind, part = re.fullmatch(r"(pve|pa_pve|pa_mpjpe)_(\w+)", ours).groups()
        kind = kind.replace("pve", "mpvpe")
        part = part.replace("left_hand", "l_hand").replace("right_hand", "r_hand")
        theirs[f"{kind}_{part}"] = 1000 * values
    for kind in ("mpvpe", "pa_mpvpe", "pa_mpjpe"):
        theirs[f"{kind}_hand"] = (theirs[f"{kind}_l_hand"] + theirs[f"{kind}_r_hand"]) / 2
    return theirs


def outputs(recording, program):
    prefix = f"mesh/out/{program}/"
    return {name[len(prefix) :]: name for name in recording if name.startswith(prefix)}


@pytest.mark.parametrize("program", ["smplerx_ehf", "aios_arctic_one_person_per_image"])
def test_vertex_errors(recording, check, program):
    errors = vertex_errors(
        recording["mesh/in/pred"], recording["mesh/in/gt"], mesh_parts(recording)
    )
    ours = under_their_names(errors)
    assert outputs(recording, program)
    for metric, name in outputs(recording, program).items():
        check(name, ours[metric])


def test_mean_over_people_of_one_image(recording, check):
    errors = vertex_errors(
        recording["mesh/in/pred"], recording["mesh/in/gt"], mesh_parts(recording)
    )
    ours = under_their_names(errors)
    for metric, name in outputs(recording, "aios_arctic_all_in_one_image").items():
        check(name, ours[metric].mean(keepdims=True))


def ubody_visible(recording):
    """Visibility test of true points with the recorded camera."""
    fx, fy, cx, cy, body_h, body_w, input_h, input_w = recording["mesh/in/ubody_camera"]
    moved, to_photo = recording["mesh/in/ubody_cam_trans"], recording["mesh/in/ubody_bb2img"]
    height, width = recording["mesh/in/ubody_img_hw"]

    def visible(points):
        at = points + moved[:, None]
        depth = at[..., 2] + 1e-4
        x = (fx * at[..., 0] / depth + cx) / body_w * input_w
        y = (fy * at[..., 1] / depth + cy) / body_h * input_h
        pixels = np.stack([x, y, np.ones_like(x)], -1) @ to_photo.transpose(0, 2, 1)
        return ((pixels >= 0) & (pixels < [width, height])).all(-1)

    return visible


def test_vertex_errors_inside_the_image(recording, check):
    visible = ubody_visible(recording)
    check("mesh/out/smplerx_ubody/gt_vertex_inside", visible(recording["mesh/in/gt"]))
    errors = vertex_errors(
        recording["mesh/in/pred"], recording["mesh/in/gt"], mesh_parts(recording), visible
    )
    ours = under_their_names(errors)
    for metric, name in outputs(recording, "smplerx_ubody").items():
        if metric != "gt_vertex_inside":
            check(name, ours[metric])


def test_rigid_alignment(recording, check):
    check(
        "mesh/out/smplerx_rigid_align",
        procrustes(recording["mesh/in/pred"], recording["mesh/in/gt"]),
    )
