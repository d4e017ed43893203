"""Decode photos and run the network on them in batches, in the order of the items.

Photos are taken in windows of consecutive items. The batches of a window depend on its photos
alone: a job that continues after an interruption gives the same numbers as one that was not
interrupted.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..export.checks import ExportError
from ..media.decoder import read_photo_apart
from ..media.photo import PhotoError
from ..media.photo_sources import PhotoItem
from ..media.prefetch import prefetch
from ..prediction import Prediction
from ..predictor import DEFAULT_BATCH_SIZE, DEFAULT_MAX_PEOPLE, AiOSPredictor
from ..render.opengl import OpenGLError

_log = logging.getLogger(__name__)

_MAX_BATCH_PIXELS = 50_000_000
_DECODING_THREADS = 8
_WINDOW_BATCHES = 4


@dataclass(frozen=True)
class Batching:
    """How photos are decoded and batched.

    Attributes:
        size: photos per run of the network at most.
        window: photos that are sorted by input size together; a multiple of `size` fills batches
            of photos of mixed sizes.
        threads: that wait for photos, each decoded in a process of its own.
    """

    size: int
    window: int
    threads: int

    @classmethod
    def fastest(cls, predictor: AiOSPredictor) -> Batching:
        """The fastest on the device of `predictor`."""
        size = batch_size(predictor)
        if predictor.device.type == "cpu":
            return cls(size, size, 1)
        threads = min(_DECODING_THREADS, os.cpu_count() or 1)
        return cls(size, _WINDOW_BATCHES * size, threads)


@dataclass(frozen=True)
class PeopleLimits:
    """Which people are kept, see `AiOSPredictor.predict`, and the camera.

    Attributes:
        threshold: minimum score, 0-1; None takes that of the weights.
        max_people: maximum number of people, best scores first.
        field_of_view: degrees across the longer side; None takes that of the EXIF data, else that
            of the model.
    """

    threshold: float | None = None
    max_people: int = DEFAULT_MAX_PEOPLE
    field_of_view: float | None = None


@dataclass
class PhotoWork:
    """One photo on its way through decoding and prediction.

    Attributes:
        index: of the item.
        item: the photo's name and source.
        photo: (H, W, 3) uint8 RGB, once decoded.
        field_of_view: degrees, of the EXIF data, once decoded; None if unknown.
        note: one sentence if the end of the file is missing; else empty.
        prediction: once predicted.
        error: ended the work on this photo.
    """

    index: int
    item: PhotoItem
    photo: np.ndarray | None = None
    field_of_view: float | None = None
    note: str = ""
    prediction: Prediction | None = None
    error: Exception | None = None

    def finish(self, use: Callable[[Prediction, np.ndarray], None]) -> Prediction:
        """Pass the prediction and the photo to `use`, then release the photo.

        Raises:
            PhotoError: this photo failed in an earlier stage, or in `use`.
            ExportError: raised by `use`.
            OpenGLError: raised by `use`.
        """
        name = self.item.name
        try:
            if self.error is not None:
                raise self.error
            assert self.photo is not None and self.prediction is not None
            use(self.prediction, self.photo)
            return self.prediction
        except PhotoError as error:
            raise PhotoError(_with_name(name, str(error))) from error
        except (ExportError, OpenGLError):
            raise
        except Exception as error:  # an unexpected error of one photo does not stop the others
            _log.error("A photo failed", exc_info=error)
            reason = "there is not enough memory" if _is_out_of_memory(error) else "it failed"
            raise PhotoError(
                f"{name} could not be processed, {reason}: try a smaller copy."
            ) from error
        finally:
            self.photo = self.prediction = None


def _with_name(name: str, sentence: str) -> str:
    """Sentence about a photo; those given as bytes have no name of their own."""
    return re.sub(r"^The photo\b", lambda _: name, sentence)


def batch_size(predictor: AiOSPredictor) -> int:
    """Photos per run of the network that are fastest on the device of `predictor`.

    On a CPU this is 1: with one thread, the built-in network takes 115 ms per photo alone, 127 in
    batches of 4 and 146 in batches of 8. Results are then those of `AiOSPredictor.predict` to the
    bit.
    """
    return 1 if predictor.device.type == "cpu" else DEFAULT_BATCH_SIZE


def predicted(
    predictor: AiOSPredictor,
    items: Iterable[PhotoItem],
    limits: PeopleLimits,
    batching: Batching | None = None,
    is_finished: Callable[[int], bool] = lambda index: False,
) -> Iterator[PhotoWork]:
    """Every unfinished item in order, with its prediction or its error.

    A thread decodes the next photos while the network runs.

    Args:
        predictor: runs the network; a batch that fails is halved, down to the photo at fault.
        items: the photos; at most one window ahead is taken.
        limits: which people are kept.
        batching: None for the fastest.
        is_finished: whether the item of an index is left out. It is still predicted if its window
            has unfinished photos, so that their batches stay the same.
    """
    batching = batching or Batching.fastest(predictor)
    with closing(prefetch(_decoded(items, batching, is_finished))) as batches:
        for batch in batches:
            unfinished = [work for work in batch if not is_finished(work.index)]
            if any(work.photo is not None for work in unfinished):
                readable = [work for work in batch if work.photo is not None]
                _predict(predictor, readable, limits, batching.size)
            yield from unfinished


def predicted_alone(predictor: AiOSPredictor, work: PhotoWork, limits: PeopleLimits) -> PhotoWork:
    """Decode and predict one photo in this thread; `work` then has a prediction or an error."""
    _decode(work)
    if work.photo is not None:
        _predict(predictor, [work], limits, 1)
    return work


def _decoded(
    items: Iterable[PhotoItem], batching: Batching, is_finished: Callable[[int], bool]
) -> Iterator[list[PhotoWork]]:
    """Windows of decoded photos, in parts of about `_MAX_BATCH_PIXELS` at most."""
    works = (PhotoWork(index, item) for index, item in enumerate(items))
    with ThreadPoolExecutor(batching.threads, thread_name_prefix="aios-decode") as pool:
        while window := list(islice(works, batching.window)):
            if all(is_finished(work.index) for work in window):
                continue
            batch: list[PhotoWork] = []
            pixels = 0
            for work in _decode_ahead(pool, window, batching.threads):
                batch.append(work)
                pixels += 0 if work.photo is None else work.photo.shape[0] * work.photo.shape[1]
                if pixels >= _MAX_BATCH_PIXELS:
                    yield batch
                    batch, pixels = [], 0
            if batch:
                yield batch


def _decode_ahead(
    pool: ThreadPoolExecutor, works: Iterable[PhotoWork], count: int
) -> Iterator[PhotoWork]:
    """Decode in order, with at most `count` photos in progress."""
    pending: deque[Future[PhotoWork]] = deque()
    for work in works:
        pending.append(pool.submit(_decode, work))
        if len(pending) == count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _decode(work: PhotoWork) -> PhotoWork:
    try:
        work.photo, work.field_of_view, note = read_photo_apart(work.item.read())
        work.note = _with_name(work.item.name, note)
    except Exception as error:  # raised again when this photo is finished
        work.error = error
    return work


def _predict(
    predictor: AiOSPredictor, batch: list[PhotoWork], limits: PeopleLimits, size: int
) -> None:
    """Fill in predictions; a failed batch is split, so that only the photo at fault fails."""
    if not batch:
        return
    photos = [work.photo for work in batch if work.photo is not None]
    try:
        predictions = predictor.predict_batch(
            photos, limits.threshold, limits.max_people, batch_size=min(size, len(batch))
        )
    except Exception as error:  # raised again when this photo is finished
        if len(batch) == 1:
            batch[0].error = error
            return
    else:
        for work, prediction in zip(batch, predictions, strict=True):
            work.prediction = _with_camera(prediction, limits.field_of_view, work.field_of_view)
        return
    # Outside the handler, where the exception no longer holds the memory of the failed batch.
    half = len(batch) // 2
    _predict(predictor, batch[:half], limits, size)
    _predict(predictor, batch[half:], limits, size)


def _with_camera(prediction: Prediction, chosen: float | None, exif: float | None) -> Prediction:
    if chosen is not None:
        return prediction.with_field_of_view(chosen)
    return prediction if exif is None else prediction.with_field_of_view(exif, "exif")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, the CPU allocator of torch or CUDA ran out of memory."""
    return (
        isinstance(error, MemoryError)
        or "out of memory" in str(error).lower()
        or ("can't allocate memory" in str(error).lower())
    )
