"""Which loss terms exist at which layer, what they depend on and what they are divided by."""

from dataclasses import fields, replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.geometry.constants import constant_tensor
from aios.network.model import AiOS
from aios.network.outputs import SmplxOutput
from tests.helpers.training_outputs import (
    change_tensors,
    leaves,
    output_of,
    perfect_layer,
    random_output,
)
from tests.helpers.training_samples import random_batch
from training.config import TINY_MODEL
from training.losses.criterion import Criterion
from training.losses.denoising import Denoising, DenoisingConfig, DenoisingTargets
from training.losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS, LossWeights
from training.losses.matcher import MATCHING, Matcher
from training.losses.validity import Counts
from training.targets import Targets

RECIPES = tuple(LOSS_WEIGHTS)
EXTRA = 6


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


class Scorer:
    """Matcher and criterion of a recipe: network output and batch in, losses out."""

    def __init__(self, recipe, body_model, proposals=None, **changes):
        """`changes` are fields of `LossWeights` or `LossRules`."""
        names = {field.name for field in fields(LossWeights)}
        weights = {name: value for name, value in changes.items() if name in names}
        rules = {name: value for name, value in changes.items() if name not in names}
        matching = MATCHING[recipe]
        if proposals is not None:
            matching = replace(matching, proposals=proposals)
        self.matcher = Matcher(matching)
        self.criterion = Criterion(
            replace(LOSS_WEIGHTS[recipe], **weights),
            replace(LOSS_RULES[recipe], **rules),
            body_model,
        )

    def __call__(self, output, batch, denoising=None, **options):
        matches = self.matcher(output, batch)
        return self.criterion(output, matches, batch, denoising, **options)


def random_denoising_targets(batch):
    generator = torch.Generator().manual_seed(1)
    people = torch.bincount(batch.image_index, minlength=len(batch)) > 0
    boxes = torch.rand(len(batch), EXTRA, 4, generator=generator) * 0.4 + 0.3
    return DenoisingTargets(boxes, people[:, None].expand(-1, EXTRA))


def total_of(losses):
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("recipe", RECIPES)
def test_correct_predictions_have_no_loss(body, recipe):
    batch = random_batch(body)
    score = Scorer(recipe, body, proposals=False)
    losses = score(output_of(perfect_layer(batch)), batch)
    expected = {"root", "body", "left_hand_pose", "body_joints_3d", "left_hand_keypoints", "oks"}
    assert expected <= set(losses)
    for name, value in losses.items():
        assert float(value) < 2e-3, name


def test_scoring_in_inference_mode_does_not_affect_later_training(body):
    batch = random_batch(body, (1,))
    score = Scorer("released", body)
    constant_tensor.cache_clear()
    with torch.inference_mode():
        before = score(random_output(batch), batch)
    output, inputs = leaves(random_output(batch))
    after = total_of(score(output, batch))
    torch.testing.assert_close(after, total_of(before))
    assert any(g is not None for g in torch.autograd.grad(after, inputs, allow_unused=True))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"global_orient": [0.3, 0.0, 0.0]}, {"root", "body_joints_3d", "body_joints_2d"}),
        ({"jaw_pose": [0.3, 0.0, 0.0]}, {"jaw"}),
        ({"keypoints_2d": [0.1, 0.0]}, {"keypoints", "oks"}),
        ({"face_boxes": [0.1, 0.0, 0.0, 0.0]}, {"face_boxes", "face_giou"}),
    ],
)
def test_an_error_raises_only_its_own_terms(body, change, expected):
    batch = random_batch(body)
    layer = perfect_layer(batch)
    score = Scorer("builtin", body, oks=1.0)
    (name, shift), *_ = change.items()
    moved = getattr(batch.targets, name) + torch.tensor(shift)
    wrong = replace(batch, targets=replace(batch.targets, **{name: moved}))
    before = score(output_of(layer), batch)
    after = score(output_of(layer), wrong)
    raised = {k for k in before if float(after[k]) > float(before[k]) + 1e-3}
    assert raised <= expected | {"camera"}
    assert raised & expected


