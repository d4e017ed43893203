"""Weights of TensorFlow.js models."""

import json

import numpy as np
import pytest

from training.tensorflow_js import read_model

ENTRY = {
    "name": "w",
    "dtype": "float32",
    "shape": [2, 2],
    "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0},
}


def write(folder, data):
    (folder / "model.json").write_text(json.dumps({"weightsManifest": [{"weights": [ENTRY]}]}))
    (folder / "model.bin").write_bytes(data)
    return folder / "model"


def test_quantised_weights_are_dequantised(tmp_path):
    model, weights = read_model(write(tmp_path, bytes([0, 2, 4, 6])))
    assert weights["w"].tolist() == [[-1.0, 0.0], [1.0, 2.0]]
    assert weights["w"].dtype == np.float32
    assert model["weightsManifest"][0]["weights"][0]["name"] == "w"


@pytest.mark.parametrize("size", [3, 5])
def test_data_of_another_size_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match=f"{size} bytes"):
        read_model(write(tmp_path, bytes(size)))
