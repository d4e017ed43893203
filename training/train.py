"""Train a network: `python -m training.train --config builtin --out DIR`.

The same command again continues where the last call stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from aios.body_model import BodyModel

from .checkpointing import CheckpointError
from .config import CONFIGS, ConfigError, TrainConfig, named_config
from .data import Sources
from .data.real import RealDataError
from .distributed import joined
from .loop import NonFiniteLossError, Trainer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--config", default="builtin", help=", ".join(sorted(CONFIGS)))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, help="length of the run in minutes of training")
    parser.add_argument("--real", help="folder of real photographs")
    parser.add_argument("--cache", help="folder of cached scenes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. optim.clip_norm=1"
    )
    return parser


def _config(options: argparse.Namespace) -> TrainConfig:
    changes = list(options.set)
    if options.minutes is not None:
        changes.append(f"minutes={options.minutes}")
    for name in ("real", "cache"):
        if getattr(options, name):
            changes.append(f"data.{name}={getattr(options, name)}")
    config = named_config(options.config, changes)
    if not config.steps and not config.minutes:
        raise ConfigError("how long? give --minutes or --set steps=N")
    return config


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit code is 1 if the run could not be done."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        config = _config(options)
        torch.set_num_threads(config.threads)
        with joined():
            trainer = Trainer(config, options.out, BodyModel.load())
            trainer.run(Sources(config.data))
    except (ConfigError, CheckpointError, RealDataError, NonFiniteLossError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except FileNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
