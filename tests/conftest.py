"""Test setup and shared fixtures."""

import pytest

from aios.cli import configure_threads_and_malloc

configure_threads_and_malloc()


@pytest.fixture(scope="module")
def one_thread():
    """Run PyTorch on one thread: a second one only slows down small tensors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape surrogates in captured text: pytest-xdist sends reports as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
