"""Batches of a long stream of photos: bounded memory, order, windows."""

import tracemalloc
from types import SimpleNamespace

import numpy as np

from aios.media.photo_sources import PhotoItem
from aios.pipelines.batches import Batching, PeopleLimits, predicted

BATCHING = Batching(size=4, window=16, threads=3)


def predictor(sizes):
    """A predictor whose predictions are the first pixels of the photos."""

    def predict_batch(photos, *arguments, batch_size):
        sizes.append(len(photos))
        return [int(photo[0, 0, 0]) for photo in photos]

    return SimpleNamespace(predict_batch=predict_batch)


def items(count, taken):
    """Photos that are made when they are asked for."""
    for index in range(count):
        taken.append(index)
        photo = np.full((64, 64, 3), index % 251, np.uint8)
        yield PhotoItem(f"{index}.png", lambda photo=photo: photo)


def test_stream_is_read_a_few_windows_ahead_and_kept_in_order():
    sizes, taken = [], []
    for count, work in enumerate(
        predicted(predictor(sizes), items(200, taken), PeopleLimits(), BATCHING)
    ):
        assert work.index == count and work.prediction == count % 251
        assert len(taken) - count <= 4 * BATCHING.window
        work.photo = work.prediction = None
    assert len(taken) == 200 and sizes == [16] * 12 + [8]


def test_memory_is_flat_over_two_thousand_photos():
    def peak(count):
        tracemalloc.start()
        for work in predicted(predictor([]), items(count, []), PeopleLimits(), BATCHING):
            work.photo = None
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    # The pixels of 1,900 more photos have 23 MB.
    assert peak(2000) - peak(100) < 2_000_000
