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

    Attributes
    ----------
    seconds : of each layer, the head last: forward by forward hooks, backward by when gradients arrive.
    gradient_bytes : most bytes of gradients at one time.
    saved_bytes : what autograd keeps for the backward pass of a batch, weights left out; counted in the first step.
    """

    unknown: ClassVar = {"buffers": "torch allocates as it goes and holds no buffers between steps that can be counted"}

    def __init__(self, arm: Arm, widths: tuple[int, ...], facts: InputFacts, rate: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.layers = nn.ModuleList(self.made_layers(widths, facts))
        for module in self.layers.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.arm, self._rate = arm, rate
        self.seconds = [0.0] * len(self.layers)
        self.gradient_bytes = self.saved_bytes = 0
        self._offset, self._scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        self.parameters = list(self.layers.parameters())
        self._time_layers()
        self.optimizers = self.made_optimizers()

    def made_layers(self, widths: tuple[int, ...], facts: InputFacts) -> list[nn.Module]:
        """Return the hidden layers and the head."""
        sizes = (facts.size, *widths)
        hidden = [nn.Sequential(nn.Linear(i, o), nn.ReLU()) for i, o in zip(sizes, widths, strict=False)]
        return [*hidden, nn.Linear(sizes[-1], facts.n_classes)]

    def made_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return what steps the parameters."""
        return [self.optimizer_of(self.parameters)]

    def optimizer_of(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return an optimiser for some parameters."""
        if self.arm.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self._rate)
        return torch.optim.SGD(parameters, lr=self._rate, momentum=0.9 if self.arm.optimizer == "momentum" else 0.0)

    def learn(self, raw: Array, labels: NDArray[np.int64], share: float = 1.0) -> float:
        """Take one step on a batch [N, I], with a share of the rate; return the loss."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = self._rate * share
        loss = self.backward(torch.from_numpy(raw), torch.from_numpy(labels), len(labels))
        self.step()
        return loss

    def step(self) -> None:
        """Update all parameters, and free their gradients."""
        self.gradient_bytes = sum(bytes_of(p.grad) for p in self.parameters if p.grad is not None)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()

    def backward(self, x: Tensor, true: Tensor, samples: int) -> float:
        """Add the gradients of some rows of a batch of so many samples; return their part of the loss."""
        saved: dict[int, int] = {}  # bytes by address, as a tensor may be saved twice

        def pack(tensor: Tensor) -> Tensor:
            base = tensor if tensor._base is None else tensor._base
            if not (base.is_leaf and base.requires_grad):
                address = tensor.untyped_storage().data_ptr()
                saved[address] = max(saved.get(address, 0), bytes_of(tensor))
            return tensor

        counting = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with (
            contextlib.nullcontext() if self.saved_bytes else counting
        ):  # later steps save as much; counting takes time
            loss = F.cross_entropy(self.logits(x), true, reduction="sum") / samples
        self.saved_bytes = self.saved_bytes or sum(saved.values())
        self._mark = time.perf_counter()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def predict(self, raw: Array) -> NDArray[np.int64]:
        """Return the label [N] of each row [N, I]."""
        labels: NDArray[np.int64] = self.logits(torch.from_numpy(raw)).argmax(1).numpy()
        return labels

    def counted(self) -> dict[str, int | None]:
        """Return bytes by name, the most at one time."""
        weights = sum(map(bytes_of, self.parameters))
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

    def _time_layers(self) -> None:
        self._mark = 0.0

        def told(index: int) -> Callable[..., None]:
            """Give the seconds since the mark to a layer."""

            def add(*_: Any) -> None:
                now = time.perf_counter()
                self.seconds[index] += now - self._mark
                self._mark = now

            return add

        def begin(*_: Any) -> None:
            self._mark = time.perf_counter()

        for index, layer in enumerate(self.layers):
            layer.register_forward_pre_hook(begin)
            layer.register_forward_hook(told(index))
            for parameter in layer.parameters():  # gradients arrive from the last layer to the first
                parameter.register_post_accumulate_grad_hook(told(index))  # type: ignore[no-untyped-call]


def bytes_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor's values."""
    return tensor.numel() * tensor.element_size()
