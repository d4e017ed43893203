"""Which loss is where: perfect answers cost nothing, hidden things teach nothing."""

from dataclasses import fields, replace

import pytest
import torch

from aios.body_model import BodyModel
from aios.model import AiOS
from aios.outputs import AiOSOutput, LayerOutput, SmplxOutput
from aios.rotations import axis_angle_to_rotmat
from training.config import TINY_MODEL
from training.criterion import Criterion
from training.denoising import Denoising, DenoisingConfig, disturb_boxes
from training.dense import DenseHead, assign_tokens, dense_terms, token_grid
from training.matcher import MatchCosts
from training.projection import fit_weak_camera, project_joints
from training.targets import BODY_KEYPOINTS, Targets
from training.weights import LossWeights

from .training_samples import FOCAL_PX, SIZE_HW, random_batch, random_targets


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return AiOS(TINY_MODEL)


def perfect_layer(batch, slots=4):
    """A last layer that says exactly what is true; person k of a picture sits in slot k."""
    targets, size = batch.targets, len(batch)
    places, seen = [], {}
    for image in batch.image_index.tolist():
        places.append((image, seen.setdefault(image, 0)))
        seen[image] += 1
    image, slot = (torch.tensor(column, dtype=torch.int64) for column in zip(*places, strict=True))

    def fill(values, blank):
        full = blank.expand(size, slots, *values.shape[1:]).clone()
        full[image, slot] = values
        return full

    eye = torch.eye(3)

    def rotations(values):
        return fill(axis_angle_to_rotmat(values.unflatten(-1, (-1, 3))), eye)

    camera, told = fit_weak_camera(targets, batch.focal_length, batch.sizes_hw[batch.image_index])
    assert bool(told.all())
    logits = torch.full((size, slots, 2), -12.0)
    logits[image, slot, 1] = 12.0
    box = torch.tensor([0.5, 0.5, 0.1, 0.1])
    zero = torch.zeros(())
    whole = torch.cat([targets.global_orient, targets.body_pose], -1)
    return LayerOutput(
        stage="refine_whole_body",
        class_logits=logits,
        boxes=fill(targets.boxes, box),
        left_hand_boxes=fill(targets.left_hand_boxes, box),
        right_hand_boxes=fill(targets.right_hand_boxes, box),
        face_boxes=fill(targets.face_boxes, box),
        keypoints_2d=fill(targets.keypoints_2d, zero),
        left_hand_keypoints_2d=fill(targets.left_hand_keypoints_2d, zero),
        right_hand_keypoints_2d=fill(targets.right_hand_keypoints_2d, zero),
        face_keypoints_2d=fill(targets.face_keypoints_2d, zero),
        smplx=SmplxOutput(
            body_rotmat=rotations(whole),
            left_hand_rotmat=rotations(targets.left_hand_pose),
            right_hand_rotmat=rotations(targets.right_hand_pose),
            jaw_rotmat=rotations(targets.jaw_pose),
            betas=fill(targets.betas, zero),
            expression=fill(targets.expression, zero),
            weak_camera=fill(camera, torch.tensor(0.1)),
        ),
    )


def output_of(layer):
    return AiOSOutput(final=layer, proposals=None, selected_queries=None, encoded=None)


def test_the_truth_costs_nothing(body):
    batch = random_batch(body)
    criterion = Criterion(LossWeights(), MatchCosts(), body)
    losses = criterion(output_of(perfect_layer(batch)), batch)
    wanted = {f.name for f in fields(LossWeights)}
    taught = {"root", "body", "left_hand_pose", "body_joints_3d", "camera", "left_hand_keypoints"}
    assert taught <= set(losses)
    assert {"dense_class", "denoising_box"} <= wanted
    for name, value in losses.items():
        assert float(value) < 2e-3, name


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"global_orient": [0.3, 0.0, 0.0]}, {"root", "body_joints_3d", "body_joints_2d"}),
        ({"jaw_pose": [0.3, 0.0, 0.0]}, {"jaw"}),
        ({"keypoints_2d": [0.1, 0.0]}, {"keypoints", "oks"}),
        ({"face_boxes": [0.1, 0.0, 0.0, 0.0]}, {"face_boxes", "face_giou"}),
    ],
)
def test_every_error_is_blamed_on_its_own_terms(body, change, blamed):
    batch = random_batch(body)
    layer = perfect_layer(batch)
    criterion = Criterion(LossWeights(oks=1.0), MatchCosts(), body)
    (name, shift), *_ = change.items()
    moved = getattr(batch.targets, name) + torch.tensor(shift)
    wrong = replace(batch, targets=replace(batch.targets, **{name: moved}))
    before = criterion(output_of(layer), batch)
    after = criterion(output_of(layer), wrong)
    grown = {k for k in before if float(after[k]) > float(before[k]) + 1e-3}
    assert grown <= blamed | {"camera"}
    assert grown & blamed


