"""Matching, losses and denoising reproduce numbers recorded from the released program."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from aios.geometry.boxes import inverse_sigmoid
from aios.geometry.rotations import axis_angle_to_rotmat
from aios.network.config import AiOSConfig
from aios.network.person_attention import PersonAttention
from aios.network.queries import LOCATE, REFINE_BODY, REFINE_WHOLE_BODY, layer_layouts
from tests.helpers.reference_losses import (
    CASES,
    FOCAL_PX,
    IMAGES,
    LAYERS,
    OUTPUTS,
    ROWS,
    SHORT,
    RecordedBody,
    build_batch,
    build_targets,
    concatenated,
    denoise,
    image_index,
    local_joints,
    matched_targets,
    points,
    proposals_and_layers,
    read_output,
    recorded_masks,
    recording,
    slots,
    tensor,
)
from training.joints import SCORED_JOINTS
from training.losses.box_overlap import box_giou
from training.losses.criterion import Criterion
from training.losses.denoising import DenoisingTargets
from training.losses.focal_loss import sigmoid_focal_loss
from training.losses.keypoint_similarity import any_visible, object_keypoint_similarity
from training.losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS
from training.losses.matcher import MATCHING, Matcher, MatchingConfig, cost_matrix, match
from training.losses.projection import project_joints
from training.losses.validity import PARTS
from training.targets import BODY_KEYPOINTS

RELATIVE = 1e-5


def assert_near(ours, expected, what):
    """Within 1e-5 of each number, or of their mean magnitude if a number is smaller."""
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    assert ours.shape == expected.shape, what
    if not expected.size:
        return
    allowed = RELATIVE * np.maximum(np.abs(expected), np.abs(expected).mean())
    assert (np.abs(ours - expected) <= allowed).all(), f"{what}: {ours} instead of {expected}"


@pytest.fixture
def scored_rows(monkeypatch):
    """Score both eyes of the face at the joints where `slots` puts them."""
    for part, rows in ROWS.items():
        monkeypatch.setitem(SCORED_JOINTS, part, tuple(slots()[rows]))


def run_criterion(penultimate_factor, change=lambda targets: targets):
    """Weighted losses; terms relative to part roots use the second recorded 3D target."""
    rules = replace(
        LOSS_RULES["released"],
        penultimate_factor=penultimate_factor,
        # The recording is one process that holds all images.
        images_per_process=len(IMAGES),
    )
    matcher, body = Matcher(MATCHING["released"]), RecordedBody()
    criterion = Criterion(LOSS_WEIGHTS["released"], rules, body, recorded_masks)
    denoising = DenoisingTargets(
        tensor("in/layer0/dn_bbox_input"), tensor("in/layer0/dn_class_input") == 1
    )
    losses = []
    for joints in (concatenated("data_batch", "joint_cam"), local_joints()):
        batch = build_batch(change(build_targets(joints)))
        output = read_output()
        losses.append(criterion(output, matcher(output, batch), batch, denoising))
    first, second = losses
    return {name: float((second if "_local" in name else first)[name]) for name in first}


# Losses and matching

RECORDED_NAME = {
    "class": "loss_ce",
    "box": "loss_body_bbox",
    "giou": "loss_body_giou",
    "keypoints": "loss_keypoints",
    "oks": "loss_oks",
    "root": "loss_smpl_pose_root",
    "body": "loss_smpl_pose_body",
    "left_hand_pose": "loss_smpl_pose_lhand",
    "right_hand_pose": "loss_smpl_pose_rhand",
    "jaw": "loss_smpl_pose_jaw",
    "betas": "loss_smpl_beta",
    "expression": "loss_smpl_expr",
    "denoising_class": "dn_loss_ce",
    "denoising_box": "dn_loss_bbox",
    "denoising_giou": "dn_loss_giou",
}
for _part, _short in (SHORT | {"body": "body"}).items():
    for _term, _name in (("3d", "kp3d"), ("3d_local", "kp3d_ra"), ("2d", "kp2d")):
        RECORDED_NAME[f"{_part}_joints_{_term}"] = f"loss_smpl_{_short}_{_name}"
    if _part in SHORT:
        RECORDED_NAME[f"{_part}_boxes"] = f"loss_{_short}_bbox"
        for _term in ("giou", "keypoints", "oks"):
            RECORDED_NAME[f"{_part}_{_term}"] = f"loss_{_short}_{_term}"
LOGGED_ONLY = r"class_error|set_(class|bbox|giou|keypoints)(_\d|_interm)?$"


def their_name(name):
    term = re.sub(r"_(\d|proposals)$", "", name)
    return RECORDED_NAME[term] + name[len(term) :].replace("_proposals", "_interm")


def corrected(name, value, valid):
    """The recorded number without two errors of the released program, which we do not repeat.

    It divides the keypoints of the face by the people whose *left hand* is visible and face valid,
    and the jaw by 1 instead of the number of people with a valid jaw.
    """
    if re.match(r"loss_face_(keypoints|oks)", name):
        boxed = concatenated("data_batch", "face_bbox_valid")[:, None] * valid
        numbers = [
            float((points(concatenated("targets", f"{short}_keypoints"))[1] * boxed).any(1).sum())
            for short in ("lhand", "face")
        ]
        return value * numbers[0] / max(numbers[1], 1.0)
    if name.startswith("loss_smpl_pose_jaw"):
        jaws = float((concatenated("data_batch", "smplx_pose_valid")[:, 52] * valid > 0).sum())
        return value / max(jaws, 1.0)
    return value


def recorded_losses(folder, valid=1.0):
    """Corrected and weighted losses, without those that are only logged or always 0."""
    rec = recording()
    weights = dict(zip(rec["weights/names"].tolist(), rec["weights/values"], strict=True))
    losses = {}
    for path in rec.names(f"{folder}/"):
        name = path.removeprefix(f"{folder}/")
        if is_multiplied_by_zero(name):
            assert float(rec[path]) == 0.0, name
        elif not re.match(LOGGED_ONLY, name):
            losses[name] = weights[name] * corrected(name, float(rec[path]), valid)
    return losses


def is_multiplied_by_zero(name):
    """Hands and face at layers without them, which the released program multiplies by 0."""
    layer = re.search(r"_(\d)$", name)
    if not layer or layer_layouts(AiOSConfig())[int(layer[1])] is not REFINE_BODY:
        return False
    part = r"loss_smpl_(pose_(lhand|rhand|jaw)|expr|(lhand|rhand|face)_kp)"
    return bool(re.match(part, name))


def assert_same_losses(ours, expected):
    ours = {their_name(name): value for name, value in ours.items()}
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=RELATIVE, abs=1e-12), name


def test_every_loss(scored_rows):
    ours = run_criterion(penultimate_factor=1.0)
    expected = recorded_losses("out/loss")
    assert len(expected) > 100
    assert_same_losses(ours, expected)


@pytest.mark.parametrize(
    ("total", "penultimate_factor"), [("total_weighted", 1.0), ("total_weighted_engine", None)]
)
def test_both_totals(scored_rows, total, penultimate_factor):
    """The second total has the factor on some parts at the layer before the last."""
    if penultimate_factor is None:
        penultimate_factor = LOSS_RULES["released"].penultimate_factor
    rec = recording()
    weights = dict(zip(rec["weights/names"].tolist(), rec["weights/values"], strict=True))
    corrections = sum(
        weight_of_correction - weights[name] * float(rec[f"out/loss/{name}"])
        for name, weight_of_correction in recorded_losses("out/loss").items()
    )
    ours = sum(run_criterion(penultimate_factor).values())
    assert ours == pytest.approx(float(rec[f"out/{total}"]) + corrections, rel=RELATIVE)


def test_every_loss_with_only_boxes_and_2d_joints_valid(scored_rows):
    def invalidate(targets):
        no = torch.zeros_like(targets.box_valid)
        names = ("smplx_valid", "joints_3d_valid", *(f"{part}_box_valid" for part in PARTS))
        return replace(targets, **dict.fromkeys(names, no))

    ours = run_criterion(1.0, invalidate)
    assert_same_losses(ours, recorded_losses("out/loss_nothing_valid", valid=0.0))


def test_matching_and_its_costs():
    config, targets = MATCHING["released"], (matched_targets(), image_index())
    outputs = proposals_and_layers()
    first = torch.searchsorted(image_index(), torch.arange(len(IMAGES)))
    found = match(list(outputs.values()), *targets, config)
    for (name, output), pairs in zip(outputs.items(), found, strict=True):
        matrix = cost_matrix(output, *targets, config)
        for i in IMAGES:
            start, own = f"out/matcher/{name}/{i}/", pairs.image_index == i
            people = pairs.person_index[own] - first[i]
            ours = set(zip(pairs.query_index[own].tolist(), people.tolist(), strict=True))
            theirs = [recording()[start + side].tolist() for side in ("src", "tgt")]
            assert ours == set(zip(*theirs, strict=True)), start
            cost = matrix[image_index() == i].T
            assert_near(cost, recording()[f"{start}cost"], start)


@pytest.mark.parametrize("output", OUTPUTS)
def test_logged_means_of_the_terms_of_the_cost(output):
    """Logged over all pairs of a query and a person, also of different images."""
    off = MatchingConfig(0.0, 0.0, 0.0, 0.0, 0.0)
    predicted, targets = proposals_and_layers()[output], matched_targets()
    terms = {"class": "class_", "bbox": "box", "giou": "giou", "keypoints": "keypoints"}
    suffix = output.replace("layer", "_").replace("interm", "_interm")
    suffix = "" if suffix == f"_{len(LAYERS) - 1}" else suffix
    for theirs, field in terms.items():
        config = replace(off, **{field: 1.0})
        blocks = [
            cost_matrix(predicted, targets, torch.full_like(image_index(), i), config)
            for i in IMAGES
        ]
        ours = torch.stack(blocks).mean()
        assert_near(ours, recording()[f"out/matcher/{output}/mean_{theirs}"], theirs)
        assert_near(ours, recording()[f"out/loss/set_{theirs}{suffix}"], theirs)


def test_logged_class_error():
    last = proposals_and_layers()[OUTPUTS[-2]]
    (pairs,) = match([last], matched_targets(), image_index(), MATCHING["released"])
    logits = tensor(f"in/{OUTPUTS[-2]}/pred_logits")[pairs.image_index, pairs.query_index]
    wrong = (logits.argmax(-1) != 1).float().mean() * 100
    assert_near(wrong, recording()["out/loss/class_error"], "class_error")


# Single functions


def test_focal_loss():
    loss = sigmoid_focal_loss(tensor("piece/focal/logits"), tensor("piece/focal/targets"))
    divided = loss.sum() / float(recording()["piece/focal/num_boxes"])
    assert_near(divided, recording()["piece/focal/out_times_nq"], "focal")


def test_giou():
    first, second = tensor("piece/giou/a_cxcywh"), tensor("piece/giou/b_cxcywh")
    assert_near(box_giou(first[:, None], second[None]), recording()["piece/giou/out"], "giou")


@pytest.mark.parametrize("kind", ["oks17", "oks6"])
def test_oks(kind):
    start = f"piece/{kind}/"
    predicted, expected = (tensor(start + side).unflatten(-1, (-1, 2)) for side in ("pred", "gt"))
    visible, areas = tensor(f"{start}vis"), tensor(f"{start}area")
    sigmas = tuple(recording()[f"{start}sigmas"].tolist())
    oks = object_keypoint_similarity(predicted, expected, visible, areas, sigmas)
    assert_near(oks, recording()[f"{start}oks"], kind)
    assert_near((1 - oks) * any_visible(visible), recording()[f"{start}loss"], kind)


def test_projection():
    points_3d, camera = tensor("piece/project/points"), tensor("piece/project/cam_s_tx_ty")
    centre = tensor("piece/project/center")
    sizes_hw = 2 * centre.flip(-1)
    ours = project_joints(points_3d, camera, FOCAL_PX, sizes_hw, None) * 2 * centre[:, None]
    assert_near(ours, recording()["piece/project/out"], "projection")


def test_rotations_of_targets():
    ours = axis_angle_to_rotmat(tensor("piece/rodrigues/in"))
    assert_near(ours, recording()["piece/rodrigues/out"], "rodrigues")


def test_scored_joints_are_those_of_the_released_program():
    order = [joint for part in ROWS for joint in SCORED_JOINTS[part]]
    assert order == recording()["conv/smplx_137_from_144"].tolist()
    coco = recording()["conv/smplx_137_from_144"][recording()["conv/137_to_coco/src"]]
    assert coco.tolist() == list(BODY_KEYPOINTS)


# Denoising


@pytest.mark.parametrize("case", CASES)
def test_denoising_queries(case):
    prefix, expected = denoise(case)
    rec = recording()
    assert torch.equal(expected.boxes, tensor(f"dn/{case}/known_boxes"))
    assert torch.equal(expected.is_person, tensor(f"dn/{case}/known_labels") == 1)
    assert prefix.content[..., 0].long().tolist() == rec[f"dn/{case}/noised_labels"].tolist()
    logits = inverse_sigmoid(prefix.boxes)
    assert_near(logits, rec[f"dn/{case}/noised_boxes_logit"], case)


def blocked_in_network(layout, people, blocked):
    """(B, S, S) bool: pairs that the network's self-attention blocks.

    All attention scores are equal and token k holds the k-th unit vector, so row i of the output
    shows the tokens that it attends to.
    """
    size = blocked.shape[1] + people * layout.num_tokens
    attention = PersonAttention(size, 1)
    identity = torch.eye(size)
    with torch.no_grad():
        attention.in_proj_weight.zero_()
        attention.in_proj_weight[2 * size :] = identity
        attention.in_proj_bias.zero_()
        attention.out_proj.weight.copy_(identity)
        attention.out_proj.bias.zero_()
        tokens = identity.expand(len(blocked), size, size)
        given = blocked if blocked.shape[1] else None
        return attention(tokens, torch.zeros_like(tokens), layout, given) < 0.5 / size


LAYOUTS = {"mask1": LOCATE, "mask2": REFINE_BODY, "mask3": REFINE_WHOLE_BODY}
MASKS = sorted(name for name in recording().names("dn/") if name.split("/")[-1] in LAYOUTS)


@pytest.mark.parametrize("name", MASKS)
def test_attention_masks(name):
    """Masks of training, and of the network without denoising queries ("eval")."""
    _, case, mask = name.split("/")
    expected, layout = tensor(name), LAYOUTS[mask]
    blocked = torch.zeros(len(expected), 0, 0, dtype=torch.bool)
    if case in CASES:
        blocked = denoise(case)[0].blocked
    people = (expected.shape[1] - blocked.shape[1]) // layout.num_tokens
    assert torch.equal(blocked_in_network(layout, people, blocked), expected)
