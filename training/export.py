"""Export averaged weights of a run: `python -m training.export --run DIR --out FILE`."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from aios.network.config import STAGES, AiOSConfig
from aios.network.model import AiOS
from aios.weights.checkpoint import CheckpointError, read_safetensors, save_safetensors
from aios.weights.load import CALIBRATION_KEY, Placement

from .engine.checkpointing import averaged_weights, load_newest
from .engine.history import run_record


def with_short_side(config: AiOSConfig, short_side: int) -> AiOSConfig:
    """Config for another image size; the focal length keeps the field of view."""
    image = config.image
    scale = short_side / image.short_side
    sized = replace(image, short_side=short_side, long_side=round(image.long_side * scale))
    return replace(config, image=sized, focal_length=config.focal_length * scale)


def with_final_heads(
    config: AiOSConfig, weights: dict[str, Tensor]
) -> tuple[AiOSConfig, dict[str, Tensor]]:
    """Drop the SMPL-X heads of all decoder stages but the last, which inference does not use."""
    config = replace(config, smplx_stages=STAGES[-1:])
    with torch.device("meta"):
        names = AiOS(config).state_dict().keys()
    return config, {name: weights[name] for name in names}


@dataclass(frozen=True)
class Blend:
    """Weights on the line from an earlier file to the run (Wortsman et al., CVPR 2022).

    Fine-tuned weights forget some of what the earlier ones know; those between are often better
    than both.
    """

    file: Path
    """Weights that the run started from."""
    share: float
    """0 for those of the file, 1 for those of the run."""

    def apply(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Blend the weights of the run with those of the file.

        Raises:
            CheckpointError: the file cannot be read or is another network.
        """
        earlier = read_safetensors(self.file)[1]
        if {n: t.shape for n, t in earlier.items()} != {n: t.shape for n, t in weights.items()}:
            raise CheckpointError(f"{self.file} and the run have different networks.")
        return {
            name: torch.lerp(earlier[name].float(), weight.float(), self.share)
            if weight.is_floating_point()
            else weight
            for name, weight in weights.items()
        }

    def record(self) -> dict[str, Any]:
        """Entry of the manifest: file, share, and how the manifest beside the file was made."""
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        entry = {"file": self.file.name, "sha256": digest, "share": self.share}
        manifest = self.file.parent / "manifest.json"
        known = json.loads(manifest.read_text()) if manifest.is_file() else {}
        if known.get("sha256") != digest:
            return entry
        return entry | {name: known[name] for name in ("blend", "runs") if known.get(name)}


def export(
    run: Path,
    out: Path,
    threshold: float,
    short_side: int | None = None,
    max_overlap: float = 1.0,
    placed_by: Placement = "camera",
    blend: Blend | None = None,
) -> dict[str, Any]:
    """Write the averaged weights of a run's newest checkpoint.

    Args:
        run: folder of the run.
        out: safetensors file to write, half precision.
        threshold: lowest score of a person, stored in the file.
        short_side: pixels of the network's input; None keeps that of the run.
        max_overlap: largest IoU of two people's boxes, stored in the file; 1 keeps everyone.
        placed_by: source of people's positions, stored in the file.
        blend: earlier weights to blend with; None for those of the run alone.

    Returns:
        Entry of the manifest: size, hash and settings of the file, and the runs that made it,
        see `history.run_record`.

    Raises:
        CheckpointError: the run has no usable checkpoint, or `blend` does not fit.
    """
    state = load_newest(run)
    config, weights = with_final_heads(*averaged_weights(state, run))
    blended = {}
    if blend is not None:
        weights = blend.apply(weights)
        blended = {"blend": blend.record()}
    if short_side is not None:
        config = with_short_side(config, short_side)
    out.parent.mkdir(parents=True, exist_ok=True)
    extra = {
        "body_convention": "standin",
        "threshold": str(threshold),
        "max_overlap": str(max_overlap),
        "placed_by": placed_by,
    }
    save_safetensors(out, weights, config, extra)
    return {
        "file": out.name,
        "bytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "parameters": sum(w.numel() for w in weights.values()),
        "threshold": threshold,
        "max_overlap": max_overlap,
        "placed_by": placed_by,
        "short_side": config.image.short_side,
        **blended,
        "runs": [*state["origin"]["runs"], run_record(state)],
    }


def write_manifest(path: Path, entry: dict[str, Any], notes: dict[str, Any]) -> None:
    """Write `entry` and `notes` (data, commands, results) as JSON."""
    path.write_text(json.dumps(entry | notes, indent=1) + "\n")


def update_manifest(weights: Path) -> None:
    """Update the manifest beside rewritten weights; without one for this file, do nothing."""
    path = weights.parent / "manifest.json"
    if not path.is_file():
        return
    entry = json.loads(path.read_text())
    if entry.get("file") != weights.name:
        return
    _, state, metadata = read_safetensors(weights)
    entry |= {
        "bytes": weights.stat().st_size,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "threshold": float(metadata["threshold"]),
        "max_overlap": float(metadata["max_overlap"]),
    }
    if CALIBRATION_KEY in metadata:
        entry[CALIBRATION_KEY] = metadata[CALIBRATION_KEY]
    write_manifest(path, entry, {})


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("checkpoints/builtin.safetensors"))
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument(
        "--short-side", type=int, help="pixels of the network's input; default: as in the run"
    )
    parser.add_argument(
        "--max-overlap",
        type=float,
        default=0.5,
        help="drop the lower-scoring of two people whose boxes have a larger IoU; 1 keeps all",
    )
    parser.add_argument(
        "--placed-by",
        choices=get_args(Placement),
        default="keypoints",
        help="place people by the predicted camera or by the 2D keypoints",
    )
    parser.add_argument("--blend", type=Path, metavar="FILE", help="earlier weights to blend with")
    parser.add_argument(
        "--blend-share", type=float, default=0.5, help="share of the run; 0 gives those of FILE"
    )
    parser.add_argument("--notes", type=Path, help="JSON to merge into manifest.json beside FILE")
    options = parser.parse_args(arguments)
    try:
        entry = export(
            options.run,
            options.out,
            options.threshold,
            options.short_side,
            options.max_overlap,
            options.placed_by,
            Blend(options.blend, options.blend_share) if options.blend else None,
        )
    except CheckpointError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    notes = json.loads(options.notes.read_text()) if options.notes else {}
    write_manifest(options.out.parent / "manifest.json", entry, notes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
