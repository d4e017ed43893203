"""The one front door: a photo in, people as posed meshes out."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from .accelerate.cuda_graphs import CudaGraph, cuda_graphs_available
from .accelerate.install import Speed, accelerate
from .attention import keep_attention, watch_self_attention
from .body.model import BodyModel
from .geometry.camera import Camera
from .media.photo import PhotoSource, photo_pixels, read_photo
from .network.config import ImageConfig
from .network.model import AiOS
from .network.preprocessing import ImageBatch, batch_images, prepare_photo
from .people import People, people_from_table, people_table
from .posing import Posing
from .prediction import Candidates, Prediction
from .resources import EXAMPLES
from .weights.load import WeightsInfo, load_model

DEFAULT_MAX_PEOPLE = 30
PHOTOS_AT_ONCE = 8
INPUT_SHARES = {"fast": 0.64, "balanced": 0.8, "full": 1.0}


class AiOSPredictor:
    """Network, body model and everything between a photo and a `Prediction`.

    May be called from many threads; the network runs for one of them at a time.

    Attributes:
        weights: which weights are in use and why.
        speed: "exact" or "fast", whichever is in use.
        body: which body is posed.
    """

    def __init__(
        self,
        model: AiOS,
        weights: WeightsInfo,
        body: BodyModel,
        device: torch.device | str | None = None,
        speed: Speed = "exact",
    ) -> None:
        """Take over `model`: it is changed for inference and moves to `device`.

        `device` None means the first CUDA device where there is one, else the CPU; for `speed` see
        `aios.accelerate.install`.
        """
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.model = accelerate(model, self.device, speed, _calibration_photos)
        self.speed = self.model.speed
        self.weights = weights
        self.body = body.to(device=self.device)
        self._posing = self._posing_of(self.body)
        self._network_lock = threading.Lock()
        self._graph: CudaGraph | None = None
        if self.speed == "fast" and cuda_graphs_available(self.device):
            self._graph = CudaGraph(self._table, allow_tf32=True)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "auto",
        body: str | Path | None = None,
        device: torch.device | str | None = None,
        speed: Speed = "exact",
    ) -> Self:
        """Load weights and a body.

        Args:
            source: "auto" (the official weights if they can be had quickly, else the built-in
                ones), "official", "builtin", a Hub repository, or a file.
            body: SMPL-X file or folder; None takes AIOS_SMPLX from the environment, else the
                stand-in.
            device: None means CUDA where there is one.
            speed: "exact", or "fast": on a CPU large products in 8 bits, which moves vertices by
                a millimetre or two; where that cannot be had, exact.

        Raises:
            CheckpointError: the weights cannot be had or used.
            BodyModelError: the body model cannot be used.
        """
        body_model = BodyModel.load(body)
        loaded = load_model(source)
        return cls(loaded.model, loaded.weights, body_model, device, speed)

    def with_body(self, body: BodyModel) -> Self:
        """The same network, which still runs for one photo at a time, over another body."""
        other = copy.copy(self)
        other.body = body if body.device == self.body.device else body.to(self.body.device)
        other._posing = other._posing_of(other.body)
        return other

    def _posing_of(self, body: BodyModel) -> Posing:
        return Posing(body, self.weights.body_convention == "smplx")

    @property
    def input_sizes(self) -> dict[str, ImageConfig]:
        """Sizes of the network's input from fast and coarse to that of the weights.

        The shares are those of short sides 512, 640 and 800 pixels, of which the last is the
        paper's; sides are multiples of what the network asks for.
        """
        image = self.model.config.image

        def scaled(side: int, share: float) -> int:
            return max(round(side * share / image.multiple), 1) * image.multiple

        return {
            name: image
            if share == 1
            else replace(
                image,
                short_side=scaled(image.short_side, share),
                long_side=scaled(image.long_side, share),
            )
            for name, share in INPUT_SHARES.items()
        }

    def predict(
        self,
        photo: PhotoSource,
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
    ) -> Prediction:
        """Everyone in a photo.

        Args:
            photo: RGB uint8 (H, W, 3) in any size, a PIL image, a path or the bytes of a file
                (EXIF orientation is applied).
            threshold: lowest score, 0-1; None takes the one the weights come with.
            max_people: at most this many, best scores first.

        Raises:
            PhotoError: the photo cannot be read.
        """
        candidates = self.find_candidates(photo, min_score=self._least_score(threshold))
        return self.assemble(candidates, threshold, max_people)

    def predict_batch(
        self,
        photos: Sequence[PhotoSource],
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
        batch_size: int = PHOTOS_AT_ONCE,
    ) -> list[Prediction]:
        """As `predict` for each photo, in the same order; photos of one input size run together.

        Photos of different sizes are never padded to each other: padding changes the numbers.

        Args:
            photos: as for `predict`.
            threshold: as for `predict`.
            max_people: as for `predict`.
            batch_size: at most this many run together, 1 or more.
        """
        arrays = [photo_pixels(photo) for photo in photos]
        config = self.model.config.image
        prepared = [prepare_photo(array, config, self.device) for array in arrays]
        by_size: dict[torch.Size, list[int]] = {}
        for index, pixels in enumerate(prepared):
            by_size.setdefault(pixels.shape, []).append(index)
        results: dict[int, Prediction] = {}
        batches = [
            indices[start : start + batch_size]
            for indices in by_size.values()
            for start in range(0, len(indices), batch_size)
        ]
        for indices in batches:
            images = batch_images([prepared[index] for index in indices])
            sizes = [arrays[index].shape[:2] for index in indices]
            found = self._run(images, sizes, min_score=self._least_score(threshold))
            results |= zip(indices, self._assembled(found, threshold, max_people), strict=True)
        return [results[index] for index in range(len(photos))]

    def find_candidates(
        self,
        photo: PhotoSource,
        *,
        image: ImageConfig | None = None,
        with_attention: bool = False,
        min_score: float = 0.0,
    ) -> Candidates:
        """Run the network once; `assemble` may then be called with any threshold.

        Args:
            photo: as for `predict`.
            image: input size other than that of the weights: smaller is faster and coarser.
            with_attention: also keep where the decoder looked.
            min_score: 0-1, people of a lower score need not be worked out: all their numbers but
                the score may be meaningless, and no lower threshold may be used.

        Raises:
            PhotoError: the photo cannot be read.
        """
        array = photo_pixels(photo)
        pixels = prepare_photo(array, image or self.model.config.image, self.device)
        images = batch_images([pixels])
        return self._run(images, [array.shape[:2]], with_attention, min_score)[0]

    def assemble(
        self,
        candidates: Candidates,
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
    ) -> Prediction:
        """Keep the people at or above `threshold` and pose their bodies; see `predict`."""
        return self._assembled([candidates], threshold, max_people)[0]

    def _assembled(
        self, found: Sequence[Candidates], threshold: float | None, max_people: int
    ) -> list[Prediction]:
        """As `assemble` for each of some photos, whose bodies are posed together."""
        if threshold is None:
            threshold = self.weights.threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"The score threshold must be between 0 and 1, not {threshold}.")
        chosen = []
        for candidates in found:
            chosen.append(
                candidates.people.best(threshold, self.weights.max_overlap, max(max_people, 0))
            )
        predictions = []
        posed = self._posing(chosen)
        for candidates, people, (vertices, joints_3d) in zip(found, chosen, posed, strict=True):
            prediction = Prediction(
                people=people,
                camera=candidates.camera,
                vertices=vertices,
                joints_3d=joints_3d,
                faces=self.body.faces,
                weights=self.weights.name,
                body=self.body.name,
            )
            if self.weights.placed_by == "keypoints" and not candidates.placed:
                prediction = prediction.placed_by_keypoints()
            predictions.append(prediction)
        return predictions

    def placed(self, people: People, camera: Camera) -> People:
        """The same people where a `Prediction` of them would have them stand.

        Args:
            people: P of one photo.
            camera: of the photo.
        """
        if self.weights.placed_by == "camera":
            return people
        return self.assemble(Candidates(people, camera), 0.0, len(people)).people

    def _run(
        self,
        images: ImageBatch,
        sizes_hw: Sequence[tuple[int, ...]],
        with_attention: bool = False,
        min_score: float = 0.0,
    ) -> list[Candidates]:
        watching = watch_self_attention(self.model) if with_attention else contextlib.nullcontext()
        with self._network_lock, torch.inference_mode(), watching as seen:
            if self._graph is not None and not with_attention and images.padding_mask is None:
                (table,) = self._graph(images.pixels.to(self.device))
            else:
                given = images.to(self.device)
                output = self.model(given, keep_attention=with_attention, min_score=min_score)
                table = people_table(output.final)
            rows = table.cpu().numpy()
        found = []
        for index, (height, width) in enumerate(sizes_hw):
            input_height, input_width = images.sizes_hw[index].tolist()
            camera = Camera(
                self.model.config.focal_length,
                (input_width / 2, input_height / 2),
                input_width,
                input_height,
            ).scaled(width, height)
            people = people_from_table(rows[index], width, height)
            attention = None
            if seen is not None:
                # Who is left out as a double at one threshold is left out at all.
                best = people.without_doubles(self.weights.max_overlap).query_indices
                attention = keep_attention(output, seen, index, best)
            found.append(Candidates(people, camera, attention))
        return found

    def _table(self, pixels: Tensor) -> tuple[Tensor]:
        """Images of one size (B, 3, H, W) -> everyone of each, see `people_table`."""
        sizes = pixels.new_empty(len(pixels), 2)  # the network does not ask for them
        return (people_table(self.model(ImageBatch(pixels, None, sizes)).final),)

    def _least_score(self, threshold: float | None) -> float:
        return self.weights.threshold if threshold is None else threshold


def _calibration_photos() -> list[np.ndarray]:
    return [read_photo(path) for path in sorted(EXAMPLES.glob("*.jpg"))]
