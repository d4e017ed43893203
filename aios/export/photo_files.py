"""Results as files: JSON and NPZ for programs, GLB for 3-D viewers, a PNG for people.

No array of a body model is ever written, only meshes posed with it.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..people import SMPLX_NAMES
from ..prediction import Prediction
from ..render.overlay import overlay, person_colors
from ..render.scene import srgb_to_linear, vertex_normals

_PIXEL_FIELDS = (
    "keypoints_2d_px",
    "left_hand_keypoints_2d_px",
    "right_hand_keypoints_2d_px",
    "face_keypoints_2d_px",
)
_BOX_FIELDS = {
    "box_xyxy_px": "boxes_xyxy_px",
    "left_hand_box_xyxy_px": "left_hand_boxes_xyxy_px",
    "right_hand_box_xyxy_px": "right_hand_boxes_xyxy_px",
    "face_box_xyxy_px": "face_boxes_xyxy_px",
}
_PIXEL_DECIMALS = 3
_EMPTY_GLTF = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"name": "people"}],  # a list of no nodes would be against the standard
}


class ExportError(ValueError):
    """A prediction that cannot be written; says what is wrong with it."""


def prediction_to_json(prediction: Prediction, photo_name: str) -> dict[str, Any]:
    """A prediction as plain numbers, texts, lists and dictionaries.

    Pixels are rounded to a thousandth, parameters keep every digit of their float32.  `id` counts
    from 1 in the order of the scores and names the node of the GLB (`person_1`); `depth_order`
    is 0 for the nearest person.

    Args:
        prediction: of one photo.
        photo_name: file name to write down.

    Raises:
        ExportError: a number is not finite.
    """
    _check_finite(prediction)
    camera = prediction.camera
    return {
        "photo": photo_name,
        "width": camera.width,
        "height": camera.height,
        "weights": prediction.weights,
        "body": prediction.body,
        "camera": {
            "focal_length_px": float(camera.focal_length),
            "principal_point_px": [float(value) for value in camera.principal_point],
        },
        "people": [_person_to_json(prediction, index) for index in prediction],
    }


def _person_to_json(prediction: Prediction, index: int) -> dict[str, Any]:
    people = prediction.people
    person: dict[str, Any] = {"id": index + 1, "score": _exact(people.scores[index])}
    for name, field in _BOX_FIELDS.items():
        person[name] = _pixels(getattr(people, field)[index])
    for name in _PIXEL_FIELDS:
        person[name] = _pixels(getattr(people, name)[index])
    person["depth_order"] = int(prediction.depth_order[index])
    for name in (*SMPLX_NAMES, "weak_camera"):
        person[name] = [_exact(value) for value in getattr(people, name)[index]]
    return person


def _pixels(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), _PIXEL_DECIMALS).tolist()


def _exact(value: np.floating[Any]) -> float:
    """The shortest decimal number that is this float32."""
    return float(str(np.float32(value)))


def _check_finite(prediction: Prediction) -> None:
    people = vars(prediction.people)
    arrays = {**people, "vertices": prediction.vertices, "joints_3d": prediction.joints_3d}
    arrays["camera"] = prediction.camera.intrinsics
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ExportError(f"{name} has a value that is not finite, so nothing was written")


def prediction_to_npz(prediction: Prediction) -> bytes:
    """All parameters as a NumPy archive that loads without pickle.

    P people.  Under the names of the `smplx` package: `betas` (P, 10), `expression` (P, 10),
    `global_orient` (P, 3), `body_pose` (P, 63), `left_hand_pose` and `right_hand_pose` (P, 45),
    `jaw_pose`, `leye_pose`, `reye_pose` (P, 3), `transl` (P, 3) metres; all float32, rotations as
    axis-angle, in the camera frame (x right, y down, z forward).  To pose them::

        model = smplx.create(FOLDER, "smplx", gender="neutral", num_betas=10, use_pca=False,
                             flat_hand_mean=False, batch_size=P)

    Further: `scores`, `query_indices`, boxes and keypoints in pixels of the photo, `weak_camera`,
    `depth_order`, `focal_length`, `principal_point` (2,), `image_size` (2,) width and height, and
    notes: `gender`, `num_betas`, `num_expression_coeffs`, `use_pca`, `flat_hand_mean`, `weights`
    and `body` (texts, where the numbers come from).

    Raises:
        ExportError: a number is not finite.
    """
    _check_finite(prediction)
    count = len(prediction)
    arrays: dict[str, Any] = {
        name: values if name == "query_indices" else np.asarray(values, np.float32)
        for name, values in vars(prediction.people).items()
    }
    arrays |= {
        "leye_pose": np.zeros((count, 3), np.float32),
        "reye_pose": np.zeros((count, 3), np.float32),
        "depth_order": prediction.depth_order,
    }
    arrays |= npz_notes(prediction.camera, prediction.weights, prediction.body)
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return archive.getvalue()


def npz_notes(camera: Camera, weights: str, body: str) -> dict[str, Any]:
    """What an NPZ says besides the people: the camera, how to pose them, whose numbers they are."""
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


def prediction_to_glb(prediction: Prediction) -> bytes:
    """The posed meshes as binary glTF, one node a person: `person_1`, `person_2`, ...

    glTF is right-handed with y up, so points are (x, -y, -z) of the camera frame, in metres; the
    camera stands at the origin and looks along -z.  Each person has the colour of the overlay
    (glTF wants amounts of light, so it is not the same number) and smooth normals.

    Raises:
        ExportError: a number is not finite.
    """
    _check_finite(prediction)
    if not len(prediction):
        return _glb(_EMPTY_GLTF)
    import trimesh

    # Half a turn about x: left stays left, and faces keep their outside.
    turn = np.array([1.0, -1.0, -1.0], np.float32)
    points = prediction.vertices * turn
    normals = vertex_normals(points, prediction.faces)
    colors = srgb_to_linear(person_colors(len(prediction)) / 255.0)
    scene = trimesh.Scene()
    for index in prediction:
        name = f"person_{index + 1}"
        material = trimesh.visual.material.PBRMaterial(
            name=name,
            baseColorFactor=np.append(colors[index], 1.0),
            metallicFactor=0.0,
            roughnessFactor=0.7,
        )
        mesh = trimesh.Trimesh(
            points[index],
            prediction.faces,
            vertex_normals=normals[index],
            visual=trimesh.visual.TextureVisuals(material=material),
            process=False,
        )
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    return bytes(scene.export(file_type="glb", include_normals=True))


def _glb(document: dict[str, Any]) -> bytes:
    """A binary glTF file without binary data."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    header = b"glTF" + np.array([2, 20 + len(text)], "<u4").tobytes()
    return header + np.array([len(text)], "<u4").tobytes() + b"JSON" + text


