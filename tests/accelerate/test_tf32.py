"""TF32 settings are changed for a block of code only, and excluded between threads."""

import threading

import pytest
import torch

from aios.accelerate.install import accelerate
from aios.accelerate.tf32 import tf32
from aios.network.model import AiOS
from tests.helpers.networks import TINY, random_images, random_model


def settings():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def restore():
    """Monkeypatch would delete these settings instead of restoring them."""
    before = settings()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("before", [(False, True), (True, False)])
def test_settings_hold_inside_the_block_and_are_restored(before):
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    with tf32(products=not before[0]):
        assert settings() == (not before[0], before[1])
        with tf32(convolutions=not before[1]):
            assert settings() == (not before[0], not before[1])
    assert settings() == before


def test_settings_are_restored_after_an_error():
    before = settings()
    with pytest.raises(RuntimeError, match="out of memory"), tf32(products=not before[0]):
        raise RuntimeError("out of memory")
    assert settings() == before


def test_blocks_of_two_threads_exclude_each_other():
    entered = threading.Event()

    def other():
        with tf32(products=True):
            entered.set()

    thread = threading.Thread(target=other)
    with tf32(products=False):
        thread.start()
        assert not entered.wait(0.2)
        assert not torch.backends.cuda.matmul.allow_tf32
    thread.join()
    assert entered.is_set()


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_convolutions_on_cuda_are_exact_and_the_process_keeps_its_setting(monkeypatch, speed):
    monkeypatch.setattr(AiOS, "to", lambda network, device: network)  # there may be no GPU
    torch.backends.cudnn.allow_tf32 = True
    network = accelerate(random_model(TINY, 0), torch.device("cuda"), speed, list)
    seen = []
    network.backbone.register_forward_hook(lambda *_: seen.append(settings()[1]))
    network(random_images([(64, 96)], 0))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32
