"""Whether a run asks anything of its device: it works on tensors that have no memory.

What is copied between host and device while a CUDA graph is recorded breaks the recording.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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
        # A number that is put where a tensor says is copied to a GPU as a tensor of its own.
        number = func is torch.Tensor.__setitem__ and not isinstance(args[2], torch.Tensor)
        places = number and any(
            isinstance(part, torch.Tensor)
            for part in (args[1] if isinstance(args[1], tuple) else args[1:2])
        )
        if func in self.COPYING or lists or places:
            self.found.append(f"{func.__name__}{args[1:]}")
        return func(*args, **(kwargs or {}))


def watched(run):
    """Runs `run`; the number of operations, and those that touch the host."""
    with torch.inference_mode(), Operations() as operations, Calls() as calls:
        run()
    return operations.count, operations.found + calls.found
