"""JSON files match the JSON Schema files of the package."""

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from aios.body.joint_names import JOINTS_3D_NAMES
from aios.export.photo_json import SCHEMA_VERSION, prediction_to_json
from tests.field_tables import TABLES, tables
from tests.helpers.predictions import synthetic_prediction


def test_tables_of_the_documents_are_those_of_the_schemas():
    assert TABLES.read_text("utf-8") == tables(), "run python -m tests.field_tables"


def schema(name):
    return json.loads(resources.files("aios.export").joinpath(f"schemas/{name}").read_text())


@pytest.mark.parametrize("name", ["photo.schema.json", "video.schema.json"])
def test_schemas_are_valid_and_of_this_version(name):
    document = schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["properties"]["schema_version"]["const"] == SCHEMA_VERSION


@pytest.mark.parametrize("count", [0, 3])
def test_photo_matches_its_schema(count):
    document = prediction_to_json(synthetic_prediction(count), "a.jpg")
    jsonschema.validate(json.loads(json.dumps(document)), schema("photo.schema.json"))


def test_unknown_field_does_not_match():
    document = prediction_to_json(synthetic_prediction(1), "a.jpg")
    document["people"][0]["age"] = 30
    with pytest.raises(jsonschema.ValidationError, match="age"):
        jsonschema.validate(document, schema("photo.schema.json"))


def test_joints_are_named_as_in_smplx():
    from smplx.joint_names import JOINT_NAMES

    assert list(JOINTS_3D_NAMES) == JOINT_NAMES
    prediction = synthetic_prediction(2)
    document = prediction_to_json(prediction, "a.jpg")
    written = np.array([person["joints_3d"] for person in document["people"]])
    np.testing.assert_allclose(written, prediction.joints_3d, atol=1e-5)
    assert document["joint_names"] == JOINT_NAMES
