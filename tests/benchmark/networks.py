"""Milliseconds of candidates for the built-in network: `python -m tests.benchmark.networks`.

Random weights, a photo of 448 x 320, all person slots computed.  The networks are timed in turns;
the result is the fastest of several runs.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aios.body.model import BodyModel
from aios.cli import configure_threads_and_malloc
from aios.network.config import BUILTIN_CONFIG, AiOSConfig, BackboneConfig
from aios.network.model import AiOS
from aios.predictor import AiOSPredictor
from aios.weights.load import WeightsInfo

SHAPE = (320, 448, 3)
_RESNET = BackboneConfig(
    block="basic",
    depths=(1, 1, 2, 2),
    widths=(32, 64, 128, 192),
    stem_width=16,
    feature_stages=(2, 3),
)
_FINER = replace(BUILTIN_CONFIG.backbone, feature_stages=(2, 3, 4, 6))


def networks() -> dict[str, AiOSConfig]:
    own = BUILTIN_CONFIG
    return {
        "ResNet, one encoder layer": replace(own, encoder_layers=1, backbone=_RESNET),
        "one encoder layer": replace(own, encoder_layers=1),
        "built-in": own,
        "128 channels": replace(own, hidden_dim=128),
        "tokens of stride 8": replace(own, backbone=_FINER, num_levels=3, proposal_size=0.075),
        "192 channels, more layers": replace(
            own,
            hidden_dim=192,
            feedforward_dim=768,
            refine_body_layers=2,
            refine_whole_body_layers=2,
        ),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.networks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args(arguments)
    body, photo = BodyModel.load(), np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    info = WeightsInfo("file", "random weights", Path("random"), False, "standin", 0.0)
    found = {}
    for name, config in networks().items():
        model = AiOS(config)
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        found[name] = (AiOSPredictor(model, info, body, "cpu"), millions, [])
    for _ in range(options.repeats + 1):
        for predictor, _, seconds in found.values():
            start = time.perf_counter()
            with torch.inference_mode():
                predictor.find_candidates(photo)
            seconds.append(time.perf_counter() - start)
    for name, (_, millions, seconds) in found.items():
        milliseconds = 1000 * min(seconds[1:])
        sys.stdout.write(f"{name}: {millions:.1f} M parameters, {milliseconds:.0f} ms\n")


if __name__ == "__main__":
    configure_threads_and_malloc()
    main()
