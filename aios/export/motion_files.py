"""The motion of everyone in a video as files; see `motion_to_npz` for what an archive holds."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ..body.skeleton import build_rig
from ..geometry.camera import Camera
from ..predictor import AiOSPredictor
from ..render.colors import person_colors
from .animated_glb import write_animated_glb
from .bvh import write_bvh
from .motion import MotionStore
from .photo_files import ExportError, npz_notes
from .skin import build_skin


def motion_to_npz(path: Path, store: MotionStore, camera: Camera, predictor: AiOSPredictor) -> None:
    """Write all frames and people as a NumPy archive that loads without pickle.

    R records, one for each person in each frame, by frame and then by track: `frame` (R,) int32
    from 0, `track` (R,) int32 from 1, and every array of the archive of a photo (see
    `export.prediction_to_npz`) with R in the place of P, in pixels of the video, except for
    `depth_order`.  So `arrays["body_pose"][arrays["track"] == 2]` is the motion of person 2.

    Further: `frame_times` (F,) float64 seconds; for the T tracks `track_numbers` (T,),
    `track_colors` (T, 3) uint8, `track_betas` (T, 10); and the notes of the archive of a photo.

    Raises:
        ExportError: a number is not finite.
        OSError: the file cannot be written.
    """
    numbers = np.array(sorted(store.tracks), np.int32)
    betas = [store.tracks[number].betas for number in numbers.tolist()]
    single = {
        "frame_times": store.times,
        "track_numbers": numbers,
        "track_colors": person_colors(numbers - 1),
        "track_betas": np.array(betas, np.float32).reshape(-1, 10),
        **npz_notes(camera, predictor.weights.name, predictor.body.name),
    }
    rows = store.count()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, (kind, shape) in store.fields.items():
            _write_array(archive, name, kind, (rows, *shape), _column(store, name))
        for name in ("leye_pose", "reye_pose"):
            eyes = (np.zeros((len(chunk), 3), np.float32) for chunk in store.chunks())
            _write_array(archive, name, np.dtype(np.float32), (rows, 3), eyes)
        for name, value in single.items():
            array = np.asarray(value)
            _write_array(archive, name, array.dtype, array.shape, iter([array]))


def _column(store: MotionStore, name: str) -> Iterator[np.ndarray]:
    for rows in store.chunks():
        values = rows[name]
        # Networks without point tokens say so by NaN in keypoints alone.
        if not name.endswith("keypoints_2d_px") and not np.isfinite(values).all():
            raise ExportError(f"{name} has a value that is not finite, so nothing was written")
        yield values


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    kind: np.dtype[Any],
    shape: tuple[int, ...],
    parts: Iterator[np.ndarray],
) -> None:
    """One array, of which only a part at a time is in memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, kind).tobytes())


def write_track_files(
    folder: Path, stem: str, store: MotionStore, number: int, predictor: AiOSPredictor, rate: float
) -> tuple[Path, Path]:
    """Write `STEM_track_N.bvh` and `STEM_track_N.glb`; see `skeleton` for frame and names."""
    betas = store.tracks[number].betas
    rig = build_rig(predictor, betas)
    bvh = folder / f"{stem}_track_{number}.bvh"
    write_bvh(bvh, rig, store, number, rate)
    glb = bvh.with_suffix(".glb")
    color = person_colors(np.array([number - 1]))[0]
    skin = build_skin(predictor, betas)
    write_animated_glb(glb, f"person_{number}", rig, skin, color, store, number)
    return bvh, glb
