"""Train a network: `python -m training.train --config NAME --out DIR`.

The same command again resumes the run; `torchrun` starts several processes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import torch

from aios.body.model import BodyModel
from aios.network.config import ConfigError
from aios.weights.checkpoint import CheckpointError

from .config import CONFIGS, VARIANTS, named_config
from .data.archive import DataError
from .data.real_photos import RealDataError
from .engine.distributed import process_group
from .engine.run_folder import RunFolderError, run_folder
from .engine.stream import open_stream
from .engine.train_config import TrainConfig
from .engine.trainer import NonFiniteLossError, Trainer
from .synthetic.mocap import MOCAP_VARIABLE, MocapError

_REPORTED = (
    *(ConfigError, CheckpointError, DataError, MocapError, RealDataError, NonFiniteLossError),
    *(RunFolderError, FileNotFoundError),
)
"""Errors printed as one sentence, without traceback."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument(
        "--config",
        default="builtin",
        metavar="NAME[+VARIANT...]",
        help=f"named run ({', '.join(CONFIGS)}), with variants ({', '.join(VARIANTS)})",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, help="length of the run in minutes of training")
    # torchrun would read "--start" as an abbreviation of its own option.
    parser.add_argument("--start-from", help="weights file, or folder of a run, to start from")
    parser.add_argument(
        "--backbone", help="classifier (.pth) or MoveNet (.json) to start the backbone from"
    )
    parser.add_argument("--data", help="folder of all data sets")
    parser.add_argument("--real", help="folder of photos of single people and of backgrounds")
    parser.add_argument("--cache", help="folder of cached synthetic scenes")
    parser.add_argument("--annotated", help="folder written by training.annotate")
    parser.add_argument("--annotated-images", help="folder that its image paths start from")
    parser.add_argument(
        "--mocap",
        default=os.environ.get(MOCAP_VARIABLE),
        help=f"folder of motion-capture packs for scenes (default: ${MOCAP_VARIABLE})",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. optim.clip_norm=1"
    )
    return parser


def _config(options: argparse.Namespace) -> TrainConfig:
    changes = list(options.set)
    if options.minutes is not None:
        changes += [f"minutes={options.minutes}", "steps=0", "epochs=0"]
    if options.data:
        changes.append(f"photos.root={json.dumps(options.data)}")
    for name, value in (("start", options.start_from), ("backbone", options.backbone)):
        if value:
            changes.append(f"{name}={json.dumps(value)}")
    for name in ("real", "cache", "annotated", "annotated_images"):
        if getattr(options, name):
            changes.append(f"data.{name}={json.dumps(getattr(options, name))}")
    if options.mocap:
        changes.append(f"data.mocap.folder={json.dumps(options.mocap)}")
    config = named_config(options.config, changes)
    if not config.steps and not config.minutes and not config.epochs:
        raise ConfigError("the run has no length: give --minutes N, or --set steps=N or epochs=N")
    if config.frozen_stages and not config.start and not config.backbone:
        raise ConfigError(
            f"frozen_stages={config.frozen_stages} would freeze random weights: give --backbone or"
            " --start-from, or --set frozen_stages=null to train the whole network"
        )
    return config


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if the run fails."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = _config(options)
        torch.set_num_threads(config.threads)
        with process_group(), run_folder(options.out):
            stream = open_stream(config)
            Trainer(config, options.out, BodyModel.load()).run(stream)
    except _REPORTED as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:  # a full disk, for example
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"the run stopped: {place}{error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