def test_what_is_not_annotated_teaches_nothing(body):
    """Only boxes and visible keypoints are known: nothing else may have a gradient."""
    batch = random_batch(body, (2,))
    known = ("boxes", "box_valid", "keypoints_2d", "keypoints_visible")
    unknown = replace(
        Targets.unannotated(2), **{name: getattr(batch.targets, name) for name in known}
    )
    layer = perfect_layer(batch)
    smplx = {f.name: torch.randn_like(getattr(layer.smplx, f.name)) for f in fields(SmplxOutput)}
    smplx["body_rotmat"] = layer.smplx.body_rotmat
    for value in smplx.values():
        value.requires_grad_()
    boxes = layer.left_hand_boxes.clone().requires_grad_()
    layer = replace(layer, left_hand_boxes=boxes, smplx=SmplxOutput(**smplx))
    weights = LossWeights(body_joints_2d=0.0)
    losses = Criterion(weights, MatchCosts(), body)(
        output_of(layer), replace(batch, targets=unknown)
    )
    torch.stack(list(losses.values())).sum().backward()
    for name, value in (*smplx.items(), ("left_hand_boxes", boxes)):
        assert value.grad is None or not bool(value.grad.any()), name


def test_unannotated_people_are_no_false_positives(body):
    batch = random_batch(body, (1,))
    layer = perfect_layer(batch)
    logits = layer.class_logits.clone()
    logits[0, 3, 1] = 3.0
    far = torch.tensor([0.02, 0.02, 0.02, 0.02])
    boxes = layer.boxes.clone()
    boxes[0, 3] = far
    layer = replace(layer, class_logits=logits, boxes=boxes)
    criterion = Criterion(LossWeights(unannotated_negative=0.25), MatchCosts(), body)
    strict = criterion(output_of(layer), batch)["class"]
    lenient = criterion(output_of(layer), replace(batch, ignore_unmatched=torch.tensor([True])))[
        "class"
    ]
    assert float(lenient) == pytest.approx(0.25 * float(strict), rel=1e-3)


def test_a_person_whom_no_slot_covers_teaches_no_slot_elsewhere(body):
    batch = random_batch(body, (1,))
    layer = perfect_layer(batch)
    away = replace(layer, boxes=torch.full_like(layer.boxes, 0.02).requires_grad_())
    strict = Criterion(LossWeights(least_overlap=0.1), MatchCosts(), body)
    losses = strict(output_of(away), batch)
    for name in ("body_joints_3d", "keypoints", "root", "box"):
        assert float(losses[name].detach()) == 0.0
    lenient = Criterion(LossWeights(least_overlap=0.0), MatchCosts(), body)
    assert float(lenient(output_of(away), batch)["box"].detach()) > 1.0


def test_nobody_anywhere(body, network):
    batch = random_batch(body, (0, 0))
    output = network(batch.images(TINY_MODEL.image), aux_outputs=True)
    losses = Criterion(LossWeights(), MatchCosts(), body)(output, batch)
    head = DenseHead(TINY_MODEL.hidden_dim)
    losses |= dense_terms(
        output.encoded, output.proposals, batch, head, 4, TINY_MODEL.proposal_size, 0.5
    )
    total = torch.stack(list(losses.values())).sum()
    assert bool(torch.isfinite(total))
    total.backward()


