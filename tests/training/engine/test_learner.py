"""Training of the keypoint maps beside a frozen teacher."""

from dataclasses import replace

import pytest
import torch

from aios.body.model import BodyModel
from aios.network.config import BUILTIN_CONFIG
from tests.helpers.training_samples import random_batch
from training.config import CONFIGS
from training.engine.learner import Learner, StepShare

pytestmark = pytest.mark.usefixtures("one_thread")

RUN = replace(
    CONFIGS["builtin"],
    model=replace(BUILTIN_CONFIG, num_proposals=12, num_people=4),
    train_proposals=12,
    train_people=4,
    steps=1,
)


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    made = Learner(RUN, BodyModel.load())
    return made.train()


def losses_of(learner, ignored):
    batch = random_batch(BodyModel.load(), (1, 1))
    batch = replace(batch, ignore_unmatched=torch.tensor(ignored))
    step = StepShare(learner.criterion.count(batch), 1.0)
    return learner(batch, RUN.stages[-1], step)


def test_maps_learn_and_the_teacher_stays(learner):
    before = {name: t.clone() for name, t in learner.map_teacher.state_dict().items()}
    total, losses = losses_of(learner, [False, True])
    assert {"map_heat", "map_offset", "map_kept"} <= set(losses)
    learner.zero_grad()
    total.backward()
    trained = {name for name, p in learner.named_parameters() if p.grad is not None}
    assert "model.backbone.keypoints.heat.1.weight" in trained
    assert any(name.startswith("model.backbone.features.17.") for name in trained)
    assert not any(name.startswith("model.backbone.features.6.") for name in trained)
    assert not any("map_teacher" in name for name in trained)
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], 1e-3)
    optimizer.step()
    after = learner.map_teacher.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    changed = learner.model.backbone.state_dict()["keypoints.heat.1.weight"]
    assert not torch.equal(changed, before["keypoints.heat.1.weight"])


def test_batches_in_which_everyone_is_annotated_need_no_teacher(learner):
    """Convolutions over no image at all give maps of wrong sizes."""
    total, losses = losses_of(learner, [False, False])
    assert "map_kept" not in losses and bool(torch.isfinite(total))
    assert "map_kept" in losses_of(learner, [True, True])[1]


def test_frozen_backbones_have_no_map_losses():
    frozen = Learner(replace(RUN, frozen_stages=7), BodyModel.load()).train()
    assert frozen.map_teacher is None
    assert not any(name.startswith("map_") for name in losses_of(frozen, [False, True])[1])


def test_a_resumed_run_has_the_teacher_of_the_first(learner):
    torch.manual_seed(1)
    other = Learner(RUN, BodyModel.load())
    other.load_state_dict(learner.state_dict())
    images = torch.rand(1, 3, 64, 64)
    one, two = (each.map_teacher.keypoint_maps(images, ()) for each in (learner, other))
    torch.testing.assert_close(one.heat_logits, two.heat_logits)
