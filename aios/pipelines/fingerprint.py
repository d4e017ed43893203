"""Fingerprints of weights and settings: results of different ones are not mixed."""

from __future__ import annotations

import hashlib
import json

from ..predictor import AiOSPredictor


def weights_checksum(predictor: AiOSPredictor) -> str:
    """SHA-256 of the weights' file, 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with predictor.weights.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings_fingerprint(predictor: AiOSPredictor, *settings: object) -> str:
    """32 hexadecimal digits that differ if weights, body, refinement or a setting differs.

    Args:
        predictor: with the weights and the body.
        settings: numbers, text, and collections of them.

    Raises:
        OSError: the file of the weights cannot be read.
    """
    checksums = [weights_checksum(predictor), predictor.body.checksum]
    text = json.dumps([*checksums, predictor.refine, settings], default=_sorted)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _sorted(values: object) -> list[str]:
    if not isinstance(values, (set, frozenset)):
        raise TypeError(f"{type(values).__name__} is not a setting.")
    return sorted(values)
