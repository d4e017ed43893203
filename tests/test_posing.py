"""People of several photos are posed together as they are one by one."""

import dataclasses

import numpy as np
import pytest
import torch

from aios import posing as posing_module
from aios.accelerate.cuda_graphs import CapturedRun
from aios.body.model import BodyModel
from aios.body.parameters import SMPLX_SIZES
from aios.people import People
from aios.posing import Posing
from aios.resources import STANDIN_BODY
from tests.helpers.people_makers import make_person, together
from tests.helpers.watching import watched

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTS = (3, 0, 20, 1)


@pytest.fixture(scope="module")
def body():
    return BodyModel.load(STANDIN_BODY)


def some_people(count, random):
    if not count:
        return People.empty()
    people = together(*(make_person() for _ in range(count)))
    posed = {
        name: random.normal(0, 0.3, (count, size)).astype(np.float32)
        for name, size in SMPLX_SIZES.items()
    }
    return dataclasses.replace(people, **posed)


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(0)
    return [some_people(count, random) for count in COUNTS]


@pytest.mark.parametrize("from_official", [False, True])
def test_together_as_one_by_one(body, people, from_official):
    pose = Posing(body, from_official)
    for one, (vertices, joints_3d) in zip(people, pose(people), strict=True):
        assert len(vertices) == len(joints_3d) == len(one)
        ((wanted, joints),) = pose([one])
        np.testing.assert_allclose(vertices, wanted, atol=1e-5)
        np.testing.assert_allclose(joints_3d, joints, atol=1e-5)
        parameters = {k: torch.from_numpy(v) for k, v in one.smplx_parameters().items()}
        plain = body(body.adapt(parameters, from_official))
        np.testing.assert_allclose(vertices, plain.vertices, atol=1e-5)


def test_nobody_at_all(body):
    ((vertices, joints_3d),) = Posing(body, False)([People.empty()])
    assert vertices.shape == (0, 10475, 3)
    assert joints_3d.shape == (0, 144, 3)
    assert Posing(body, False)([]) == []


@pytest.mark.parametrize(("at_once", "recorded"), [(64, [32]), (16, [16])])
def test_a_recorded_body_is_posed_the_same(body, people, monkeypatch, at_once, recorded):
    """As on a GPU, with a recorder that poses again; all in one call, or in several."""
    wanted = Posing(body, False)(people)
    monkeypatch.setattr(posing_module, "_RECORDED_AT_ONCE", at_once)
    monkeypatch.setattr(posing_module, "cuda_graphs_available", lambda device: True)
    pose, sizes = Posing(body, False), []

    def recorder(network, given):
        answer = network(*given)
        sizes.append(len(given[0]))

        def replay():
            for own, new in zip(answer, network(*given), strict=True):
                own.copy_(new)

        return CapturedRun(given, answer, replay)

    monkeypatch.setattr(pose._graph, "_capturer", recorder)
    for _ in range(2):
        for found, plain in zip(pose(people), wanted, strict=True):
            np.testing.assert_allclose(found[0], plain[0], atol=1e-5)
            np.testing.assert_allclose(found[1], plain[1], atol=1e-5)
    assert sizes == recorded


def test_posing_can_be_recorded(body):
    """Nothing is copied between host and device meanwhile."""
    pose = Posing(body.to("meta"), False)
    table = torch.empty(16, sum(SMPLX_SIZES.values()), device="meta")
    pose._posed(table)
    _, found = watched(lambda: pose._posed(table))
    assert not [call for call in found if call != "as_tensor()"]
