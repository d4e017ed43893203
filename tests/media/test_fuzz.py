"""A short run of the fuzzer."""

from tests.fuzz import fuzz


def test_damaged_files_raise_only_errors_of_the_readers(tmp_path):
    assert fuzz(400, 1, tmp_path) == []