def test_missing_annotations_give_no_gradient(body):
    """Only boxes and visible keypoints are annotated."""
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
    score = Scorer("builtin", body, body_joints_2d=0.0)
    total_of(score(output_of(layer), replace(batch, targets=unknown))).backward()
    for name, value in (*smplx.items(), ("left_hand_boxes", boxes)):
        assert value.grad is None or not bool(value.grad.any()), name


@pytest.mark.parametrize("by_joints", [True, False])
def test_joints_train_the_shape_only_if_the_rules_allow(body, by_joints):
    batch = random_batch(body, (2,))
    layer = perfect_layer(batch)
    betas = (layer.smplx.betas + 0.3).requires_grad_()
    camera = layer.smplx.weak_camera.clone().requires_grad_()
    layer = replace(layer, smplx=replace(layer.smplx, betas=betas, weak_camera=camera))
    score = Scorer("builtin", body, betas=0.0, joints_train_shape=by_joints)
    losses = score(output_of(layer), batch)
    assert float(losses["body_joints_3d"].detach()) > 1e-3
    total_of(losses).backward()
    assert bool(camera.grad.any())
    assert (betas.grad is not None and bool(betas.grad.any())) == by_joints


def test_unmatched_queries_count_less_where_people_are_unannotated(body):
    batch = random_batch(body, (1,))
    layer = perfect_layer(batch)
    logits = layer.class_logits.clone()
    logits[0, 3, 1] = 3.0
    far = torch.tensor([0.02, 0.02, 0.02, 0.02])
    boxes = layer.boxes.clone()
    boxes[0, 3] = far
    layer = replace(layer, class_logits=logits, boxes=boxes)
    score = Scorer("builtin", body, unannotated_negative=0.25)
    strict = score(output_of(layer), batch)["class"]
    incomplete = replace(batch, ignore_unmatched=torch.tensor([True]))
    lenient = score(output_of(layer), incomplete)["class"]
    assert float(lenient) == pytest.approx(0.25 * float(strict), rel=1e-3)


def test_pairs_without_overlap_have_no_loss(body):
    batch = random_batch(body, (1,))
    layer = perfect_layer(batch)
    away = replace(layer, boxes=torch.full_like(layer.boxes, 0.02).requires_grad_())
    strict = Scorer("builtin", body, min_overlap=0.1)
    losses = strict(output_of(away), batch)
    for name in ("body_joints_3d", "keypoints", "root", "box"):
        assert float(losses[name].detach()) == 0.0
    lenient = Scorer("builtin", body, min_overlap=0.0)
    assert float(lenient(output_of(away), batch)["box"].detach()) > 1.0


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_weight_has_its_term(body, recipe):
    """Setting a positive weight to 0 removes a loss of the last layer."""
    batch = random_batch(body, (1,))
    output, denoising = random_output(batch, slots=2), random_denoising_targets(batch)
    names = set(Scorer(recipe, body)(output, batch, denoising))
    final = {name for name in names if not name[-1].isdigit() and "_proposals" not in name}
    for field in fields(LossWeights):
        weight = getattr(LOSS_WEIGHTS[recipe], field.name)
        if field.name.startswith(("dense_", "map_")):
            continue
        without = Scorer(recipe, body, **{field.name: 0.0})
        missing = names - set(without(output, batch, denoising))
        assert bool(missing & final) == bool(weight), field.name
    layers = {name.rsplit("_", 1)[-1] for name in names}
    assert ("proposals" in layers) == MATCHING[recipe].proposals


def test_layers_have_the_terms_of_their_stage(body):
    batch = random_batch(body, (2, 3))
    losses = Scorer("released", body)(random_output(batch), batch, random_denoising_targets(batch))
    of_layer = {
        layer: {name.removesuffix(f"_{layer}") for name in losses if name.endswith(f"_{layer}")}
        for layer in ("0", "1", "3", "proposals")
    }
    found = {"class", "box", "giou"}
    denoised = {"denoising_class", "denoising_box", "denoising_giou"}
    assert of_layer["proposals"] == found
    assert of_layer["0"] == found | denoised
    parts = {f"{p}_{t}" for p in ("left_hand", "right_hand", "face") for t in ("boxes", "giou")}
    posed = {"root", "body", "betas", "body_joints_3d", "body_joints_3d_local", "body_joints_2d"}
    assert of_layer["1"] == found | denoised | parts | posed | {"keypoints", "oks"}
    assert of_layer["1"] < of_layer["3"]
    final = {name for name in losses if not name[-1].isdigit() and "_proposals" not in name}
    assert of_layer["3"] == final
    paper = Scorer("paper", body)(random_output(batch), batch)
    assert "betas" in paper and "betas_1" not in paper and "betas_1" in losses


