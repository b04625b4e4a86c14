"""The baseline: the same layers with a linear head, trained by backpropagation of the cross-entropy, in torch.

Shape letters: N samples, I inputs, C classes.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ffedge.compare.arms import Arm
from ffedge.network import InputFacts
from ffedge.recipe import Train
from ffedge.rule.optimizer import MOMENTS

Array = NDArray[Any]


def build(arm: Arm, widths: tuple[int, ...], facts: InputFacts, rate: float, train: Train) -> "Backprop":
    """Return an arm's network."""
    torch.set_num_threads(train.threads)
    return Backprop(arm, widths, facts, rate, train.seed)


class Backprop:
    """An MLP with ReLU and its optimiser.

    Weights begin as He et al. (2015) draw them for ReLU: by torch's own, smaller draw 8 layers do not begin to learn.
    With the form ``hook`` a parameter is stepped as soon as its gradient is there, and the gradient freed.

    Attributes
    ----------
    seconds : of each layer, the head last: forward by forward hooks, backward by when gradients arrive.
    saved_bytes : what autograd keeps for the backward pass of a batch, weights left out; counted in the first step.
    """

    unknown: ClassVar = {"buffers": "torch allocates as it goes and holds no buffers between steps that can be counted"}

    def __init__(self, arm: Arm, widths: tuple[int, ...], facts: InputFacts, rate: float, seed: int) -> None:
        torch.manual_seed(seed)
        sizes = (facts.size, *widths)
        hidden = [nn.Sequential(nn.Linear(i, o), nn.ReLU()) for i, o in zip(sizes, widths, strict=False)]
        self.layers = nn.ModuleList([*hidden, nn.Linear(sizes[-1], facts.n_classes)])
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.arm, self._rate = arm, rate
        self.seconds = [0.0] * len(self.layers)
        self.gradient_bytes = self.saved_bytes = 0
        self._offset, self._scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        self._parameters = list(self.layers.parameters())
        groups = [[p] for p in self._parameters] if arm.form == "hook" else [self._parameters]
        self._optimizers = [self._optimizer(group) for group in groups]
        self._time_layers()
        if arm.form == "hook":
            for parameter, own in zip(self._parameters, self._optimizers, strict=True):
                parameter.register_post_accumulate_grad_hook(self._stepper(own))  # type: ignore[no-untyped-call]

    def learn(self, raw: Array, labels: NDArray[np.int64], share: float = 1.0) -> float:
        """Take one step on a batch [N, I], with a share of the rate; return the loss."""
        for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
            group["lr"] = self._rate * share
        loss = self.backward(torch.from_numpy(raw), torch.from_numpy(labels), len(labels))
        if self.arm.form != "hook":
            self.gradient_bytes = sum(_bytes(p.grad) for p in self._parameters if p.grad is not None)
            for optimizer in self._optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return loss

    def backward(self, x: Tensor, true: Tensor, samples: int) -> float:
        """Add the gradients of some rows of a batch of so many samples; return their part of the loss."""
        with self.counting():
            loss = F.cross_entropy(self.logits(x), true, reduction="sum") / samples
        self._mark = time.perf_counter()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @contextlib.contextmanager
    def counting(self) -> Any:
        """Count what a forward pass saves, if it is the first one: later ones save as much, and counting takes time."""
        if self.saved_bytes:
            yield
            return
        saved: dict[int, int] = {}  # by address, as a tensor may be saved twice

        def pack(tensor: Tensor) -> Tensor:
            base = tensor if tensor._base is None else tensor._base
            if not (base.is_leaf and base.requires_grad):
                address = tensor.untyped_storage().data_ptr()
                saved[address] = max(saved.get(address, 0), _bytes(tensor))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
        self.saved_bytes = sum(saved.values())

    @torch.no_grad()
    def predict(self, raw: Array) -> NDArray[np.int64]:
        """Return the label [N] of each row [N, I]."""
        labels: NDArray[np.int64] = self.logits(torch.from_numpy(raw)).argmax(1).numpy()
        return labels

    def counted(self) -> dict[str, int | None]:
        """Return bytes by name, the most at one time."""
        weights = sum(map(_bytes, self._parameters))
        return {
            "weights": weights,
            "gradients": self.gradient_bytes,
            "moments": weights * len(MOMENTS[self.arm.optimizer]),
            "saved_for_backward": self.saved_bytes,
            "buffers": None,
        }

    def logits(self, raw: Tensor) -> Tensor:
        """Return the head's outputs [N, C]."""
        x = (raw.float() - self._offset) * self._scale
        for layer in self.layers:
            x = layer(x)
        return x

    def _optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if self.arm.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self._rate)
        return torch.optim.SGD(parameters, lr=self._rate, momentum=0.9 if self.arm.optimizer == "momentum" else 0.0)

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


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
