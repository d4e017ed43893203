"""Resampling of tracks: constant rate, interpolated and marked gaps."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from aios.body.kinematics import build_rest_pose, local_rotations, pelvis_positions
from aios.export.resample import count_samples, densest_rate, resample
from tests.helpers.motions import make_store, records
from tests.helpers.served import tiny_predictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rest():
    return build_rest_pose(tiny_predictor().body, np.zeros(10), False)


def sampled(rest, store, rate):
    chunks = list(resample(rest, store, 2, rate))
    pelvis = np.concatenate([chunk.pelvis for chunk in chunks])
    vectors = np.concatenate([chunk.rotations.as_rotvec() for chunk in chunks])
    expression = np.concatenate([chunk.expression for chunk in chunks])
    interpolated = np.concatenate([chunk.interpolated for chunk in chunks])
    assert len(pelvis) == count_samples(store, 2, rate)
    return pelvis, vectors, expression, interpolated


def test_samples_at_frame_times_are_the_records(rest, tmp_path):
    store = make_store(tmp_path / "motion")
    pelvis, vectors, expression, interpolated = sampled(rest, store, 10.0)
    rows = records(store, 2)
    np.testing.assert_allclose(pelvis, pelvis_positions(rest, rows), atol=1e-9)
    np.testing.assert_allclose(vectors, local_rotations(rest, rows).as_rotvec(), atol=1e-9)
    np.testing.assert_allclose(expression, rows["expression"], atol=1e-9)
    assert not interpolated.any()


@pytest.mark.parametrize("rows_at_once", [1, 2, 1024])
def test_gaps_are_interpolated_and_marked(rest, tmp_path, monkeypatch, rows_at_once):
    monkeypatch.setattr("aios.export.motion._ROWS_AT_ONCE", rows_at_once)
    store = make_store(tmp_path / "motion", seen=lambda who, frame: who == 1 or not 4 <= frame < 8)
    pelvis, vectors, _, interpolated = sampled(rest, store, 20.0)
    assert len(pelvis) == 23
    # Frames 3 and 8 of the video, samples 6 and 16, are the edges of the gap.
    assert interpolated.tolist() == [6 < sample < 16 for sample in range(23)]
    rows = records(store, 2)
    times = store.times[rows["frame"]]
    for axis in range(3):
        expected = np.interp(np.arange(23) / 20, times, pelvis_positions(rest, rows)[:, axis])
        np.testing.assert_allclose(pelvis[:, axis], expected, atol=1e-6)
    elbow = local_rotations(rest, rows).as_quat()[:, 18]
    slerp = Slerp(times, Rotation.from_quat(elbow))
    np.testing.assert_allclose(vectors[:, 18], slerp(np.arange(23) / 20).as_rotvec(), atol=1e-6)


def test_single_frame_gives_a_single_sample(rest, tmp_path):
    store = make_store(tmp_path / "motion", 1)
    pelvis, _, _, interpolated = sampled(rest, store, 30.0)
    assert len(pelvis) == 1 and not interpolated.any()


@pytest.mark.parametrize(
    ("gaps", "nominal", "most", "expected"),
    [
        ([], 25.0, None, 25.0),
        ([0.04] * 20, 25.0, None, 25.0),
        ([0.033, 0.034, 0.033, 0.034] * 9, 29.97, None, 29.97),
        ([1 / 15] * 19 + [1.4] + [1 / 15] * 19, 10.2, None, 15.0),
        (([0.03] * 9 + [0.23]) * 4, 20.0, None, 1 / 0.03),
        (([0.03] * 9 + [0.23]) * 4, 10.0, 10.0, 10.0),
        ([2.0] * 5, 0.5, None, 0.5),
        ([1e-6] * 30, 25.0, None, 240.0),
    ],
)
def test_densest_rate_keeps_every_frame(gaps, nominal, most, expected):
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    assert densest_rate(times, nominal, most) == pytest.approx(expected)