def test_every_learnable_tensor_gets_a_finite_gradient(body):
    torch.manual_seed(0)
    network = AiOS(TINY_MODEL)
    for head in network.modules():
        last = getattr(head, "last", None)
        if last is not None:
            torch.nn.init.normal_(last.weight, std=0.02)
    batch = random_batch(body)
    denoising = Denoising(TINY_MODEL.hidden_dim, DenoisingConfig(queries=6))
    head = DenseHead(TINY_MODEL.hidden_dim)
    prefix, wanted = denoising(batch)
    output = network(batch.images(TINY_MODEL.image), prefix, aux_outputs=True)
    losses = Criterion(LossWeights(), MatchCosts(), body)(output, batch, wanted)
    losses |= dense_terms(
        output.encoded, output.proposals, batch, head, 4, TINY_MODEL.proposal_size, 0.5
    )
    torch.stack(list(losses.values())).sum().backward()
    # Sizes of points only place the next layer's references, which carry no gradient; the hands
    # and the expression of stage refine_body pose nothing.
    unused = ("joint_size", "point_size", "1.smplx.hand_pose", "1.smplx.expression")
    for name, parameter in network.named_parameters():
        if any(part in name for part in unused):
            continue
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_camera_fit_sees_the_joints_where_they_are(body):
    targets = random_targets(body, 4)
    sizes_hw = torch.tensor([SIZE_HW]).expand(4, 2)
    camera, told = fit_weak_camera(targets, FOCAL_PX, sizes_hw)
    assert bool((told == 1).all())
    without = targets.joints_3d - targets.transl[:, None]
    projected = project_joints(without, camera, FOCAL_PX, sizes_hw, None)
    torch.testing.assert_close(projected, targets.joints_2d, atol=2e-3, rtol=0)
    torch.testing.assert_close(camera[:, 0], 1 / targets.transl[:, 2], atol=1e-3, rtol=0)
    keypoints = projected[:, list(BODY_KEYPOINTS)]
    torch.testing.assert_close(keypoints, targets.keypoints_2d, atol=2e-3, rtol=0)


def test_tokens_go_to_the_person_they_lie_in():
    grid = token_grid(((4, 6), (2, 3)), 0.15)
    assert grid.centres.shape == (30, 2)
    torch.testing.assert_close(grid.centres[0], torch.tensor([1 / 12, 1 / 8]))
    boxes = torch.tensor([[0.25, 0.5, 0.4, 0.8], [0.75, 0.5, 0.4, 0.8], [0.5, 0.5, 0.9, 0.9]])
    pairs = assign_tokens(grid, boxes, torch.tensor([0, 0, 1]), 3)
    taken = list(zip(pairs.image_index.tolist(), pairs.token_index.tolist(), strict=True))
    assert len(taken) == len(set(taken))
    for person, token in zip(pairs.person_index.tolist(), pairs.token_index.tolist(), strict=True):
        gap = (grid.centres[token] - boxes[person, :2]).abs()
        assert bool((gap <= boxes[person, 2:] / 2).all())


def test_denoising_groups_and_noise(body):
    batch = random_batch(body, (2, 0))
    denoising = Denoising(8, DenoisingConfig(queries=5))
    prefix, wanted = denoising(batch)
    assert prefix.content.shape == (2, 5, 8)
    assert wanted.is_person.tolist() == [[True] * 5, [False] * 5]
    torch.testing.assert_close(wanted.boxes[0, 2:4], batch.targets.boxes)
    group = torch.tensor([0, 0, 1, 1, 2])
    assert torch.equal(prefix.blocked[0], group[:, None] != group[None])
    assert not bool(prefix.blocked[1].any())
    gap = (prefix.boxes[0] - wanted.boxes[0]).abs()
    size = wanted.boxes[0, :, 2:]
    assert bool((gap[:, :2] <= 0.2 * size + 1e-6).all() and (gap[:, 2:] <= 0.4 * size + 1e-6).all())


def test_disturbed_boxes_by_hand():
    box = torch.tensor([0.5, 0.5, 0.2, 0.4])
    moved = disturb_boxes(box, torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.4)
    torch.testing.assert_close(moved, torch.tensor([0.54, 0.42, 0.28, 0.24]))
