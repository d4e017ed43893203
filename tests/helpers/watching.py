"""Detect host-device copies in a run on the meta device.

Such copies are not allowed during CUDA graph capture.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):
    """Record operations on tensors of the host."""

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
    """Record calls that copy numbers to the device before an operation is dispatched."""

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
        # A number assigned at a tensor index is copied to a GPU as a tensor.
        number = func is torch.Tensor.__setitem__ and not isinstance(args[2], torch.Tensor)
        places = number and any(
            isinstance(part, torch.Tensor)
            for part in (args[1] if isinstance(args[1], tuple) else args[1:2])
        )
        if func in self.COPYING or lists or places:
            self.found.append(f"{func.__name__}{args[1:]}")
        return func(*args, **(kwargs or {}))


def watched(run):
    """Call `run`; returns the number of operations, and those that touch the host."""
    with torch.inference_mode(), Operations() as operations, Calls() as calls:
        run()
    return operations.count, operations.found + calls.found
