"""Counts what torch's autograd keeps for the backward pass."""

from types import TracebackType
from typing import Self

import torch
from torch import Tensor


class _Kept:
    """A tensor in autograd's keeping; when it is let go, the meter is told."""

    __slots__ = ("memory", "meter", "tensor")

    def __init__(self, tensor: Tensor, meter: "SavedBytes", memory: int) -> None:
        self.tensor, self.meter, self.memory = tensor, meter, memory

    def __del__(self) -> None:
        self.meter.release(self.memory)


class SavedBytes:
    """While it is entered, counts the memory of tensors saved for backward, once however often it is saved.

    Weights are left out, as they are there anyway.

    Attributes
    ----------
    peak_bytes : the largest sum at one time.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._held: dict[int, list[int]] = {}  # by address of the memory: times saved, bytes
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End."""
        self._hooks.__exit__(kind, error, at)

    def release(self, memory: int) -> None:
        """Take off what was saved at an address, if it is not saved elsewhere too."""
        self._held[memory][0] -= 1
        if not self._held[memory][0]:
            del self._held[memory]

    def _pack(self, tensor: Tensor) -> _Kept:
        base = tensor._base if tensor._base is not None else tensor
        weight = base.is_leaf and base.requires_grad
        memory = tensor.untyped_storage().data_ptr()
        held = self._held.setdefault(memory, [0, 0])
        held[0] += 1
        held[1] = max(held[1], 0 if weight else tensor.numel() * tensor.element_size())
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._held.values()))
        return _Kept(tensor, self, memory)
