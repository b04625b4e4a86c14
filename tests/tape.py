"""A recording as CUDA takes one, on any device: the operations of torch on the very tensors, played again in order.

As in a CUDA graph no Python code runs again: a number that the code worked out stays what it was, and so does a tensor
that it made from one.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Records the operations within a `with`; `play` does them again, each result into the first run's memory."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.__name__ in ("_local_scalar_dense.default", "nonzero.default"):
            raise AssertionError(f"{function} asks the device for a number")
        made = function(*args, **kwargs)
        self.operations.append((function, args, kwargs, made))
        return made

    @torch.no_grad()
    def play(self):
        """Do all of it once more."""
        for function, args, kwargs, made in self.operations:
            again = function(*args, **kwargs)
            if function._schema.is_mutable:
                continue
            given = {tensor.untyped_storage().data_ptr() for tensor in tree_leaves((args, kwargs)) if _has_data(tensor)}
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if _has_data(old) and old.untyped_storage().data_ptr() not in given:  # else a view
                    old.copy_(new)


def _has_data(value):
    return hasattr(value, "untyped_storage") and value.numel() > 0
