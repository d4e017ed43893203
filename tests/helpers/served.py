"""Page with a tiny network of random weights."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aios import AiOSPredictor, BodyModel, WeightsInfo
from aios.network.config import ImageConfig
from aios.page import sessions
from aios.page.layout import build_page
from aios.page.server import launch
from tests.helpers.networks import TINY, random_model

STANDIN = Path(__file__).resolve().parents[2] / "assets" / "body" / "standin.npz"
WEIGHTS = WeightsInfo(
    name="file",
    description="weights from /secret/folder/tiny.safetensors",
    path=Path("/secret/folder/tiny.safetensors"),
    is_official=False,
    body_convention="standin",
    threshold=0.0,
)


def tiny_predictor() -> AiOSPredictor:
    """Predictor that finds five people with different scores, poses and positions in any photo."""
    # Group norm needs more than one value: the coarsest level must have several pixels.
    config = replace(TINY, image=ImageConfig(short_side=96, long_side=128))
    return AiOSPredictor(random_model(config, 0), WEIGHTS, BodyModel.load(STANDIN), "cpu")


def count_forwards(predictor: AiOSPredictor) -> list[int]:
    """Return a list that grows by one element with each run of the network."""
    runs: list[int] = []
    predictor.model.register_forward_hook(lambda *_: runs.append(1))
    return runs


def middle_threshold(predictor: AiOSPredictor, photo: Path) -> float:
    """Return a threshold between the second and the third score of a photo."""
    scores = predictor.find_candidates(photo).people.scores
    return float((scores[1] + scores[2]) / 2)


def save_photo(path: Path, width: int = 120, height: int = 90) -> Path:
    """Write a colourful photo; the suffix selects the file type."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(small).resize((width, height)).save(path)
    return path


def free_port() -> int:
    """Return a free port."""
    # A random one, because parallel test processes would all take the first.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def served(
    predictor: AiOSPredictor, folder: Path, host: str = "127.0.0.1", **options
) -> Iterator[str]:
    """Serve the page and yield its address; uploads and results go to `folder`.

    `options` are those of `server.launch`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        patch.setattr(sessions, "GRACE_SECONDS", 1.0)
        page = build_page(predictor)
        try:
            yield launch(page, host, free_port(), **options)
        finally:
            page.close(verbose=False)
