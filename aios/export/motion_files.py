"""Motion of everyone in a video as NPZ, BVH and animated GLB files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..body.joint_names import JOINTS_3D_NAMES
from ..body.kinematics import build_rest_pose
from ..body.parameters import SMPLX_NAMES
from ..geometry.camera import Camera
from ..render.colors import person_colors
from .animated_glb import write_animated_glb
from .bone_names import bone_names
from .bvh import write_bvh
from .checks import ExportError
from .motion import MotionStore
from .npz import npz_metadata, write_array
from .placement import AT_CAMERA, Placement
from .settings import ExportSettings
from .skin import build_skin
from .skinned_person import Character
from .smplx_npz import write_track_smplx


def motion_to_npz(
    path: Path, store: MotionStore, camera: Camera, settings: ExportSettings, weights: str
) -> None:
    """Write all frames and people as a NumPy archive that loads without pickle.

    R records, one per person and frame, sorted by frame and then by track: `frame` (R,) int32
    from 0, `track` (R,) int32 from 1, and every array of a photo's archive except `depth_order`
    (see `prediction_to_npz`) with R instead of P, in pixels of the video.  For example,
    `arrays["body_pose"][arrays["track"] == 2]` is the motion of person 2.

    Also `frame_times` (F,) float64 seconds; for the T tracks `track_numbers` (T,),
    `track_colors` (T, 3) uint8, `track_betas` (T, 10); `space`, a text on what positions are
    relative to; and `joint_names` and the metadata of a photo's archive.

    Args:
        path: file to write; an existing file is replaced.
        store: finished motion store.
        camera: camera of the video.
        settings: the body model.
        weights: name of the weights.

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
        "joint_names": np.array(JOINTS_3D_NAMES),
        "space": store.space,
        **npz_metadata(camera, weights, settings.body.name),
    }
    rows = store.count()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, (kind, shape) in store.fields.items():
            write_array(archive, name, kind, (rows, *shape), _column(store, name))
        for name in ("leye_pose", "reye_pose"):
            eyes = (np.zeros((len(chunk), 3), np.float32) for chunk in store.chunks())
            write_array(archive, name, np.dtype(np.float32), (rows, 3), eyes)
        joints = _joints_3d(store, settings)
        shape = (rows, len(JOINTS_3D_NAMES), 3)
        write_array(archive, "joints_3d", np.dtype(np.float32), shape, joints)
        for name, value in single.items():
            array = np.asarray(value)
            write_array(archive, name, array.dtype, array.shape, iter([array]))


def _column(store: MotionStore, name: str) -> Iterator[np.ndarray]:
    for rows in store.chunks():
        values = rows[name]
        # Keypoints are NaN for networks without point tokens.
        if not name.endswith("keypoints_2d_px") and not np.isfinite(values).all():
            raise ExportError(f"{name} has a value that is not finite, so nothing was written")
        yield values


def _joints_3d(store: MotionStore, settings: ExportSettings) -> Iterator[np.ndarray]:
    """(R, 144, 3) metres, camera frame, in chunks."""
    body = settings.body
    for rows in store.chunks():
        parameters = {name: torch.from_numpy(rows[name].copy()) for name in SMPLX_NAMES}
        adapted = body.adapt(parameters, settings.from_official)
        with torch.inference_mode():
            yield body.joints(adapted).cpu().numpy()


def write_track_files(
    folder: Path,
    stem: str,
    store: MotionStore,
    number: int,
    rate: float,
    settings: ExportSettings,
    weights: str,
    placement: Placement = AT_CAMERA,
) -> list[Path]:
    """Write `STEM_track_N.bvh`, `STEM_track_N.glb` and `STEM_track_N_smplx.npz`.

    Args:
        folder: existing folder.
        stem: start of the file names.
        store: finished motion store.
        number: track number of the person.
        rate: frames per second of BVH and NPZ.
        settings: body and options.
        weights: name of the weights.
        placement: of the camera, see `placement`.

    Returns:
        The paths, in the order above.
    """
    body, from_official = settings.body, settings.from_official
    betas = store.tracks[number].betas
    rest = build_rest_pose(body, betas, from_official)
    bvh = folder / f"{stem}_track_{number}.bvh"
    bones = bone_names(settings.bones)
    write_bvh(bvh, rest, store, number, rate, placement, bones)
    glb = bvh.with_suffix(".glb")
    color = person_colors(np.array([number - 1]))[0]
    skin = build_skin(body, betas, from_official)
    character = Character(f"person_{number}", rest, skin, color, bones)
    write_animated_glb(glb, character, store, number, placement)
    npz = folder / f"{stem}_track_{number}_smplx.npz"
    names = {"weights": weights, "body": body.name, "space": store.space}
    write_track_smplx(npz, rest, store, number, rate, placement, names)
    return [bvh, glb, npz]
