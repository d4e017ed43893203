"""Which loss is where: perfect answers cost nothing, hidden things teach nothing."""

from dataclasses import fields, replace

import pytest
import torch

from aios.body.model import BodyModel
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
from training.joints import index_tensor
from training.losses.criterion import Criterion
from training.losses.denoising import Denoising, DenoisingConfig, DenoisingTargets
from training.losses.matcher import MATCH_COSTS, MatchCosts
from training.losses.validity import Counts
from training.losses.weights import LOSS_WEIGHTS, LossWeights
from training.targets import Targets

RECIPES = tuple(LOSS_WEIGHTS)
EXTRA = 6


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def criterion_of(recipe, body_model, /, **changes):
    return Criterion(replace(LOSS_WEIGHTS[recipe], **changes), MATCH_COSTS[recipe], body_model)


def random_answers(batch):
    generator = torch.Generator().manual_seed(1)
    people = torch.bincount(batch.image_index, minlength=len(batch)) > 0
    boxes = torch.rand(len(batch), EXTRA, 4, generator=generator) * 0.4 + 0.3
    return DenoisingTargets(boxes, people[:, None].expand(-1, EXTRA))


def total_of(losses):
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_truth_costs_nothing(body, recipe):
    batch = random_batch(body)
    criterion = criterion_of(recipe, body, one_to_one_proposals=False)
    losses = criterion(output_of(perfect_layer(batch)), batch)
    taught = {"root", "body", "left_hand_pose", "body_joints_3d", "left_hand_keypoints", "oks"}
    assert taught <= set(losses)
    for name, value in losses.items():
        assert float(value) < 2e-3, name


def test_scoring_before_learning_leaves_nothing_behind(body):
    batch = random_batch(body, (1,))
    criterion = criterion_of("released", body)
    index_tensor.cache_clear()
    with torch.inference_mode():
        before = criterion(random_output(batch), batch)
    output, inputs = leaves(random_output(batch))
    after = total_of(criterion(output, batch))
    torch.testing.assert_close(after, total_of(before))
    assert any(g is not None for g in torch.autograd.grad(after, inputs, allow_unused=True))


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


@pytest.mark.parametrize("by_joints", [True, False])
def test_joints_teach_the_shape_only_where_the_recipe_says_so(body, by_joints):
    batch = random_batch(body, (2,))
    layer = perfect_layer(batch)
    betas = (layer.smplx.betas + 0.3).requires_grad_()
    camera = layer.smplx.weak_camera.clone().requires_grad_()
    layer = replace(layer, smplx=replace(layer.smplx, betas=betas, weak_camera=camera))
    weights = LossWeights(betas=0.0, betas_by_joints=by_joints)
    losses = Criterion(weights, MatchCosts(), body)(output_of(layer), batch)
    assert float(losses["body_joints_3d"]) > 1e-3
    total_of(losses).backward()
    assert bool(camera.grad.any())
    assert (betas.grad is not None and bool(betas.grad.any())) == by_joints


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


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_weight_has_its_term(body, recipe):
    """Each weight above 0 adds a loss to the last layer, and no loss is without its weight."""
    batch = random_batch(body, (1,))
    output, answers = random_output(batch, slots=2), random_answers(batch)
    names = set(criterion_of(recipe, body)(output, batch, answers))
    final = {name for name in names if not name[-1].isdigit() and "_proposals" not in name}
    for field in fields(LossWeights):
        weight = getattr(LOSS_WEIGHTS[recipe], field.name)
        if type(weight) is not float or field.name.startswith(("dense_", "least_", "unannotated")):
            continue
        without = criterion_of(recipe, body, **{field.name: 0.0})
        missing = names - set(without(output, batch, answers))
        if field.name == "penultimate_parts":
            assert not any(name in final for name in missing)
        else:
            assert bool(missing & final) == bool(weight), field.name
    layers = {name.rsplit("_", 1)[-1] for name in names}
    assert ("proposals" in layers) == LOSS_WEIGHTS[recipe].one_to_one_proposals


