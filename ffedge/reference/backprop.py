"""The baseline: the same layers with a linear head, trained by backpropagation of the cross-entropy, in torch.

Shape letters: N samples, I inputs, C classes.
"""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ffedge.network import InputFacts
from ffedge.reference.saved import SavedBytes
from ffedge.spec import MOMENTS, Optimizer

Form = Literal["plain", "checkpoint", "hook", "accumulate"]
MICRO_BATCHES = 8
Array = NDArray[Any]


class Backprop:
    """An MLP with ReLU and its optimiser, in one of the forms that save memory.

    Weights begin as He et al. (2015) draw them for ReLU: by torch's own, smaller draw 8 layers do not begin to learn.

    Parameters
    ----------
    form : ``plain``; ``checkpoint`` keeps only the inputs of segments of sqrt(depth) layers and computes the rest anew
        in the backward pass; ``hook`` steps a parameter as soon as its gradient is there and frees it; ``accumulate``
        takes a batch in 8 parts.

    Attributes
    ----------
    seconds : of each layer, the head last: forward by forward hooks, backward by when gradients arrive.
    saved : what autograd keeps for the backward pass, counted in the first step; not what a checkpointed segment
        computes anew in it.
    gradient_bytes : most bytes of gradients at one time.
    """

    def __init__(
        self, widths: tuple[int, ...], facts: InputFacts, *, optimizer: Optimizer, rate: float, form: Form, seed: int
    ) -> None:
        torch.manual_seed(seed)
        sizes = (facts.size, *widths)
        hidden = [nn.Sequential(nn.Linear(i, o), nn.ReLU()) for i, o in zip(sizes, widths, strict=False)]
        self.layers = nn.ModuleList([*hidden, nn.Linear(sizes[-1], facts.n_classes)])
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.form, self.optimizer, self.saved = form, optimizer, SavedBytes()
        self._rate = rate
        self.seconds = [0.0] * len(self.layers)
        self.gradient_bytes = 0
        self._first_step = True  # later ones save as much, and counting it would be in their time
        self._offset, self._scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        parameters = list(self.layers.parameters())
        groups = [[p] for p in parameters] if form == "hook" else [parameters]
        self._optimizers = [_optimizer(optimizer, group, rate) for group in groups]
        self._time_layers()
        if form == "hook":
            for parameter, own in zip(parameters, self._optimizers, strict=True):
                parameter.register_post_accumulate_grad_hook(self._stepper(own))  # type: ignore[no-untyped-call]

    def learn(self, raw: Array, labels: NDArray[np.int64], share: float = 1.0) -> float:
        """Take one step on a batch [N, I], with a share of the rate; return the loss."""
        for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
            group["lr"] = self._rate * share
        parts = MICRO_BATCHES if self.form == "accumulate" else 1
        x, y, total = torch.from_numpy(raw), torch.from_numpy(labels), 0.0
        for rows, true in zip(x.chunk(parts), y.chunk(parts), strict=True):
            with self.saved if self._first_step else contextlib.nullcontext():
                loss = F.cross_entropy(self._logits(rows), true, reduction="sum") / len(y)
            self._mark = time.perf_counter()
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        self._first_step = False
        if self.form != "hook":
            self.gradient_bytes = sum(_bytes(p.grad) for p in self.layers.parameters() if p.grad is not None)
            for optimizer in self._optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return total

    @torch.no_grad()
    def predict(self, raw: Array) -> NDArray[np.int64]:
        """Return the label [N] of each row [N, I]."""
        labels: NDArray[np.int64] = self._logits(torch.from_numpy(raw)).argmax(1).numpy()
        return labels

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters."""
        return sum(_bytes(p) for p in self.layers.parameters())

    @property
    def moment_bytes(self) -> int:
        """Bytes of the optimiser's moments."""
        return self.weight_bytes * len(MOMENTS[self.optimizer])

    def _logits(self, raw: Tensor) -> Tensor:
        x = (raw.float() - self._offset) * self._scale
        hidden = list(self.layers)[:-1]
        size = math.isqrt(len(hidden)) if self.form == "checkpoint" else len(hidden)
        for start in range(0, len(hidden), size):
            segment = nn.Sequential(*hidden[start : start + size])
            if self.form == "checkpoint" and torch.is_grad_enabled():
                x = checkpoint(segment, x, use_reentrant=False)
            else:
                x = segment(x)
        logits: Tensor = self.layers[-1](x)
        return logits

    def _stepper(self, optimizer: torch.optim.Optimizer) -> Callable[[Tensor], None]:
        def step(parameter: Tensor) -> None:
            if parameter.grad is not None:
                self.gradient_bytes = max(self.gradient_bytes, _bytes(parameter.grad))
            optimizer.step()
            optimizer.zero_grad()

        return step

    def _time_layers(self) -> None:
        self._mark = 0.0
        for index, layer in enumerate(self.layers):
            began = [0.0]

            def before(*_: Any, began: list[float] = began) -> None:
                began[0] = time.perf_counter()

            def after(*_: Any, began: list[float] = began, index: int = index) -> None:
                self.seconds[index] += time.perf_counter() - began[0]

            def arrived(_: Tensor, index: int = index) -> None:  # gradients arrive from the last layer to the first
                now = time.perf_counter()
                self.seconds[index] += now - self._mark
                self._mark = now

            layer.register_forward_pre_hook(before)
            layer.register_forward_hook(after)
            for parameter in layer.parameters():
                parameter.register_post_accumulate_grad_hook(arrived)  # type: ignore[no-untyped-call]


def _optimizer(kind: Optimizer, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=rate)
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9 if kind == "momentum" else 0.0)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
