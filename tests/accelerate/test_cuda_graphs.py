"""CUDA graphs with a stand-in for CUDA; the network and its kernels can be captured."""

import pytest
import torch

from aios.accelerate import fused, fused_kernels
from aios.accelerate.bf16 import convert_to_bf16
from aios.accelerate.cuda_graphs import CapturedRun, CudaGraph, cuda_graphs_available
from aios.accelerate.fold_batch_norm import fold_batch_norm
from aios.accelerate.install import install_kernels
from aios.network.preprocessing import ImageBatch
from aios.people import people_table
from tests.helpers.networks import SMALL, TINY, random_model
from tests.helpers.watching import watched


class FakeCuda:
    """Counts runs and captures; a captured run reads and writes the same memory each time."""

    def __init__(self, fails=False):
        self.runs, self.captured, self.replayed, self.fails = 0, [], 0, fails

    def network(self, given):
        self.runs += 1
        return (given.flatten(1) * 2,)

    def capturer(self, network, given):
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.captured.append(tuple(given[0].shape))
        memory = tuple(tensor.clone() for tensor in given)
        answer = network(*memory)

        def replay():
            self.replayed += 1
            for own, new in zip(answer, network(*memory), strict=True):
                own.copy_(new)

        return CapturedRun(memory, answer, replay)


def ask(graph, width, number=1.0):
    given = torch.full((1, 3, width), number)
    (answer,) = graph(given)
    assert torch.equal(answer, given.flatten(1) * 2)
    return answer


def test_shape_is_captured_when_it_occurs_again():
    cuda = FakeCuda()
    graph = CudaGraph(cuda.network, cuda.capturer)
    ask(graph, 4)
    assert not cuda.captured
    for number in (1.0, 2.0, 3.0):
        ask(graph, 4, number)
    assert cuda.captured == [(1, 3, 4)]
    assert cuda.replayed == 3


def test_outputs_are_not_overwritten_by_the_next_run():
    cuda = FakeCuda()
    graph = CudaGraph(cuda.network, cuda.capturer)
    answers = [ask(graph, 4, float(number)) for number in range(4)]
    assert [float(answer[0, 0]) for answer in answers] == [0.0, 2.0, 4.0, 6.0]


def test_graphs_used_last_are_kept():
    cuda = FakeCuda()
    graph = CudaGraph(cuda.network, cuda.capturer, max_graphs=2)
    for width in (4, 5, 4, 5, 4, 6, 6):  # 5 is the least recently used when 6 is captured
        ask(graph, width)
    assert cuda.captured == [(1, 3, 4), (1, 3, 5), (1, 3, 6)]
    replayed = cuda.replayed
    ask(graph, 4)
    ask(graph, 6)
    assert cuda.replayed == replayed + 2
    ask(graph, 5)
    assert cuda.captured[3:] == [(1, 3, 5)]


def test_dtypes_have_separate_graphs():
    cuda = FakeCuda()
    graph = CudaGraph(cuda.network, cuda.capturer)
    ask(graph, 4)
    ask(graph, 4)
    assert graph(torch.ones(1, 3, 4, dtype=torch.float64))[0].dtype == torch.float64


def test_several_inputs_and_outputs():
    cuda = FakeCuda()
    graph = CudaGraph(lambda a, b: (a + b, a * b, b), cuda.capturer)
    for number in range(4):
        a, b = torch.full((2,), float(number)), torch.full((3, 1), 2)
        found = graph(a, b)
        for one, other in zip(found, (a + b, a * b, b), strict=True):
            assert torch.equal(one, other)
    assert cuda.replayed == 3
    graph(torch.ones(2), torch.ones(4, 1))  # the second has another shape
    assert cuda.replayed == 3


def test_failed_capture_runs_the_function_with_one_log_line(caplog):
    cuda = FakeCuda(fails=True)
    graph = CudaGraph(cuda.network, cuda.capturer)
    for number in range(5):
        ask(graph, 4, float(number))
    (record,) = caplog.records
    assert "without CUDA graphs: RuntimeError: operation not permitted when" in record.getMessage()


