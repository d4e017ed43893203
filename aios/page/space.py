"""Hugging Face Spaces: body model from a secret repository, and ZeroGPU.

ZeroGPU lends a GPU for the seconds of one call. The decorated function runs in a forked process
with the GPU; arguments and result are pickled. On other machines nothing is changed.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..accelerate.zero_gpu import on_zero_gpu
from ..cli import load_predictor

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..media.photo import PhotoSource
    from ..prediction import Candidates
    from ..predictor import AiOSPredictor

    FindCandidates = Callable[[np.ndarray, dict[str, Any]], Candidates]

GPU_SECONDS = 20
"""Requested per photo; shorter requests have priority."""

_log = logging.getLogger(__name__)


def load_page_predictor(options: argparse.Namespace) -> AiOSPredictor:
    """Load the predictor like the command line, with the body and GPU of a Space if it runs in one.

    Raises:
        StartError: weights, body or device are not available.
    """
    if on_zero_gpu():
        # `spaces` patches torch, so it is imported first. The network is moved to the GPU below;
        # the speed mode "fast" is for CPUs.
        importlib.import_module("spaces")
        options.device, options.speed = "cpu", "exact"
    predictor = load_predictor(options)

    from ..body.location import ENVIRONMENT_VARIABLE
    from .private_body import body_of_environment

    if options.body is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        body = body_of_environment()
        if body is not None:
            _log.info("Body: %s, from the Hugging Face Hub", body.name)
            predictor = predictor.with_body(body)
    if on_zero_gpu():
        use_zero_gpu(predictor)
    return predictor


def on_gpu(function: FindCandidates) -> FindCandidates:
    """Decorate `function` to run on a GPU of ZeroGPU; elsewhere return it unchanged."""
    if not on_zero_gpu():
        return function
    spaces: Any = importlib.import_module("spaces")
    return spaces.GPU(duration=GPU_SECONDS)(function)


def use_zero_gpu(predictor: AiOSPredictor, device: torch.device | str = "cuda") -> None:
    """Change `predictor`, which is on the CPU, to run its network on GPUs of ZeroGPU.

    The body model stays on the CPU: another threshold or field of view then needs no GPU.
    """
    import torch

    from ..media.photo import read_photo

    predictor.device = torch.device(device)
    predictor.model.to(predictor.device)
    find = predictor.find_candidates

    def find_on_gpu(photo: np.ndarray, settings: dict[str, Any]) -> Candidates:
        return find(photo, **settings)

    find_decorated = on_gpu(find_on_gpu)

    def find_candidates(photo: PhotoSource, **settings: Any) -> Candidates:  # noqa: ANN401
        # Read here, so that damaged files use no GPU time.
        return find_decorated(read_photo(photo), settings)

    predictor.find_candidates = find_candidates  # type: ignore[method-assign]
