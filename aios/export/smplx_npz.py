"""SMPL-X motion archives in the layout of AMASS, for SMPL-X tools such as Blender add-ons.

Frame: camera space with the axes of AMASS, z up, metres.  The camera looks along +y with x to the
right; at the origin, or where `placement` puts it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..body.kinematics import JOINT_NAMES, RestPose
from .motion import MotionStore
from .npz import write_array
from .placement import Placement
from .resample import MotionSamples, count_samples, resample

PHOTO_RATE = 30.0
"""Frame rate of archives of a single frame: add-ons refuse rates below that of the scene."""

_Y_UP_TO_Z_UP = Rotation.from_euler("x", 90, degrees=True)
_NUM_POSE_VALUES = 3 * len(JOINT_NAMES)


def write_track_smplx(
    path: Path,
    rest: RestPose,
    store: MotionStore,
    number: int,
    rate: float,
    placement: Placement,
    names: dict[str, str],
) -> None:
    """Write one person's motion as an AMASS-like archive that loads without pickle.

    T frames at a constant rate: `poses` (T, 165) float32 axis-angle of the 55 joints in SMPL-X
    order, with absolute hand poses (`flat_hand_mean=True`); `trans` (T, 3) float32 metres, as
    `transl` of the `smplx` package; `expression` (T, 10) float32; `interpolated` (T,) bool, True
    in gaps of the track.  Also `betas` (10,), `gender`, `mocap_frame_rate`, `mocap_time_length`
    and `start_time` in seconds, `surface_model_type`, and the items of `names`.

    Args:
        path: file to write; an existing file is replaced.
        rest: rest pose of the person.
        store: finished motion store.
        number: track number of the person.
        rate: frames per second.
        placement: of the camera, see `placement`.
        names: further texts, such as the names of weights and body.

    Raises:
        OSError: the file cannot be written.
    """
    track = store.tracks[number]
    count = count_samples(store, number, rate)
    columns: dict[str, tuple[Any, tuple[int, ...], Callable[[MotionSamples], np.ndarray]]] = {
        "poses": (np.float32, (_NUM_POSE_VALUES,), _poses),
        "trans": (np.float32, (3,), lambda samples: _trans(rest, samples.pelvis)),
        "expression": (np.float32, (10,), lambda samples: samples.expression),
        "interpolated": (np.bool_, (), lambda samples: samples.interpolated),
    }
    metadata = _metadata(track.betas, rate, count) | names
    metadata["start_time"] = store.times[track.first_frame]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for name, (dtype, shape, convert) in columns.items():
            parts: Iterator[np.ndarray] = map(
                convert, resample(rest, store, number, rate, placement)
            )
            write_array(archive, name, np.dtype(dtype), (count, *shape), parts)
        for name, value in metadata.items():
            array = np.asarray(value)
            write_array(archive, name, array.dtype, array.shape, iter([array]))


def sample_to_smplx(
    rest: RestPose, betas: np.ndarray, samples: MotionSamples, names: dict[str, str]
) -> bytes:
    """Convert one sample, a person of a photo, to an archive; see `write_track_smplx`.

    Args:
        rest: rest pose of the person.
        betas: (10,) shape coefficients.
        samples: one sample.
        names: further texts, such as the names of weights and body.
    """
    arrays = {
        "poses": _poses(samples).astype(np.float32),
        "trans": _trans(rest, samples.pelvis).astype(np.float32),
        "expression": np.asarray(samples.expression, np.float32),
        "interpolated": samples.interpolated,
        **_metadata(betas, PHOTO_RATE, 1),
        **names,
    }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _poses(samples: MotionSamples) -> np.ndarray:
    """(T, 165) axis-angle with z up, angles of at most pi."""
    vectors = samples.rotations.as_rotvec()
    vectors[:, 0] = (_Y_UP_TO_Z_UP * Rotation.from_rotvec(vectors[:, 0])).as_rotvec()
    return vectors.reshape(-1, _NUM_POSE_VALUES)


def _trans(rest: RestPose, pelvis: np.ndarray) -> np.ndarray:
    """Pelvis positions (T, 3), y up -> translations of the body model (T, 3), z up."""
    return _Y_UP_TO_Z_UP.apply(pelvis) - rest.joints[0]


def _metadata(betas: np.ndarray, rate: float, count: int) -> dict[str, Any]:
    return {
        "betas": np.asarray(betas, np.float32),
        "gender": "neutral",
        "surface_model_type": "smplx",
        "mocap_frame_rate": np.float64(rate),
        "mocap_time_length": np.float64(count / rate),
        "up_axis": "z",
    }
