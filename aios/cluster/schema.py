"""Tables of results as Arrow; `aios/cluster/README.md` describes every column."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..geometry.camera import Camera
from ..people import FIELD_SHAPES
from ..prediction import Prediction

VERSION = 1
"""Of the tables: a change that breaks a reader adds one."""

_SCALARS = {"scores": "score", "query_indices": "query"}
_CAMERA = [
    pa.field("focal_length_px", pa.float32()),
    pa.field("principal_point_px", pa.list_(pa.float32(), 2)),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
]
_ORIGIN = [
    pa.field("weights_sha256", pa.string()),
    pa.field("body", pa.string()),
    pa.field("refined", pa.bool_()),
    pa.field("input_size", pa.string()),
]


def _person_fields() -> list[pa.Field]:
    fields = []
    for name, shape in FIELD_SHAPES.items():
        if name in _SCALARS:
            kind = pa.int32() if name == "query_indices" else pa.float32()
        else:
            kind = pa.list_(pa.float32(), math.prod(shape))
        fields.append(pa.field(_SCALARS.get(name, name.replace("boxes_", "box_")), kind))
    return fields


def _schema(*fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, {"aios_tables": str(VERSION)})


PHOTOS = _schema(
    pa.field("photo", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("people", pa.int32()),
    pa.field("mesh", pa.string()),
    *_ORIGIN,
)
FAILED = _schema(pa.field("photo", pa.string()), pa.field("problem", pa.string()))
PEOPLE = _schema(
    pa.field("photo", pa.string()),
    pa.field("person", pa.int32()),
    pa.field("depth_order", pa.int32()),
    *_person_fields(),
    *_CAMERA,
    pa.field("focal_length_from", pa.string()),
    *_ORIGIN,
)
PEOPLE_WITH_VERTICES = PEOPLE.append(pa.field("vertices", pa.list_(pa.float32())))
VIDEOS = _schema(
    pa.field("video", pa.string()),
    pa.field("frames", pa.int32()),
    pa.field("seconds", pa.float64()),
    pa.field("rate", pa.float64()),
    pa.field("tracks", pa.int32()),
    pa.field("notes", pa.string()),
    pa.field("still_camera", pa.bool_()),
    pa.field("on_floor", pa.bool_()),
    *_CAMERA,
    *_ORIGIN,
)
TRACKS = _schema(
    pa.field("video", pa.string()),
    pa.field("track", pa.int32()),
    pa.field("frame", pa.int32()),
    pa.field("second", pa.float64()),
    *_person_fields(),
)


def person_columns(arrays: Any, count: int) -> dict[str, pa.Array]:  # noqa: ANN401
    """Columns of the fields of `People`.

    Args:
        arrays: field name -> array whose first axis has `count` entries.
        count: number of rows.
    """
    columns = {}
    for field, (name, shape) in zip(_person_fields(), FIELD_SHAPES.items(), strict=True):
        values = np.ascontiguousarray(arrays[name])
        columns[field.name] = _column(values.reshape(count, math.prod(shape)), field.type)
    return columns


def people_batch(
    name: str, prediction: Prediction, origin: dict[str, Any], with_vertices: bool
) -> pa.RecordBatch:
    """Rows of the people of one photo, best score first.

    Args:
        name: of the photo.
        prediction: of the photo.
        origin: values of the columns about weights and body.
        with_vertices: add the vertices.
    """
    count = len(prediction)
    same = {"photo": name, **camera_values(prediction.camera), **origin}
    same["focal_length_from"] = prediction.focal_length_from
    columns = person_columns(vars(prediction.people), count)
    columns["person"] = pa.array(np.arange(1, count + 1), pa.int32())
    columns["depth_order"] = pa.array(prediction.depth_order + 1, pa.int32())
    schema = PEOPLE_WITH_VERTICES if with_vertices else PEOPLE
    if with_vertices:
        flat = prediction.vertices.reshape(count, math.prod(prediction.vertices.shape[1:]))
        columns["vertices"] = _column(np.ascontiguousarray(flat), schema.field("vertices").type)
    columns |= {
        key: pa.array([value] * count, schema.field(key).type) for key, value in same.items()
    }
    return pa.record_batch([columns[field.name] for field in schema], schema=schema)


def camera_values(camera: Camera) -> dict[str, Any]:
    """Values of the columns of a camera."""
    return {
        "focal_length_px": camera.focal_length,
        "principal_point_px": list(camera.principal_point),
        "width": camera.width,
        "height": camera.height,
    }


def _column(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """(rows, size) array -> column of lists, or of numbers if the type is one."""
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(values.astype(np.float32).ravel())
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    if pa.types.is_list(kind):
        flat = pa.array(values.astype(np.float32).ravel())
        offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        return pa.ListArray.from_arrays(pa.array(offsets), flat)
    return pa.array(values.ravel()).cast(kind)


def table_bytes(batches: list[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """A Parquet file of batches."""
    target = io.BytesIO()
    pq.write_table(pa.Table.from_batches(batches, schema), target, compression="zstd")
    return target.getvalue()


def rows_bytes(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """A Parquet file of rows; a missing value is null."""
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), target, compression="zstd")
    return target.getvalue()