def write_results(
    prediction: Prediction,
    photo: np.ndarray,
    stem: str,
    folder: str | Path,
    photo_name: str | None = None,
) -> list[Path]:
    """Write `<stem>.json`, `.npz`, `.glb` and `<stem>_overlay.png`; nothing half, ever.

    Args:
        prediction: of this photo.
        photo: (H, W, 3) uint8 RGB.
        stem: start of the file names.
        folder: made if it is not there; files of the same names are replaced.
        photo_name: file name that the JSON gives; `stem` if None.

    Returns:
        The four paths, in the order above.

    Raises:
        ExportError: a number is not finite.
        OSError: the folder cannot be written to.
    """
    contents = results_as_bytes(prediction, photo, stem, photo_name or stem)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [write_file(folder / name, content) for name, content in contents.items()]


def results_as_bytes(
    prediction: Prediction, photo: np.ndarray, stem: str, photo_name: str
) -> dict[str, bytes]:
    """File names and contents of all results of one photo; see `write_results`.

    Raises:
        ExportError: a number is not finite.
    """
    document = prediction_to_json(prediction, photo_name)
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    picture = overlay(photo, prediction.vertices, prediction.faces, prediction.camera)
    return {
        f"{stem}.json": text.encode(),
        f"{stem}.npz": prediction_to_npz(prediction),
        f"{stem}.glb": prediction_to_glb(prediction),
        f"{stem}_overlay.png": encode_png(picture),
    }


def encode_png(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB -> the bytes of a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def write_file(path: Path, content: bytes) -> Path:
    """Write under another name first, so that a reader sees the old file or the new one; `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
