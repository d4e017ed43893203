"""NumPy archives (NPZ): arrays written in parts, and metadata for the `smplx` package."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ..geometry.camera import Camera


def npz_metadata(camera: Camera, weights: str, body: str) -> dict[str, Any]:
    """Metadata arrays: camera, arguments of `smplx.create`, names of weights and body.

    Args:
        camera: of the photo or video.
        weights: name of the weights.
        body: name of the body model.
    """
    return {
        "focal_length": np.float64(camera.focal_length),
        "principal_point": np.array(camera.principal_point, np.float64),
        "image_size": np.array([camera.width, camera.height], np.int64),
        "gender": "neutral",
        "num_betas": np.int64(10),
        "num_expression_coeffs": np.int64(10),
        "use_pca": np.bool_(False),
        "flat_hand_mean": np.bool_(False),
        "weights": weights,
        "body": body,
    }


def write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    parts: Iterator[np.ndarray],
) -> None:
    """Write one array in parts, so that memory stays bounded.

    Args:
        archive: open for writing.
        name: key of the array.
        dtype: of the array.
        shape: of the whole array.
        parts: consecutive pieces along the first axis.
    """
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).tobytes())