@pytest.fixture
def setting():
    """Restore the setting; monkeypatch would delete it."""
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    yield products
    products.allow_tf32 = before


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("allow_tf32", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_tf32_is_used_only_if_allowed(setting, before, allow_tf32, fails):
    setting.allow_tf32 = before
    seen = []

    def network(given):
        seen.append(setting.allow_tf32)
        return (given.flatten(1) * 2,)

    def capturer(network, given):
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        return CapturedRun(given, network(*given), lambda: None)

    graph = CudaGraph(network, capturer, allow_tf32=allow_tf32)
    for _ in range(3):  # run, capture, replay
        ask(graph, 4)
        assert setting.allow_tf32 == before
    assert seen == [allow_tf32 or before] * (3 if fails else 2)


def test_tf32_setting_is_restored_after_an_error(setting):
    setting.allow_tf32 = False

    def broken(given):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        CudaGraph(broken, allow_tf32=True)(torch.ones(1))
    assert not setting.allow_tf32


def test_graphs_are_unavailable_on_a_cpu_and_on_zero_gpu(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert cuda_graphs_available(torch.device("cuda", 0))
    assert not cuda_graphs_available(torch.device("cpu"))
    monkeypatch.setenv("SPACES_ZERO_GPU", "0")
    assert cuda_graphs_available(torch.device("cuda", 0))
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert not cuda_graphs_available(torch.device("cuda", 0))


# --- no synchronisation with the device: run on the meta device, which has no memory


@pytest.mark.parametrize(
    "run",
    [
        lambda x: torch.tensor([1, 2], device="meta"),
        lambda x: x.new_tensor([1.0]),
        lambda x: x[:, [0, 1]],
        lambda x: x[torch.arange(2)],
        lambda x: x.__setitem__(torch.arange(2, device="meta"), 1.0),
        lambda x: torch.ones(3).to("meta"),
    ],
)
def test_watching_detects_host_device_copies(run):
    assert watched(lambda: run(torch.empty(3, 4, device="meta")))[1]


def test_meta_device_refuses_synchronisation():
    for read in (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            watched(lambda read=read: read(torch.empty(3, 4, device="meta")))


class Launched:
    """Stand-in for a Triton kernel that accepts tensors of the device only."""

    def __init__(self):
        self.count = 0

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *given, **constants):
        self.count += 1
        assert all(x.device.type == "meta" for x in given if torch.is_tensor(x))


@pytest.fixture
def launched(monkeypatch):
    """Count the launches of the fused kernels."""
    monkeypatch.setattr(fused, "kernels_possible", lambda x: True)
    for self_test in ("_norm_works", "_relu_works"):
        monkeypatch.setattr(fused, self_test, lambda *case: True)
    kernels = {}
    for name in ("norm_kernel", "relu_kernel"):
        kernels[name] = Launched()
        monkeypatch.setattr(fused_kernels, name, kernels[name])
    return kernels


def test_run_with_kernels_does_not_synchronise(launched, monkeypatch):
    # Convolutions on the meta device do not keep channels-last strides.
    monkeypatch.setattr(fused, "are_channels_last", lambda *maps: True)
    model = random_model(TINY, 0).requires_grad_(False)
    fold_batch_norm(model.backbone)
    model.backbone.to(memory_format=torch.channels_last)
    convert_to_bf16(model)
    model = model.to("meta")
    pixels, sizes = torch.empty(2, 3, 64, 96, device="meta"), torch.empty(2, 2, device="meta")

    def run():
        people_table(model(ImageBatch(pixels, None, sizes)).final)

    with torch.inference_mode():
        run()
    assert not watched(run)[1]
    encoders, decoders = TINY.encoder_layers, len(model.decoder.layers)
    assert launched["norm_kernel"].count == 2 * (2 * encoders + 3 * decoders)
    assert launched["relu_kernel"].count == 2 * (1 + 3 * sum(TINY.backbone.depths))


@pytest.mark.parametrize("config", [TINY, SMALL])
@pytest.mark.parametrize("half", [False, True])
def test_second_run_of_the_network_does_not_synchronise(config, half):
    model = random_model(config, 0).requires_grad_(False)
    fold_batch_norm(model.backbone)
    if half:
        convert_to_bf16(model)
    else:
        install_kernels(model)
    model = model.to("meta")
    pixels, sizes = torch.empty(2, 3, 64, 96, device="meta"), torch.empty(2, 2, device="meta")

    def run():
        table = people_table(model(ImageBatch(pixels, None, sizes)).final)
        assert table.shape[:2] == (2, config.num_people)

    with torch.inference_mode():
        run()
    count, found = watched(run)
    assert count > 500
    assert not found
