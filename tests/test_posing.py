"""Batched posing equals posing person by person, with and without CUDA graphs."""

import dataclasses

import numpy as np
import pytest
import torch

from aios import posing as posing_module
from aios.accelerate.cuda_graphs import CapturedRun
from aios.body.model import BodyModel
from aios.body.parameters import SMPLX_SIZES
from aios.people import People
from aios.posing import BodyPoser
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
def test_batch_equals_single_photos(body, people, from_official):
    pose = BodyPoser(body, from_official)
    for one, (vertices, joints_3d) in zip(people, pose(people), strict=True):
        assert len(vertices) == len(joints_3d) == len(one)
        ((wanted, joints),) = pose([one])
        np.testing.assert_allclose(vertices, wanted, atol=1e-5)
        np.testing.assert_allclose(joints_3d, joints, atol=1e-5)
        parameters = {k: torch.from_numpy(v) for k, v in one.smplx_parameters().items()}
        plain = body(body.adapt(parameters, from_official))
        np.testing.assert_allclose(vertices, plain.vertices, atol=1e-5)


def test_empty_input(body):
    ((vertices, joints_3d),) = BodyPoser(body, False)([People.empty()])
    assert vertices.shape == (0, 10475, 3)
    assert joints_3d.shape == (0, 144, 3)
    assert BodyPoser(body, False)([]) == []


@pytest.mark.parametrize(("batch", "captured"), [(64, [32]), (16, [16])])
def test_captured_posing_gives_the_same_bodies(body, people, monkeypatch, batch, captured):
    """With a capturer that runs the function again, as on a GPU; in one batch or several."""
    wanted = BodyPoser(body, False)(people)
    monkeypatch.setattr(posing_module, "_GRAPH_BATCH", batch)
    monkeypatch.setattr(posing_module, "cuda_graphs_available", lambda device: True)
    pose, sizes = BodyPoser(body, False), []

    def capturer(function, inputs):
        outputs = function(*inputs)
        sizes.append(len(inputs[0]))

        def replay():
            for output, new in zip(outputs, function(*inputs), strict=True):
                output.copy_(new)

        return CapturedRun(inputs, outputs, replay)

    monkeypatch.setattr(pose._meshes_graph, "_capturer", capturer)
    monkeypatch.setattr(pose._joints_graph, "_capturer", capturer)
    for _ in range(2):
        for found, plain in zip(pose(people), wanted, strict=True):
            np.testing.assert_allclose(found[0], plain[0], atol=1e-5)
            np.testing.assert_allclose(found[1], plain[1], atol=1e-5)
    assert sizes == captured
    for _ in range(3):
        np.testing.assert_allclose(pose.joints(people[0]), wanted[0][1], atol=1e-5)
    assert sizes == [*captured, 16]


def test_posing_makes_no_host_copies(body):
    """A CUDA graph cannot capture them."""
    pose = BodyPoser(body.to("meta"), False)
    table = torch.empty(16, sum(SMPLX_SIZES.values()), device="meta")
    for function in (pose._pose_meshes, pose._pose_joints):
        function(table)
        _, found = watched(lambda function=function: function(table))
        assert not [call for call in found if call != "as_tensor()"]


@pytest.mark.parametrize("from_official", [False, True])
def test_joints_equal_those_of_the_meshes(body, people, from_official):
    pose = BodyPoser(body, from_official)
    for one, (_, joints_3d) in zip(people, pose(people), strict=True):
        np.testing.assert_allclose(pose.joints(one), joints_3d, atol=1e-5)


def test_joints_are_posed_without_meshes(body, people, monkeypatch):
    monkeypatch.setattr(type(body), "__call__", lambda *_: pytest.fail("posed meshes"))
    assert BodyPoser(body, False).joints(people[0]).shape == (3, 144, 3)


@pytest.mark.parametrize("from_official", [False, True])
def test_resized_bodies_keep_their_pelvis(body, people, from_official):
    poser = BodyPoser(body, from_official)
    photo = people[0]
    upright = dataclasses.replace(photo, body_pose=0 * photo.body_pose, betas=0 * photo.betas)
    before = poser.joints(upright)
    factors = np.linspace(0.9, 1.1, len(photo))
    resized = poser.resized(upright, before, factors)
    after = poser.joints(resized)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-5)

    def height(joints):
        return np.linalg.norm(joints[:, 15] - joints[:, 7], axis=1)

    np.testing.assert_allclose(height(after) / height(before), factors, atol=0.02)
    same = poser.resized(upright, before, np.ones(len(photo)))
    np.testing.assert_allclose(same.transl, upright.transl, atol=1e-6)
    far = poser.resized(upright, before, np.full(len(photo), 3.0))
    assert np.abs(far.betas).max() == 3
