"""Forms of backprop in torch that save memory."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ffedge.compare.arms import Arm
from ffedge.compare.backprop import Backprop, bytes_of

MICRO_BATCHES = 8


class Stepped(Backprop):
    """Steps a parameter in the backward hook, as soon as its gradient is there, and frees the gradient."""

    def made_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one for each parameter."""
        optimizers = [self.optimizer_of([parameter]) for parameter in self.parameters]
        for parameter, own in zip(self.parameters, optimizers, strict=True):
            parameter.register_post_accumulate_grad_hook(partial(self._arrived, own))
        return optimizers

    def _arrived(self, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
        self.gradient_bytes = max(self.gradient_bytes, bytes_of(parameter.grad))
        optimizer.step()
        optimizer.zero_grad()

    def step(self) -> None:
        """Do nothing more."""


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
    kind = {"hook": Stepped, "checkpoint": Checkpointed, "accumulate": Accumulated}[arm.form]
    return kind(arm, widths, facts, rate, train.seed)
