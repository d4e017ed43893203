"""Recorded runs, with a recorder that stands in for CUDA; and that the network can be recorded."""

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


class Machine:
    """Counts what is run and recorded; a recording reads and writes the same memory each time."""

    def __init__(self, fails=False):
        self.runs, self.recorded, self.replayed, self.fails = 0, [], 0, fails

    def network(self, given):
        self.runs += 1
        return (given.flatten(1) * 2,)

    def recorder(self, network, given):
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.recorded.append(tuple(given[0].shape))
        memory = tuple(tensor.clone() for tensor in given)
        answer = network(*memory)

        def replay():
            self.replayed += 1
            for own, new in zip(answer, network(*memory), strict=True):
                own.copy_(new)

        return CapturedRun(memory, answer, replay)


def ask(recorded, width, number=1.0):
    given = torch.full((1, 3, width), number)
    (answer,) = recorded(given)
    assert torch.equal(answer, given.flatten(1) * 2)
    return answer


def test_a_size_is_recorded_when_it_comes_again():
    machine = Machine()
    recorded = CudaGraph(machine.network, machine.recorder)
    ask(recorded, 4)
    assert not machine.recorded
    for number in (1.0, 2.0, 3.0):
        ask(recorded, 4, number)
    assert machine.recorded == [(1, 3, 4)]
    assert machine.replayed == 3


def test_answers_outlive_the_next_run():
    machine = Machine()
    recorded = CudaGraph(machine.network, machine.recorder)
    answers = [ask(recorded, 4, float(number)) for number in range(4)]
    assert [float(answer[0, 0]) for answer in answers] == [0.0, 2.0, 4.0, 6.0]


def test_the_sizes_used_last_are_kept():
    machine = Machine()
    recorded = CudaGraph(machine.network, machine.recorder, max_graphs=2)
    for width in (4, 5, 4, 5, 4, 6, 6):  # 5 is the one used longest ago when 6 needs its place
        ask(recorded, width)
    assert machine.recorded == [(1, 3, 4), (1, 3, 5), (1, 3, 6)]
    replayed = machine.replayed
    ask(recorded, 4)
    ask(recorded, 6)
    assert machine.replayed == replayed + 2
    ask(recorded, 5)
    assert machine.recorded[3:] == [(1, 3, 5)]


def test_kinds_of_numbers_are_not_mixed():
    machine = Machine()
    recorded = CudaGraph(machine.network, machine.recorder)
    ask(recorded, 4)
    ask(recorded, 4)
    assert recorded(torch.ones(1, 3, 4, dtype=torch.float64))[0].dtype == torch.float64


def test_several_tensors_go_in_and_come_out():
    machine = Machine()
    recorded = CudaGraph(lambda a, b: (a + b, a * b, b), machine.recorder)
    for number in range(4):
        a, b = torch.full((2,), float(number)), torch.full((3, 1), 2)
        found = recorded(a, b)
        for one, other in zip(found, (a + b, a * b, b), strict=True):
            assert torch.equal(one, other)
    assert machine.replayed == 3
    recorded(torch.ones(2), torch.ones(4, 1))  # the second has another size
    assert machine.replayed == 3


def test_what_cannot_be_recorded_runs_as_before_and_is_said_once(caplog):
    machine = Machine(fails=True)
    recorded = CudaGraph(machine.network, machine.recorder)
    for number in range(5):
        ask(recorded, 4, float(number))
    (record,) = caplog.records
    assert "without CUDA graphs: RuntimeError: operation not permitted when" in record.getMessage()


@pytest.fixture
def setting():
    """Of the process: it takes no patch, which would delete it afterwards."""
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    yield products
    products.allow_tf32 = before


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_products_are_rounded_only_where_that_is_wished(setting, before, rounded, fails):
    setting.allow_tf32 = before
    seen = []

    def network(given):
        seen.append(setting.allow_tf32)
        return (given.flatten(1) * 2,)

    def recorder(network, given):
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        return CapturedRun(given, network(*given), lambda: None)

    recorded = CudaGraph(network, recorder, allow_tf32=rounded)
    for _ in range(3):  # first as it is, then recorded, then from the recording
        ask(recorded, 4)
        assert setting.allow_tf32 == before
    assert seen == [rounded or before] * (3 if fails else 2)


def test_products_are_exact_again_after_an_error(setting):
    setting.allow_tf32 = False

    def broken(given):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        CudaGraph(broken, allow_tf32=True)(torch.ones(1))
    assert not setting.allow_tf32


def test_never_on_a_cpu_nor_on_zero_gpu(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert cuda_graphs_available(torch.device("cuda", 0))
    assert not cuda_graphs_available(torch.device("cpu"))
    monkeypatch.setenv("SPACES_ZERO_GPU", "0")
    assert cuda_graphs_available(torch.device("cuda", 0))
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert not cuda_graphs_available(torch.device("cuda", 0))


# --- whether the network asks anything of its device: run on one that has no memory


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
def test_the_watch_sees_what_would_break_a_recording(run):
    assert watched(lambda: run(torch.empty(3, 4, device="meta")))[1]


def test_the_device_cannot_be_asked():
    for question in (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            watched(lambda question=question: question(torch.empty(3, 4, device="meta")))


class Launched:
    """Stands in for a Triton kernel; takes nothing but memory of the device."""

    def __init__(self):
        self.count = 0

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *given, **constants):
        self.count += 1
        assert all(x.device.type == "meta" for x in given if torch.is_tensor(x))


@pytest.fixture
def launched(monkeypatch):
    """The kernels that a GPU would run between the products."""
    monkeypatch.setattr(fused, "kernels_possible", lambda x: True)
    for trial in ("_norm_works", "_relu_works"):
        monkeypatch.setattr(fused, trial, lambda *case: True)
    kernels = {}
    for name in ("norm_kernel", "relu_kernel"):
        kernels[name] = Launched()
        monkeypatch.setattr(fused_kernels, name, kernels[name])
    return kernels


def test_a_run_with_kernels_asks_nothing_of_its_device(launched, monkeypatch):
    # Convolutions without memory do not know that channels are last.
    monkeypatch.setattr(torch.Tensor, "is_contiguous", lambda x, memory_format=None: True)
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
def test_the_second_run_of_the_network_asks_nothing_of_its_device(config, half):
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
