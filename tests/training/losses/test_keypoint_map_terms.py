"""Losses of the keypoint maps: annotations where everyone is annotated, a teacher elsewhere."""

import itertools
from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.outputs import KeypointMaps
from tests.helpers.training_samples import random_batch
from training.losses.heatmap import heatmap_targets
from training.losses.keypoint_map_terms import keypoint_map_terms

HEIGHT, WIDTH = 32, 48


@pytest.fixture(scope="module")
def batch():
    """Two people in image 0, one in image 1; image 1 may show more people."""
    made = random_batch(BodyModel.load(), (2, 1))
    generator = torch.Generator().manual_seed(1)
    targets = replace(
        made.targets,
        boxes=torch.tensor([[0.5, 0.5, 0.6, 0.6]]).repeat(3, 1),
        keypoints_2d=torch.rand(3, 17, 2, generator=generator) * 0.4 + 0.3,
        keypoints_visible=torch.ones(3, 17),
        smplx_valid=torch.ones(3, dtype=torch.bool),
    )
    return replace(made, targets=targets, ignore_unmatched=torch.tensor([False, True]))


def maps(seed):
    generator = torch.Generator().manual_seed(seed)
    return KeypointMaps(
        torch.randn(2, 17, HEIGHT, WIDTH, generator=generator).requires_grad_(),
        torch.rand(2, 17, 2, HEIGHT, WIDTH, generator=generator).requires_grad_(),
    )


def of_image(found, image):
    return KeypointMaps(found.heat_logits[image : image + 1], found.offsets[image : image + 1])


def test_the_annotated_maps_have_no_loss(batch):
    # One person an image: keypoints of two could lie in one cell.
    single = replace(
        batch,
        targets=batch.targets.select(torch.tensor([0, 2])),
        image_index=torch.tensor([0, 1]),
        ignore_unmatched=torch.tensor([False, False]),
    )
    heat, _ = heatmap_targets(single, HEIGHT, WIDTH)
    offsets = torch.zeros(2, 17, 2, HEIGHT, WIDTH)
    points = single.targets.keypoints_2d * torch.tensor([WIDTH, HEIGHT])
    for image, keypoint in itertools.product(range(2), range(17)):
        x, y = points[image, keypoint].tolist()
        for column, row in itertools.product(*(range(int(c) - 1, int(c) + 2) for c in (x, y))):
            offsets[image, keypoint, :, row, column] = torch.tensor([x - column, y - row])
    logits = heat.clamp(1e-6, 1 - 1e-6).logit()
    terms = keypoint_map_terms(KeypointMaps(logits, offsets), single)
    assert set(terms) == {"map_heat", "map_offset"}
    assert float(terms["map_heat"]) < 1e-3
    assert float(terms["map_offset"]) < 1e-5


def test_without_a_teacher_all_images_learn_from_annotations(batch):
    found = maps(0)
    terms = keypoint_map_terms(found, batch)
    sum(terms.values()).backward()
    assert all(float(found.heat_logits.grad[image].abs().sum()) > 0 for image in (0, 1))


def test_a_teacher_takes_the_place_of_missing_annotations(batch):
    found, teacher = maps(0), maps(1)
    terms = keypoint_map_terms(found, batch, of_image(teacher, 1))
    heat, offset, kept = (terms[name] for name in ("map_heat", "map_offset", "map_kept"))
    gradients = torch.autograd.grad(heat + offset, [found.heat_logits, found.offsets])
    for gradient in gradients:
        assert float(gradient[0].abs().sum()) > 0 and float(gradient[1].abs().sum()) == 0
    (gradient,) = torch.autograd.grad(kept, found.heat_logits)
    assert float(gradient[0].abs().sum()) == 0 and float(gradient[1].abs().sum()) > 0
    same = keypoint_map_terms(found, batch, of_image(found, 1))
    torch.testing.assert_close(float(same["map_kept"].detach()), 0.0, atol=1e-5, rtol=0)
    assert float(kept.detach()) > 0.1


def test_batches_without_people_have_finite_losses(batch):
    nobody = replace(
        batch,
        targets=batch.targets.select(torch.zeros(0, dtype=torch.int64)),
        image_index=torch.zeros(0, dtype=torch.int64),
    )
    found = maps(0)
    terms = keypoint_map_terms(found, nobody, of_image(maps(1), 1))
    assert all(bool(torch.isfinite(term)) for term in terms.values())
    everyone = replace(nobody, ignore_unmatched=torch.zeros(2, dtype=torch.bool))
    empty = KeypointMaps(found.heat_logits[:0], found.offsets[:0])
    assert not bool(keypoint_map_terms(found, everyone, empty)["map_kept"].detach())
