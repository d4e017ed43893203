"""Result files of one photo: JSON, NPZ, GLB and the overlay as PNG.

The files contain posed meshes and parameters, never arrays of a body model.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..body.joint_names import JOINTS_3D_NAMES
from ..prediction import Prediction
from ..render.colors import person_colors
from ..render.overlay import overlay
from .checks import check_finite
from .npz import npz_metadata
from .person_files import person_files
from .photo_json import prediction_to_json
from .placement import AT_CAMERA, Placement, grounded
from .scene_glb import SceneCamera, people_to_glb
from .settings import ExportSettings


def prediction_to_npz(prediction: Prediction, with_vertices: bool = False) -> bytes:
    """Write all parameters as a NumPy archive that loads without pickle.

    P people.  Named as arguments of the `smplx` package: `betas` (P, 10), `expression` (P, 10),
    `global_orient` (P, 3), `body_pose` (P, 63), `left_hand_pose` and `right_hand_pose` (P, 45),
    `jaw_pose`, `leye_pose`, `reye_pose` (P, 3), `transl` (P, 3) metres; all float32, rotations as
    axis-angle, in the camera frame (x right, y down, z forward).  To pose them::

        model = smplx.create(FOLDER, "smplx", gender="neutral", num_betas=10, use_pca=False,
                             flat_hand_mean=False, batch_size=P)

    Also `scores`, `query_indices`, boxes and keypoints in pixels of the photo, `weak_camera`,
    `person_ids` as in the JSON, `depth_order` from 1, `joints_3d` (P, 144, 3) metres with
    `joint_names` (144,), `focal_length`, `principal_point` (2,), `image_size` (2,) width and
    height, and metadata:
    `gender`, `num_betas`, `num_expression_coeffs`, `use_pca`, `flat_hand_mean`, and the names
    `weights` and `body`, `refined` (poses refined to keypoints), and `focal_length_from` as in the
    JSON.

    Args:
        prediction: of one photo.
        with_vertices: also write `vertices` (P, V, 3) metres and `faces` (F, 3).

    Raises:
        ExportError: a value is not finite.
    """
    check_finite(prediction)
    count = len(prediction)
    arrays: dict[str, Any] = {
        name: values if name == "query_indices" else np.asarray(values, np.float32)
        for name, values in vars(prediction.people).items()
    }
    arrays |= {
        "leye_pose": np.zeros((count, 3), np.float32),
        "reye_pose": np.zeros((count, 3), np.float32),
        "person_ids": prediction.person_indices + 1,
        "depth_order": prediction.depth_order + 1,
        "joints_3d": np.asarray(prediction.joints_3d, np.float32),
        "joint_names": np.array(JOINTS_3D_NAMES),
    }
    if with_vertices:
        arrays["vertices"] = np.asarray(prediction.vertices, np.float32)
        arrays["faces"] = prediction.faces
    arrays |= npz_metadata(prediction.camera, prediction.weights, prediction.body)
    arrays["refined"] = np.bool_(prediction.refined)
    arrays["focal_length_from"] = prediction.focal_length_from
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return archive.getvalue()


def prediction_to_glb(
    prediction: Prediction, photo: np.ndarray | None = None, placement: Placement = AT_CAMERA
) -> bytes:
    """Write the posed meshes as binary glTF with nodes `person_1`, `person_2`, ... and `camera`.

    The colours are those of the overlay; for frame and units see `scene_glb`.

    Args:
        prediction: of one photo.
        photo: (H, W, 3) uint8 RGB for a backdrop behind the people; None for no backdrop.
        placement: of the camera, see `placement`.

    Raises:
        ExportError: a value is not finite.
    """
    check_finite(prediction)
    return people_to_glb(
        prediction.vertices,
        prediction.faces,
        [f"person_{index + 1}" for index in prediction.person_indices],
        person_colors(prediction.person_indices),
        view=SceneCamera(prediction.camera, photo),
        placement=placement,
    )


def write_results(
    prediction: Prediction,
    photo: np.ndarray,
    stem: str,
    folder: str | Path,
    settings: ExportSettings,
    photo_name: str | None = None,
) -> list[Path]:
    """Write the files of `results_as_bytes`, each atomically.

    Args:
        prediction: of this photo.
        photo: (H, W, 3) uint8 RGB.
        stem: start of the file names.
        folder: created if missing; files of the same names are replaced.
        settings: body and options.
        photo_name: file name of the photo in the JSON; None for `stem`.

    Returns:
        The paths, in the order of `results_as_bytes`.

    Raises:
        ExportError: a value is not finite.
        OSError: the folder is not writable.
    """
    contents = results_as_bytes(prediction, photo, stem, photo_name or stem, settings)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [write_file(folder / name, content) for name, content in contents.items()]


def results_as_bytes(
    prediction: Prediction,
    photo: np.ndarray,
    stem: str,
    photo_name: str,
    settings: ExportSettings,
) -> dict[str, bytes]:
    """Convert a prediction to the contents of its result files.

    Args:
        prediction: of this photo.
        photo: (H, W, 3) uint8 RGB.
        stem: start of the file names.
        photo_name: file name of the photo in the JSON.
        settings: body and options.

    Returns:
        File names and contents: `STEM.json`, `STEM.npz`, `STEM.glb`, `STEM_overlay.png`, then
        `STEM_person_N_smplx.npz` and the extras of each person, see `person_files`.

    Raises:
        ExportError: a value is not finite.
    """
    document = prediction_to_json(prediction, photo_name)
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    colors = person_colors(prediction.person_indices)
    image = overlay(photo, prediction.vertices, prediction.faces, prediction.camera, colors)
    placement = grounded(prediction.vertices) if settings.ground else AT_CAMERA
    backdrop = photo if settings.backdrop else None
    files = {
        f"{stem}.json": text.encode("utf-8", "backslashreplace"),
        f"{stem}.npz": prediction_to_npz(prediction, "vertices" in settings.extras),
        f"{stem}.glb": prediction_to_glb(prediction, backdrop, placement),
        f"{stem}_overlay.png": encode_png(image),
    }
    for row, index in enumerate(prediction.person_indices):
        for suffix, content in person_files(prediction, row, placement, settings).items():
            files[f"{stem}_person_{index + 1}{suffix}"] = content
    return files


def encode_png(image: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def write_file(path: Path, content: bytes) -> Path:
    """Write a file atomically, by renaming a temporary file; returns `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
