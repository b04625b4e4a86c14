"""More forms of backprop in torch that save memory."""

import math
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ffedge.compare.arms import Arm
from ffedge.compare.backprop import Backprop

MICRO_BATCHES = 8


class Checkpointed(Backprop):
    """Keeps only the inputs of segments of sqrt(depth) layers, and computes the rest anew in the backward pass."""

    def logits(self, raw: Tensor) -> Tensor:
        """Return the head's outputs [N, C]."""
        x, hidden = (raw.float() - self._offset) * self._scale, list(self.layers)[:-1]
        size = math.isqrt(len(hidden))
        for start in range(0, len(hidden), size):
            x = checkpoint(nn.Sequential(*hidden[start : start + size]), x, use_reentrant=False)
        return self.layers[-1](x)


class Accumulated(Backprop):
    """Takes a batch in 8 parts."""

    def backward(self, x: Tensor, true: Tensor, samples: int) -> float:
        """Add the gradients part by part; return the loss."""
        parts = zip(x.chunk(MICRO_BATCHES), true.chunk(MICRO_BATCHES), strict=True)
        return sum(super(Accumulated, self).backward(rows, labels, samples) for rows, labels in parts)


def build(arm: Arm, widths: tuple[int, ...], facts: Any, rate: float, train: Any) -> Backprop:
    """Return an arm's network."""
    kind = {"checkpoint": Checkpointed, "accumulate": Accumulated}[arm.form]
    return kind(arm, widths, facts, rate, train.seed)
