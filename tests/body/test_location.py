"""Folders in which people keep the body model file."""

import pytest

from aios.body.file import BodyModelError
from aios.body.location import find_body_file


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    "place",
    [
        "SMPLX_NEUTRAL.npz",
        "SMPLX_NEUTRAL.pkl",
        "smplx/SMPLX_NEUTRAL.npz",
        "models/smplx/SMPLX_NEUTRAL.npz",
        "models_lockedhead/smplx/SMPLX_NEUTRAL.npz",
        "data/body_models/smplx/SMPLX_NEUTRAL.pkl",
        "SMPLX/smplx_neutral.npz",
        "SMPLX_NEUTRAL.NPZ",
        "SMPLX_NEUTRAL_2020.npz",
        "smplx-neutral.npz",
        "smplx_locked_head/neutral/model.npz",
    ],
)
def test_file_is_found_in_a_folder(tmp_path, place):
    put(tmp_path / "SMPLX_MALE.npz")
    put(tmp_path / "smpl" / "SMPL_NEUTRAL.pkl")
    put(tmp_path / "smplx_locked_head" / "male" / "model.npz")
    path = put(tmp_path / place)
    assert find_body_file(tmp_path) == path


def test_usual_name_and_the_upper_folder_come_first(tmp_path):
    put(tmp_path / "a" / "SMPLX_NEUTRAL.npz")
    for name in ("SMPLX_NEUTRAL_2020.npz", "SMPLX_NEUTRAL.pkl", "SMPLX_NEUTRAL.npz"):
        path = put(tmp_path / name)
        assert find_body_file(tmp_path) == path


def test_folder_that_links_to_itself_does_not_matter(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    path = put(tmp_path / "smplx" / "SMPLX_NEUTRAL.npz")
    assert find_body_file(tmp_path) == path


def test_files_that_were_found_instead_are_named(tmp_path):
    with pytest.raises(BodyModelError, match=r"SMPLX_NEUTRAL.npz or .*, found no body model"):
        find_body_file(tmp_path)
    put(tmp_path / "SMPLX_MALE.npz")
    put(tmp_path / "smplh" / "female" / "model.npz")
    put(tmp_path / "models_smplx_v1_1.zip")
    with pytest.raises(
        BodyModelError,
        match=r"only SMPLX_MALE\.npz, models_smplx_v1_1\.zip, smplh/female/model\.npz; get ",
    ):
        find_body_file(tmp_path)
