"""Recorded runs, with a recorder that stands in for CUDA; and that the network can be recorded."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aios.graphs import Recorded, Recording, allowed
from aios.half import use_half
from aios.image import ImageBatch
from aios.people import people_table

from .networks import SMALL, TINY, random_model


class Machine:
    """Counts what is run and recorded; a recording reads and writes the same memory each time."""

    def __init__(self, fails=False):
        self.runs, self.recorded, self.replayed, self.fails = 0, [], 0, fails

    def network(self, given):
        self.runs += 1
        return given.flatten(1) * 2

    def recorder(self, network, given):
        if self.fails:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.recorded.append(tuple(given.shape))
        memory, answer = given.clone(), network(given)

        def replay():
            self.replayed += 1
            answer.copy_(memory.flatten(1) * 2)

        return Recording(memory, answer, replay)


def ask(recorded, width, number=1.0):
    given = torch.full((1, 3, width), number)
    answer = recorded(given)
    assert torch.equal(answer, given.flatten(1) * 2)
    return answer


def test_a_size_is_recorded_when_it_comes_again():
    machine = Machine()
    recorded = Recorded(machine.network, machine.recorder)
    ask(recorded, 4)
    assert not machine.recorded
    for number in (1.0, 2.0, 3.0):
        ask(recorded, 4, number)
    assert machine.recorded == [(1, 3, 4)]
    assert machine.replayed == 3


def test_answers_outlive_the_next_run():
    machine = Machine()
    recorded = Recorded(machine.network, machine.recorder)
    answers = [ask(recorded, 4, float(number)) for number in range(4)]
    assert [float(answer[0, 0]) for answer in answers] == [0.0, 2.0, 4.0, 6.0]


def test_the_sizes_used_last_are_kept():
    machine = Machine()
    recorded = Recorded(machine.network, machine.recorder, kept=2)
    for width in (4, 5, 4, 5, 4, 6, 6):  # 5 is the one used longest ago when 6 needs its place
        ask(recorded, width)
    assert machine.recorded == [(1, 3, 4), (1, 3, 5), (1, 3, 6)]
    runs = machine.runs
    ask(recorded, 4)
    ask(recorded, 6)
    assert machine.runs == runs
    ask(recorded, 5)
    assert machine.recorded[3:] == [(1, 3, 5)]


def test_kinds_of_numbers_are_not_mixed():
    machine = Machine()
    recorded = Recorded(machine.network, machine.recorder)
    ask(recorded, 4)
    ask(recorded, 4)
    assert recorded(torch.ones(1, 3, 4, dtype=torch.float64)).dtype == torch.float64


def test_what_cannot_be_recorded_runs_as_before_and_is_said_once(caplog):
    machine = Machine(fails=True)
    recorded = Recorded(machine.network, machine.recorder)
    for number in range(5):
        ask(recorded, 4, float(number))
    (record,) = caplog.records
    assert "without CUDA graphs: RuntimeError: operation not permitted when" in record.getMessage()


def test_never_on_a_cpu_nor_on_zero_gpu(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert allowed(torch.device("cuda", 0))
    assert not allowed(torch.device("cpu"))
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert not allowed(torch.device("cuda", 0))


# --- whether the network asks anything of its device: run on one that has no memory


class Operations(TorchDispatchMode):
    """Notes operations that touch memory of the host."""

    def __init__(self):
        super().__init__()
        self.count, self.found = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        self.count += 1
        tensors = [x for x in tree_leaves((args, kwargs, answer)) if isinstance(x, torch.Tensor)]
        if any(tensor.device.type != "meta" for tensor in tensors):
            self.found.append(str(func))
        return answer


class Calls(TorchFunctionMode):
    """Notes calls that copy numbers to the device before any operation is seen."""

    COPYING = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
    INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        lists = func in self.INDEXING and any(
            isinstance(part, list)
            for part in (args[1] if isinstance(args[1], tuple) else args[1:2])
        )
        if func in self.COPYING or lists:
            self.found.append(f"{func.__name__}{args[1:]}")
        return func(*args, **(kwargs or {}))


def watched(run):
    with torch.inference_mode(), Operations() as operations, Calls() as calls:
        run()
    return operations.count, operations.found + calls.found


@pytest.mark.parametrize(
    "run",
    [
        lambda x: torch.tensor([1, 2], device="meta"),
        lambda x: x.new_tensor([1.0]),
        lambda x: x[:, [0, 1]],
        lambda x: x[torch.arange(2)],
        lambda x: torch.ones(3).to("meta"),
    ],
)
def test_the_watch_sees_what_would_break_a_recording(run):
    assert watched(lambda: run(torch.empty(3, 4, device="meta")))[1]


def test_the_device_cannot_be_asked():
    for question in (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            watched(lambda question=question: question(torch.empty(3, 4, device="meta")))


@pytest.mark.parametrize("config", [TINY, SMALL])
@pytest.mark.parametrize("half", [False, True])
def test_the_second_run_of_the_network_asks_nothing_of_its_device(config, half):
    model = random_model(config, 0).requires_grad_(False)
    model.fold_batch_norm()
    if half:
        use_half(model)
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
