"""What a Hugging Face Space has and other machines have not: ZeroGPU, and secrets.

On ZeroGPU a GPU is lent for the seconds of one call.  The decorated function runs in a forked
process, the only one that sees the GPU; arguments and result are pickled.  Everywhere else nothing
of this happens.
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

LOAN_SECONDS = 20
"""Asked for with each photo; shorter loans are served sooner."""

_log = logging.getLogger(__name__)


def load_page_predictor(options: argparse.Namespace) -> AiOSPredictor:
    """`arguments.load_predictor`, with what the environment of a Space adds to it.

    Raises:
        StartError: weights, body or device cannot be had.
    """
    if on_zero_gpu():
        # Before torch, which it changes.  The network goes to the GPU below; 8 bits are for CPUs.
        importlib.import_module("spaces")
        options.device, options.speed = "cpu", "exact"
    predictor = load_predictor(options)

    from ..body.file import ENVIRONMENT_VARIABLE
    from .private_body import body_of_environment

    if options.body is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        body = body_of_environment()
        if body is not None:
            _log.info("Body: %s, from a repository of the Hub", body.name)
            predictor = predictor.with_body(body)
    if on_zero_gpu():
        lend_gpu(predictor)
    return predictor


def on_gpu(function: FindCandidates) -> FindCandidates:
    """Run `function` on a lent GPU, on ZeroGPU; elsewhere the function itself."""
    if not on_zero_gpu():
        return function
    spaces: Any = importlib.import_module("spaces")
    return spaces.GPU(duration=LOAN_SECONDS)(function)


def lend_gpu(predictor: AiOSPredictor, device: torch.device | str = "cuda") -> None:
    """Let the network of `predictor`, which is on the CPU, run on lent GPUs; for good.

    Bodies stay on the CPU: another threshold or field of view then takes no loan.
    """
    import torch

    from ..media.photo import read_photo

    predictor.device = torch.device(device)
    predictor.model.to(predictor.device)
    find = predictor.find_candidates

    def find_on_gpu(photo: np.ndarray, settings: dict[str, Any]) -> Candidates:
        return find(photo, **settings)

    lent = on_gpu(find_on_gpu)

    def find_candidates(photo: PhotoSource, **settings: Any) -> Candidates:  # noqa: ANN401
        # Read here: bad files must not cost a loan.
        return lent(read_photo(photo), settings)

    predictor.find_candidates = find_candidates  # type: ignore[method-assign]
