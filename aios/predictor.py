"""Predictor: photo in, people as posed meshes out."""

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
from .fitting.fit import fit_people
from .geometry.camera import Camera
from .geometry.tiles import tiles
from .media.photo import PhotoSource, photo_pixels, read_photo
from .network.config import ImageConfig
from .network.model import AiOS
from .network.preprocessing import (
    ImageBatch,
    PhotoPlacement,
    batch_images,
    place_photo,
    prepare_photo,
)
from .people import People, people_from_table, people_table
from .posing import BodyPoser
from .prediction import Candidates, Prediction, candidates_of_tiles
from .resources import EXAMPLES
from .weights.load import WeightsInfo, load_model

DEFAULT_MAX_PEOPLE = 30
DEFAULT_BATCH_SIZE = 8
INPUT_SCALES = {"fast": 0.64, "balanced": 0.8, "full": 1.0}


class AiOSPredictor:
    """Network and body model: predicts the people of photos.

    Thread-safe; the network runs for one thread at a time.

    Attributes:
        weights: weights in use.
        speed: mode in use, "exact" or "fast".
        body: body model that is posed.
        refine: whether poses are refined to the predicted keypoints.
        image: input size of the network.
    """

    def __init__(
        self,
        model: AiOS,
        weights: WeightsInfo,
        body: BodyModel,
        device: torch.device | str | None = None,
        speed: Speed = "exact",
        refine: bool | None = None,
    ) -> None:
        """Create a predictor; `model` is modified for inference and moved to `device`.

        Args:
            model: network with weights.
            weights: description of the weights.
            body: body model.
            device: None takes the first CUDA device if there is one, else the CPU.
            speed: see `aios.accelerate.install`.
            refine: see `from_pretrained`.
        """
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.model = accelerate(model, self.device, speed, _calibration_photos)
        self.speed = self.model.speed
        self.weights = weights
        self.image = self.model.config.image
        self.refine = weights.placed_by == "keypoints" if refine is None else refine
        self.body = body.to(device=self.device)
        self._poser = self._build_poser(self.body)
        self._network_lock = threading.Lock()
        self._graph: CudaGraph | None = None
        if self.speed == "fast" and cuda_graphs_available(self.device):
            self._graph = CudaGraph(self._run_table, allow_tf32=True)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "auto",
        body: str | Path | None = None,
        device: torch.device | str | None = None,
        speed: Speed = "exact",
        refine: bool | None = None,
    ) -> Self:
        """Load weights and a body model.

        Args:
            source: "auto" (official weights if cached or reachable, else built-in), "official",
                "builtin", a Hub repository or a file; see `load_model`.
            body: SMPL-X file or folder; None takes the environment variable AIOS_SMPLX, else the
                stand-in.
            device: None takes CUDA if available.
            speed: "exact" or "fast"; "fast" uses 8-bit products on a CPU, which moves vertices by
                one or two millimetres, and falls back to "exact" where not supported.
            refine: whether poses are refined to the predicted 2D keypoints, and distances to a
                common floor, see `aios.fitting`; None refines with weights whose people are placed
                by keypoints, as the built-in ones.

        Raises:
            CheckpointError: the weights are not available or not usable.
            BodyModelError: the body model is not usable.
        """
        body_model = BodyModel.load(body)
        loaded = load_model(source)
        return cls(loaded.model, loaded.weights, body_model, device, speed, refine)

    def with_body(self, body: BodyModel) -> Self:
        """Copy with another body model; both share the network and its lock."""
        other = copy.copy(self)
        other.body = body if body.device == self.body.device else body.to(self.body.device)
        other._poser = other._build_poser(other.body)
        return other

    def with_refinement(self, refine: bool) -> Self:
        """Copy with refinement on or off; both share the network and its lock."""
        other = copy.copy(self)
        other.refine = refine
        return other

    def with_input_size(self, name: str) -> Self:
        """Copy with one of `input_sizes`; both share the network and its lock."""
        other = copy.copy(self)
        other.image = self.input_sizes[name]
        return other

    def _build_poser(self, body: BodyModel) -> BodyPoser:
        return BodyPoser(body, self.weights.body_convention == "smplx")

    @property
    def input_sizes(self) -> dict[str, ImageConfig]:
        """Network input sizes by name, from "fast" to "full", the size of the weights.

        The scales correspond to short sides of 512, 640 and 800 pixels for the network of the
        paper.
        """
        image = self.model.config.image

        def scaled(side: int, scale: float) -> int:
            return max(round(side * scale / image.multiple), 1) * image.multiple

        return {
            name: image
            if scale == 1
            else replace(
                image,
                short_side=scaled(image.short_side, scale),
                long_side=scaled(image.long_side, scale),
            )
            for name, scale in INPUT_SCALES.items()
        }

    def predict(
        self,
        photo: PhotoSource,
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
    ) -> Prediction:
        """Predict the people in a photo.

        Args:
            photo: RGB uint8 (H, W, 3) of any size, a PIL image, a path or the bytes of a file
                (EXIF orientation is applied).
            threshold: minimum score, 0-1; None takes the default of the weights.
            max_people: maximum number of people, best scores first.

        Raises:
            PhotoError: the photo cannot be read.
        """
        candidates = self.find_candidates(photo, min_score=self._min_score(threshold))
        return self.assemble(candidates, threshold, max_people)

    def predict_batch(
        self,
        photos: Sequence[PhotoSource],
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> list[Prediction]:
        """Predict several photos, with results equal to `predict`, in the same order.

        Photos of equal input size are batched.  Photos of different sizes are not padded to a
        common size, since padding changes the results.

        Args:
            photos: see `predict`.
            threshold: see `predict`.
            max_people: see `predict`.
            batch_size: maximum number of photos per batch.
        """
        arrays = [photo_pixels(photo) for photo in photos]
        config = self.image
        results: dict[int, Prediction] = {}
        prepared: dict[int, Tensor] = {}
        by_size: dict[torch.Size, list[int]] = {}
        for index, array in enumerate(arrays):
            if tiles(array.shape[1], array.shape[0]):
                results[index] = self.predict(array, threshold, max_people)
                continue
            prepared[index] = prepare_photo(array, config, self.device)
            by_size.setdefault(prepared[index].shape, []).append(index)
        batches = [
            indices[start : start + batch_size]
            for indices in by_size.values()
            for start in range(0, len(indices), batch_size)
        ]
        for indices in batches:
            images = batch_images([prepared[index] for index in indices])
            placements = [_placement(arrays[index], config) for index in indices]
            found = self._run(images, placements, min_score=self._min_score(threshold))
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
        """Run the network once, for `assemble` with any threshold.

        It runs for each tile of a panorama, see `geometry.tiles`.

        Args:
            photo: see `predict`.
            image: another input size than that of the predictor, see `input_sizes`.
            with_attention: also keep the attention of the decoder; not that of panoramas.
            min_score: 0-1; outputs of people below it may be skipped, so no lower threshold may be
                used.

        Raises:
            PhotoError: the photo cannot be read.
        """
        array, config = photo_pixels(photo), image or self.image
        if parts := tiles(array.shape[1], array.shape[0]):
            found = [
                self.find_candidates(part.cut(array), image=config, min_score=min_score)
                for part in parts
            ]
            camera = _placement(array, config).camera(self.model.config.focal_length)
            return candidates_of_tiles(found, parts, camera)
        images = batch_images([prepare_photo(array, config, self.device)])
        return self._run(images, [_placement(array, config)], with_attention, min_score)[0]

    def assemble(
        self,
        candidates: Candidates,
        threshold: float | None = None,
        max_people: int = DEFAULT_MAX_PEOPLE,
    ) -> Prediction:
        """Select people by score and pose their bodies, see `predict`."""
        return self._assembled([candidates], threshold, max_people)[0]

    def _assembled(
        self, found: Sequence[Candidates], threshold: float | None, max_people: int
    ) -> list[Prediction]:
        """`assemble` for several photos, with bodies posed in one batch."""
        if threshold is None:
            threshold = self.weights.threshold
        if not 0 <= threshold <= 1:
            raise ValueError(f"The score threshold must be between 0 and 1, not {threshold}.")
        limit, max_overlap = max(max_people, 0), self.weights.max_overlap
        selected = [each.people.best(threshold, max_overlap, limit) for each in found]
        selected = [
            people if candidates.placed else self.placed(people, candidates.camera)
            for candidates, people in zip(found, selected, strict=True)
        ]
        predictions = []
        posed = self._poser(selected)
        for candidates, people, (vertices, joints_3d) in zip(found, selected, posed, strict=True):
            prediction = Prediction(
                people=people,
                camera=candidates.camera,
                vertices=vertices,
                joints_3d=joints_3d,
                faces=self.body.faces,
                weights=self.weights.name,
                body=self.body.name,
                refined=self.refine,
            )
            predictions.append(prediction)
        return predictions

    def placed(self, people: People, camera: Camera, common_floor: bool = True) -> People:
        """Place and refine people as in their `Prediction`; poses joints only, no meshes.

        Args:
            people: P people of one photo.
            camera: camera of the photo.
            common_floor: whether refinement moves people closer to one floor, see
                `fitting.common_floor`.
        """
        return fit_people(
            people,
            camera,
            self._poser,
            place=self.weights.placed_by == "keypoints",
            refine=self.refine,
            common_floor=common_floor,
        )

    def _run(
        self,
        images: ImageBatch,
        placements: Sequence[PhotoPlacement],
        with_attention: bool = False,
        min_score: float = 0.0,
    ) -> list[Candidates]:
        watching = watch_self_attention(self.model) if with_attention else contextlib.nullcontext()
        with self._network_lock, torch.inference_mode(), watching as inputs:
            if self._graph is not None and not with_attention and images.padding_mask is None:
                (table,) = self._graph(images.pixels.to(self.device))
            else:
                given = images.to(self.device)
                least = self.weights.calibration.least_class_score(min_score)
                output = self.model(given, keep_attention=with_attention, min_score=least)
                table = people_table(output.final, self.weights.calibration)
            rows = table.cpu().numpy()
        found = []
        for index, placement in enumerate(placements):
            camera = placement.camera(self.model.config.focal_length)
            people = people_from_table(rows[index], *placement.extent, placement.origin)
            attention = None
            if inputs is not None:
                # A person suppressed at one threshold is suppressed at all of them.
                best = people.suppress_duplicates(self.weights.max_overlap).query_indices
                attention = keep_attention(output, inputs, index, best, placement)
            found.append(Candidates(people, camera, attention))
        return found

    def _run_table(self, pixels: Tensor) -> tuple[Tensor]:
        """Images of one size (B, 3, H, W) -> `people_table` of the network output."""
        sizes = pixels.new_empty(len(pixels), 2)  # not read by the network
        final = self.model(ImageBatch(pixels, None, sizes)).final
        return (people_table(final, self.weights.calibration),)

    def _min_score(self, threshold: float | None) -> float:
        return self.weights.threshold if threshold is None else threshold


def _placement(photo: np.ndarray, config: ImageConfig) -> PhotoPlacement:
    height, width = photo.shape[:2]
    return place_photo(width, height, config)


def _calibration_photos() -> list[np.ndarray]:
    return [read_photo(path) for path in sorted(EXAMPLES.glob("*.jpg"))]