def test_part_joints_count_less_at_the_layer_before_the_last(body):
    batch = random_batch(body, (2, 3))
    full = Scorer("released", body, penultimate_factor=1.0)(random_output(batch), batch)
    less = Scorer("released", body)(random_output(batch), batch)
    changed = {name for name in full if float(full[name]) != pytest.approx(float(less[name]))}
    parts = {f"{p}_joints_3d_3" for p in ("left_hand", "right_hand", "face")}
    assert changed == parts | {"left_hand_joints_2d_3", "right_hand_joints_2d_3"}
    for name in changed:
        assert float(less[name]) == pytest.approx(0.1 * float(full[name]))


@pytest.mark.parametrize("recipe", RECIPES)
def test_losses_of_split_batches_sum_to_those_of_the_whole_batch(body, recipe):
    """As in several processes or accumulated batches, divided by the counts of all."""
    batch, firsts = random_batch(body, (2, 0, 3, 1)), (0, 2)
    valid = torch.tensor([True, False, False, True, True, False])
    fewer = ("left_hand_box_valid", "face_box_valid", "smplx_valid", "joints_3d_valid")
    targets = replace(batch.targets, **dict.fromkeys(fewer, valid))
    batch = replace(batch, targets=targets)
    denoising = random_denoising_targets(batch)
    score = Scorer(recipe, body, min_overlap=0.0)
    output, inputs = leaves(random_output(batch))
    whole = score(output, batch, denoising)
    expected = torch.autograd.grad(total_of(whole), inputs, allow_unused=True)

    def part(first):
        rows = slice(first, first + 2)
        own = (batch.image_index >= first) & (batch.image_index < first + 2)
        smaller = replace(
            batch,
            pictures=batch.pictures[rows],
            sizes_hw=batch.sizes_hw[rows],
            targets=batch.targets.select(own),
            image_index=batch.image_index[own] - first,
            ignore_unmatched=batch.ignore_unmatched[rows],
        )
        some = DenoisingTargets(denoising.boxes[rows], denoising.is_person[rows])
        return change_tensors(output, lambda value: value[rows]), smaller, some

    parts = [part(first) for first in firsts]
    count = score.criterion.count
    counts = count(parts[0][1]) + count(parts[1][1])
    torch.testing.assert_close(counts.values, count(batch).values)
    split = [score(*one, counts=counts) for one in parts]
    for name, value in whole.items():
        torch.testing.assert_close(split[0][name] + split[1][name], value, rtol=1e-5, atol=1e-9)
    found = torch.autograd.grad(total_of(split[0]) + total_of(split[1]), inputs, allow_unused=True)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("recipe", RECIPES)
def test_counts_of_one_batch_are_the_default(body, recipe):
    """Also where pairs are left out for `min_overlap`, which the counts do not see."""
    batch = random_batch(body, (2, 0, 3))
    score, output = Scorer(recipe, body), random_output(batch)
    denoising = random_denoising_targets(batch)
    counts = score.criterion.count(batch)
    alone = score(output, batch, denoising)
    counted = score(output, batch, denoising, counts=counts)
    torch.testing.assert_close(counted, alone)
    half = score(output, batch, denoising, counts=counts + counts)
    torch.testing.assert_close(half, {name: value / 2 for name, value in alone.items()})


def test_counts_are_at_least_one(body):
    batch = random_batch(body, (0, 0))
    counts = Scorer("released", body).criterion.count(batch)
    assert float(counts["people"]) == float(counts["left_hand_pose"]) == 1.0
    assert float(counts["images"]) == 2.0
    assert float((counts + counts)["images"]) == 4.0
    assert isinstance(counts + counts, Counts)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("people", [(0, 0), (1,), (0, 1), (100,), (7, 0)])