def test_layers_have_the_terms_of_their_stage(body):
    batch = random_batch(body, (2, 3))
    losses = criterion_of("released", body)(random_output(batch), batch, random_answers(batch))
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
    paper = criterion_of("paper", body)(random_output(batch), batch, random_answers(batch))
    assert "betas" in paper and "betas_1" not in paper and "betas_1" in losses


def test_parts_weigh_less_at_the_layer_before_the_last(body):
    batch = random_batch(body, (2, 3))
    full = criterion_of("released", body, penultimate_parts=1.0)(random_output(batch), batch)
    less = criterion_of("released", body)(random_output(batch), batch)
    changed = {name for name in full if float(full[name]) != pytest.approx(float(less[name]))}
    parts = {f"{p}_joints_3d_3" for p in ("left_hand", "right_hand", "face")}
    assert changed == parts | {"left_hand_joints_2d_3", "right_hand_joints_2d_3"}
    for name in changed:
        assert float(less[name]) == pytest.approx(0.1 * float(full[name]))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_in_parts_is_the_step_of_the_joined_batch(body, recipe):
    """Processes and accumulated micro-batches: divided by the counts of all, sums are equal."""
    batch, firsts = random_batch(body, (2, 0, 3, 1)), (0, 2)
    valid = torch.tensor([True, False, False, True, True, False])
    fewer = ("left_hand_box_valid", "face_box_valid", "smplx_valid", "joints_3d_valid")
    targets = replace(batch.targets, **dict.fromkeys(fewer, valid))
    batch = replace(batch, targets=targets)
    answers = random_answers(batch)
    criterion = criterion_of(recipe, body, least_overlap=0.0)
    output, inputs = leaves(random_output(batch))
    whole = criterion(output, batch, answers)
    wanted = torch.autograd.grad(total_of(whole), inputs, allow_unused=True)

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
        some = DenoisingTargets(answers.boxes[rows], answers.is_person[rows])
        return change_tensors(output, lambda value: value[rows]), smaller, some

    parts = [part(first) for first in firsts]
    counts = criterion.count(parts[0][1]) + criterion.count(parts[1][1])
    torch.testing.assert_close(counts.values, criterion.count(batch).values)
    split = [criterion(*one, counts=counts) for one in parts]
    for name, value in whole.items():
        torch.testing.assert_close(split[0][name] + split[1][name], value, rtol=1e-5, atol=1e-9)
    ours = torch.autograd.grad(total_of(split[0]) + total_of(split[1]), inputs, allow_unused=True)
    for mine, theirs in zip(ours, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_of_one_batch_is_that_batch(body, recipe):
    """Also where pairs are left out, whom the counts of the batch cannot know."""
    batch = random_batch(body, (2, 0, 3))
    criterion, output, answers = (
        criterion_of(recipe, body),
        random_output(batch),
        random_answers(batch),
    )
    alone = criterion(output, batch, answers)
    counted = criterion(output, batch, answers, counts=criterion.count(batch))
    torch.testing.assert_close(counted, alone)
    counts = criterion.count(batch)
    half = criterion(output, batch, answers, counts=counts + counts)
    torch.testing.assert_close(half, {name: value / 2 for name, value in alone.items()})


def test_counts_are_at_least_one(body):
    batch = random_batch(body, (0, 0))
    counts = criterion_of("released", body).count(batch)
    assert float(counts["people"]) == float(counts["left_hand_pose"]) == 1.0
    assert float(counts["images"]) == 2.0
    assert float((counts + counts)["images"]) == 4.0
    assert isinstance(counts + counts, Counts)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("people", [(0, 0), (1,), (0, 1), (100,), (7, 0)])
def test_any_number_of_people(body, recipe, people):
    """Also more than there are slots: finite losses and gradients, no box taught by nobody."""
    batch = random_batch(body, people)
    slots = 100 if people == (100,) else 4
    output, inputs = leaves(random_output(batch, slots))
    losses = criterion_of(recipe, body)(output, batch, random_answers(batch))
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
    # Pairs that hardly overlap would come and go under the finite differences, which also know
    # nothing of a shape that joints shall not teach.
    criterion = criterion_of(recipe, double, least_overlap=0.0, betas_by_joints=True)
    output, inputs = leaves(random_output(batch, slots=3, kind=torch.float64))
    sizes = [value.numel() for value in inputs]

    def total(joined):
        rest = iter(joined.split(sizes))
        fresh = change_tensors(output, lambda value: next(rest).view_as(value))
        return total_of(criterion(fresh, batch, random_answers(batch)))

    joined = torch.cat([value.detach().flatten() for value in inputs]).requires_grad_()
    assert torch.autograd.gradcheck(total, joined, fast_mode=True)


def test_half_precision_is_scored_in_single(body):
    batch = random_batch(body, (2, 1))
    criterion = criterion_of("released", body)
    single = criterion(random_output(batch), batch, random_answers(batch))
    rough = change_tensors(random_output(batch), lambda value: value.bfloat16())
    half = criterion(rough, batch, random_answers(batch))
    for name, value in half.items():
        assert value.dtype == torch.float32, name
        assert float(value) == pytest.approx(float(single[name]), rel=0.1, abs=0.02), name


def test_shape_of_a_child_and_a_hidden_hand_are_not_taught(body):
    """Parts of the annotation can be missing where the rest of the pose is known."""
    batch = random_batch(body, (2,))
    no = torch.zeros(2, dtype=torch.bool)
    names = ("betas_valid", "left_hand_pose_valid", "jaw_pose_valid", "expression_valid")
    targets = replace(batch.targets, **dict.fromkeys(names, no))
    losses = criterion_of("released", body)(random_output(batch), replace(batch, targets=targets))
    for name in ("betas", "left_hand_pose", "jaw", "expression", "betas_1"):
        assert float(losses[name]) == 0.0, name
    for name in ("root", "body", "right_hand_pose", "left_hand_joints_3d"):
        assert float(losses[name]) > 0.0, name


def test_nobody_anywhere(body):
    """What scores people learns nothing, but has a gradient that other processes can add to."""
    torch.manual_seed(0)
    network, batch = AiOS(TINY_MODEL), random_batch(body, (0, 0))
    output = network(batch.images(TINY_MODEL.image), aux_outputs=True)
    losses = criterion_of("released", body)(output, batch)
    total_of(losses).backward()
    # The jaw of stage refine_body is taught through the posed body alone, and there is none.
    assert_finite_gradients(network, "1.smplx.jaw_pose")


def assert_finite_gradients(network, *without):
    # Sizes of points only place the next layer's references, which carry no gradient; the hands
    # and the expression of stage refine_body pose nothing.
    unused = ("joint_size", "point_size", "1.smplx.hand_pose", "1.smplx.expression", *without)
    for name, parameter in network.named_parameters():
        if any(part in name for part in unused):
            continue
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("recipe", ["released", "builtin"])
def test_every_learnable_tensor_gets_a_finite_gradient(body, recipe):
    torch.manual_seed(0)
    network = AiOS(TINY_MODEL)
    for head in network.modules():
        last = getattr(head, "last", None)
        if last is not None:
            torch.nn.init.normal_(last.weight, std=0.02)
    batch = random_batch(body)
    denoising = Denoising(TINY_MODEL.hidden_dim, DenoisingConfig(queries=6))
    prefix, wanted = denoising(batch)
    output = network(batch.images(TINY_MODEL.image), prefix, aux_outputs=True)
    # The built-in recipe teaches proposals by dense targets alone, see there.
    criterion = criterion_of(recipe, body, one_to_one_proposals=True)
    total_of(criterion(output, batch, wanted)).backward()
    assert_finite_gradients(network)
    assert bool(denoising.labels.weight.grad.any())
