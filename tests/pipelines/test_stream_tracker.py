"""StreamTracker: network, tracker, filters and body over a stream of frames."""

from dataclasses import replace

import numpy as np
import pytest

from aios.geometry.camera import Camera
from aios.pipelines.stream_tracker import StreamTracker
from aios.prediction import Candidates
from aios.tracking.tracker import TRACKING
from tests.helpers.people_makers import make_person, together
from tests.helpers.people_on_floor import CAMERA as FLOOR_CAMERA
from tests.helpers.people_on_floor import people_on_floor
from tests.helpers.served import tiny_predictor

CAMERA = Camera(500.0, (60.0, 45.0), 120, 90)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


def candidates(*people):
    return Candidates(together(*people), CAMERA)


def test_people_are_numbered_and_posed(predictor):
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    tracker = StreamTracker(predictor)
    first, second = tracker(frame, 0.0), tracker(frame, 0.1)
    assert first.numbers.tolist() == second.numbers.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(first.people.body_pose, second.people.body_pose, atol=1e-5)
    prediction = tracker.pose(second)
    assert prediction.vertices.shape == (5, 10475, 3)
    np.testing.assert_array_equal(prediction.people.transl, second.people.transl)
    direct = predictor.predict(frame, 0.0)
    order = np.argsort(second.people.query_indices)
    expected = direct.joints_3d[np.argsort(direct.people.query_indices)]
    np.testing.assert_allclose(prediction.joints_3d[order], expected, atol=1e-3)


def test_frame_without_people(predictor):
    tracker = StreamTracker(predictor, threshold=0.5)
    tracked = tracker.track(candidates(), 0.0)
    assert len(tracked.people) == len(tracked.numbers) == 0
    assert tracker.pose(tracked).vertices.shape == (0, 10475, 3)


def test_max_people_keeps_the_earliest_tracks(predictor):
    tracker = StreamTracker(predictor, threshold=0.5, max_people=1)
    old = make_person((50, 50), 20, score=0.6)
    new = make_person((100, 50), 20, score=0.9)
    assert tracker.track(candidates(old), 0.0).numbers.tolist() == [1]
    tracked = tracker.track(candidates(new, old), 0.1)
    assert tracked.numbers.tolist() == [1]
    np.testing.assert_allclose(tracked.people.scores, [0.6])


def test_without_smoothing_parameters_are_unchanged(predictor):
    for smoothing, moved in (({}, True), ({"smoothing": None}, False)):
        tracker = StreamTracker(predictor, threshold=0.5, **smoothing)
        tracker.track(candidates(make_person(body_pose=np.zeros(63))), 0.0)
        found = tracker.track(candidates(make_person(body_pose=np.full(63, 0.5))), 0.03)
        assert (np.abs(found.people.body_pose - 0.5) > 0.1).all() == moved


def test_frames_have_no_floor_of_their_own(predictor):
    people, _ = people_on_floor(((-0.6, 6.0), (0.6, 6.8)), heights=[-2.5, 2.0])
    people = replace(people, betas=np.zeros_like(people.betas), scores=np.ones_like(people.scores))
    refining = predictor.with_refinement(True)
    tracker = StreamTracker(refining, threshold=0.5, smoothing=None)
    tracked = tracker.track(Candidates(people, FLOOR_CAMERA), 0.0)
    alone = [refining.placed(people.select([i]), FLOOR_CAMERA).transl[0] for i in range(2)]
    together = refining.placed(people, FLOOR_CAMERA).transl
    np.testing.assert_allclose(tracked.people.transl, alone, atol=1e-3)
    assert np.abs(together - alone).max() > 0.1


def test_filters_are_dropped_with_their_tracks(predictor):
    tracker = StreamTracker(predictor, threshold=0.5)
    for index in range(50):
        tracker.track(candidates(make_person((100 + 400 * index, 100))), 2.0 * index)
    assert len(tracker._filters) <= TRACKING.max_gap_frames + 1


def test_threshold_out_of_range_is_refused(predictor):
    with pytest.raises(ValueError, match="between 0 and 1"):
        StreamTracker(predictor, threshold=1.5)
