"""What tests of several files share."""

import pytest

from aios.cli import configure_threads_and_malloc

configure_threads_and_malloc()


@pytest.fixture(scope="module")
def one_thread():
    """For small tensors, over which a second thread only waits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