def test_losses_are_finite_for_any_number_of_people(body, recipe, people):
    """Also for more people than queries; without people only class terms are above 0."""
    batch = random_batch(body, people)
    slots = 100 if people == (100,) else 4
    output, inputs = leaves(random_output(batch, slots))
    losses = Scorer(recipe, body)(output, batch, random_denoising_targets(batch))
    total = total_of(losses)
    assert bool(total.isfinite())
    for gradient in torch.autograd.grad(total, inputs, allow_unused=True):
        assert gradient is None or bool(gradient.isfinite().all())
    if sum(people) == 0:
        for name, value in losses.items():
            assert (float(value.detach()) == 0.0) == ("class" not in name) or "denois" in name


@pytest.mark.parametrize("recipe", RECIPES)
def test_gradients_of_all_losses_together(body, recipe):
    double = body.to(dtype=torch.float64)
    batch = random_batch(body, (2, 1))
    # Finite differences would change which pairs overlap, and see no detached shape.
    score = Scorer(recipe, double, min_overlap=0.0, joints_train_shape=True)
    output, inputs = leaves(random_output(batch, slots=3, kind=torch.float64))
    sizes = [value.numel() for value in inputs]

    def total(joined):
        rest = iter(joined.split(sizes))
        fresh = change_tensors(output, lambda value: next(rest).view_as(value))
        return total_of(score(fresh, batch, random_denoising_targets(batch)))

    joined = torch.cat([value.detach().flatten() for value in inputs]).requires_grad_()
    assert torch.autograd.gradcheck(total, joined, fast_mode=True)


def test_missing_shape_hand_and_jaw_have_no_loss_beside_a_known_pose(body):
    batch = random_batch(body, (2,))
    no = torch.zeros(2, dtype=torch.bool)
    names = ("betas_valid", "left_hand_pose_valid", "jaw_pose_valid", "expression_valid")
    targets = replace(batch.targets, **dict.fromkeys(names, no))
    losses = Scorer("released", body)(random_output(batch), replace(batch, targets=targets))
    for name in ("betas", "left_hand_pose", "jaw", "expression", "betas_1"):
        assert float(losses[name]) == 0.0, name
    for name in ("root", "body", "right_hand_pose", "left_hand_joints_3d"):
        assert float(losses[name]) > 0.0, name


def test_batch_without_people_gives_zero_gradients_instead_of_none(body):
    """Other processes can then add their gradients."""
    torch.manual_seed(0)
    network, batch = AiOS(TINY_MODEL), random_batch(body, (0, 0))
    output = network(batch.images(TINY_MODEL.image), aux_outputs=True)
    total_of(Scorer("released", body)(output, batch)).backward()
    # The jaw of stage refine_body is trained only through posed bodies, and there are none.
    assert_finite_gradients(network, "1.smplx.jaw_pose")


def assert_finite_gradients(network, *without):
    # See `learner.NEVER_TRAINED`.
    unused = ("joint_size", "point_size", "1.smplx.hand_pose", "1.smplx.expression", *without)
    for name, parameter in network.named_parameters():
        if any(part in name for part in unused):
            continue
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("recipe", ["released", "builtin"])
def test_every_trainable_tensor_gets_a_finite_gradient(body, recipe):
    torch.manual_seed(0)
    network = AiOS(TINY_MODEL)
    for head in network.modules():
        last = getattr(head, "last", None)
        if last is not None:
            torch.nn.init.normal_(last.weight, std=0.02)
    batch = random_batch(body)
    denoising = Denoising(TINY_MODEL.hidden_dim, DenoisingConfig(queries=6))
    prefix, targets = denoising(batch)
    output = network(batch.images(TINY_MODEL.image), prefix, aux_outputs=True)
    total_of(Scorer(recipe, body, proposals=True)(output, batch, targets)).backward()
    assert_finite_gradients(network)
    assert bool(denoising.labels.weight.grad.any())
