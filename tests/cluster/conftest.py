"""Small weights and photos for the tests of the cluster."""

import os
import secrets
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from aios.network.config import ImageConfig
from aios.weights.checkpoint import save_safetensors
from tests.helpers.networks import TINY, random_model

# Ray reads these when it is imported; without a token it would save one in the home folder.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """File of a network that finds five people in any photo."""
    config = replace(TINY, image=ImageConfig(short_side=96, long_side=128))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    extra = {"body_convention": "standin", "threshold": "0.0"}
    save_safetensors(path, random_model(config, 0).state_dict(), config, extra)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of ten photos of two sizes, one of them in a folder below, one of them broken."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(8):
        pixels = rng.integers(0, 256, (60, 80, 3) if index % 3 else (80, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "more" / "a.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "notes.md").write_text("nothing")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder
