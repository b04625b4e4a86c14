"""The torch engine: one layer's loss at a time; backward, step and release before the next layer.

Within an epoch nothing asks the device for a number, so that an accelerator works while the next rows are read.

Shape letters: N samples, I inputs of a sample, D inputs of a layer, M labels tried for each sample, R = N * M rows,
C classes, H units.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from ffedge.engine.base import Learned
from ffedge.engine.kernels import FOLLOWING, HOMEOSTASIS
from ffedge.errors import FfedgeError
from ffedge.kinds import goodness_of, parameters_of
from ffedge.layers.inputs import TorchInputs
from ffedge.network import InputFacts, adds_input, layers_of
from ffedge.pages import keep_freed_blocks
from ffedge.recipe import Recipe
from ffedge.rule import collaboration, loss, norm, similarity
from ffedge.rule.optimizer import ADAM_DECAYS, ADAM_EPSILON, MOMENTS

Array = NDArray[Any]
TORCH_NAMES = {"momentum": {"m": "momentum_buffer"}, "adam": {"m": "exp_avg", "v": "exp_avg_sq"}, "sgd": {}}


@dataclass(frozen=True)
class Source:
    """What a layer reads: rows [R, D]; for the first layer the scaled input [N, D] and the label's value [N, 1]."""

    samples: int
    rows: Tensor
    value: Tensor

    def part(self, start: int, stop: int) -> "Source":
        """Return some samples of the first layer's source."""
        rows = self.rows[start:stop]
        return Source(len(rows), rows, self.value[start:stop])


class TorchEngine:
    """Training steps of every layer by autograd; the methods are those of `ffedge.engine.onnx.OnnxEngine`."""

    in_place = True

    def __init__(self, recipe: Recipe, facts: InputFacts, state: list[dict[str, Array]]) -> None:
        self.recipe, self.facts = recipe, facts
        self.layers = layers_of(recipe, facts)
        self.device = _device(recipe.train.device)
        keep_freed_blocks()
        if recipe.train.threads and self.device.type == "cpu":
            torch.set_num_threads(recipe.train.threads)
        self.places = 0  # how often parameters or moments have become other tensors
        self._inputs = TorchInputs(recipe.network, facts, self.device)
        self._parameters: list[dict[str, Tensor]] = [{} for _ in state]
        self._moments: list[dict[str, Array]] = [{} for _ in state]
        for layer, arrays in enumerate(state):
            self.place(layer, arrays)
        self._optimizers: dict[int, list[Optimizer]] = {}
        self._measured: dict[int, dict[str, Tensor]] = {}

    def state(self) -> list[dict[str, Array]]:
        """Return the parameters and moments of each layer by name."""
        result = [{n: p.detach().cpu().numpy() for n, p in layer.items()} for layer in self._parameters]
        for layer, optimizers in self._optimizers.items():
            for name, parameter, optimizer, kind in self._trained(layer, optimizers):
                for moment, torch_name in TORCH_NAMES[kind].items():
                    stored = optimizer.state.get(parameter, {}).get(torch_name)
                    value = torch.zeros_like(parameter) if stored is None else stored
                    result[layer][f"{name}.{moment}"] = value.detach().cpu().numpy()
        return result

    def place(self, layer: int, arrays: dict[str, Array]) -> None:
        """Take a layer's parameters, and moments that were saved, from these arrays."""
        self.places += 1
        parameters = {name: self._tensor(value) for name, value in arrays.items() if "." not in name}
        fixed = {"power"} | {n for n, p in parameters_of(self.layers[layer]).items() if p.follows}
        self._parameters[layer] = {name: value.requires_grad_(name not in fixed) for name, value in parameters.items()}
        self._moments[layer] = {name: value for name, value in arrays.items() if "." in name}

    def begin(self, layers: list[int], *, chunked: bool) -> None:
        """Make the optimisers of the layers that learn next, with the moments that were saved."""
        train, rule, device = self.recipe.train, self.recipe.rule, self.device
        self.places += 1
        for i in layers:
            values, parameters = self._parameters[i], parameters_of(self.layers[i])
            groups: list[dict[str, Any]] = [
                {
                    "params": [values[n] for n, p in parameters.items() if p.decays is decays and not p.follows],
                    "weight_decay": share,
                }
                for decays, share in ((True, train.weight_decay), (False, 0.0))
            ]
            self._optimizers[i] = [_optimizer(train.optimizer, groups, train.momentum, device)]
            if rule.variant == "acff":
                gamma: list[dict[str, Any]] = [{"params": [values["gamma"]], "weight_decay": 0.0}]
                self._optimizers[i].append(_optimizer(rule.gamma_optimizer, gamma, ADAM_DECAYS[0], device))
            for name, parameter, optimizer, kind in self._trained(i, self._optimizers[i]):
                saved = {m: self._moments[i][f"{name}.{m}"] for m in MOMENTS[kind] if f"{name}.{m}" in self._moments[i]}
                if saved:
                    optimizer.state[parameter] = {TORCH_NAMES[kind][m]: self._tensor(v) for m, v in saved.items()}

    def finish(self, layers: list[int]) -> None:
        """Free the optimisers."""
        self.places += 1
        for i in layers:
            self._optimizers.pop(i, None)
            self._moments[i].clear()

    def product(self, raw: Array | Tensor, mask: Array | Tensor | None) -> Source:
        """Scale raw inputs [N, I] and drop those whose mask [N, D] is 0."""
        given, drawn = self.uploaded(raw), None if mask is None else self.uploaded(mask)
        given = given if given.dtype == torch.float64 else given.float()
        x, value = self._inputs(given, drawn, self.recipe.train.input_dropout)
        return Source(len(x), x, value)

    def source(self, rows: Array, samples: int) -> Source:
        """Return what a further layer reads, from rows [R, D] that an earlier one made."""
        return Source(samples, self._tensor(rows), torch.zeros(samples, 1, device=self.device))

    def rows(self, source: Source) -> Array:
        """Return the rows [R, D] of a further layer's source."""
        return source.rows.flatten(1).float().cpu().numpy()

    @torch.no_grad()
    def forward(self, layer: int, source: Source, labels: Array | Tensor | None) -> tuple[Source, Tensor]:
        """Run a layer for labels [N, M] (None: all C); return the next layer's source and goodness [N, M]."""
        y, _ = self._activity(layer, source, labels)
        g = self._goodness(layer, source, y, labels)
        following = Source(source.samples, self._passed_on(layer, source, y), source.value)
        return following, g

    def first_goodness(self, source: Source) -> Tensor:
        """Return the first layer's goodness [N, C] of every class."""
        return self.forward(0, source, None)[1]

    def learn(
        self,
        layer: int,
        source: Source,
        labels: Array | Tensor,
        other: Array | Tensor,
        *,
        batch: int,
        step: int,
        rate: float | Tensor,
        emit: bool,
        weights: Array | Tensor | None = None,
    ) -> Learned:
        """Take one learning step, or add to the gradients where a batch comes in chunks (batch > N)."""
        statistics: dict[str, Tensor] = {}
        y, tried = self._activity(layer, source, labels, statistics)
        g = self._goodness(layer, source, y, labels)
        gamma = self._parameters[layer].get("gamma")
        heard = None if gamma is None else torch.as_tensor(other, device=self.device)
        G = collaboration.torch(g, heard, gamma, self.recipe.rule)
        losses = loss.torch(G, self.recipe.rule)
        mean = (losses if weights is None else losses * self._tensor(weights)).sum() / batch
        total = mean
        if self.recipe.rule.similarity:
            apart = similarity.torch(y, self.uploaded(labels[:, 0]), self.layers[layer].place.classes)
            total = mean + self.recipe.rule.similarity * apart * (source.samples / batch)
        total.backward()  # type: ignore[no-untyped-call]
        rows = self._passed_on(layer, source, y.detach()) if emit else None
        self._measure(layer, y.detach(), batch * tried)
        for name, value in statistics.items():
            shares = self._measured[layer]
            shares[name] = shares.get(name, 0.0) + value * (source.samples / batch)
        if batch == source.samples:
            self.apply(layer, step=step, rate=rate)
        following = Source(source.samples, rows, source.value) if rows is not None else None
        return Learned(following, g.detach(), mean.detach())

    def apply(self, layer: int, *, step: int, rate: float | Tensor) -> None:
        """Step with the gradients, and clear them."""
        for which, optimizer in enumerate(self._optimizers[layer]):
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.rule.gamma_rate if which else rate
            if isinstance(optimizer, SGD) and not which:  # torch's SGD knows no decoupled decay
                with torch.no_grad():
                    for parameter in optimizer.param_groups[0]["params"]:
                        parameter.mul_(1.0 - rate * self.recipe.train.weight_decay)
            for kept in optimizer.state.values():
                if isinstance(optimizer, Adam) and "step" not in kept:  # its moments were saved
                    kept["step"] = torch.tensor(float(step), device=self.device)
            optimizer.step()
            optimizer.zero_grad()
        measured, parameters = self._measured.pop(layer), self._parameters[layer]
        with torch.no_grad():
            if self.recipe.rule.sparsity is not None:
                parameters["b"] -= HOMEOSTASIS * (measured["active"] - self.recipe.rule.sparsity)
            following = {"power": FOLLOWING} if "power" in parameters else {}
            following |= {n: p.follows for n, p in parameters_of(self.layers[layer]).items() if n in measured}
            for name, share in following.items():
                parameters[name] += share * (measured[name] - parameters[name])

    def forget_gradients(self) -> None:
        """Drop gradients, and what is measured of a batch, of a step that came to nothing."""
        self._measured.clear()
        for optimizers in self._optimizers.values():
            for optimizer in optimizers:
                optimizer.zero_grad()

    def uploaded(self, values: Array | Tensor) -> Tensor:
        """Return a copy on the device, of the array's type, for which nobody waits; or what is there already."""
        return self.staged(values).to(self.device, non_blocking=True)

    def staged(self, values: Array | Tensor) -> Tensor:
        """Return a copy of an array in memory from which a device reads without making anybody wait."""
        given = values if isinstance(values, Tensor) else torch.tensor(values)
        return given.pin_memory() if self.device.type == "cuda" and given.device.type == "cpu" else given

    @property
    def buffer_bytes(self) -> int:
        """Torch keeps no buffers between steps."""
        return 0

    def _goodness(self, layer: int, source: Source, y: Tensor, labels: Array | Tensor | None) -> Tensor:
        """Return the goodness [N, M] of labels [N, M] (None: all C)."""
        g = goodness_of(self.layers[layer]).torch(y, self._parameters[layer]).view(source.samples, -1)
        if labels is None or self.recipe.network.tries_labels:
            return g
        return g.gather(1, self.uploaded(labels))

    def _activity(
        self, layer: int, source: Source, labels: Array | Tensor | None, statistics: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, int]:
        """Return y [R, H] for labels [N, M] (None: all C), and R / N."""
        here = self.layers[layer]
        if labels is None:
            labels = torch.arange(here.place.classes, device=self.device).repeat(source.samples, 1)
        flat = self.uploaded(labels.reshape(-1))
        tried = self.recipe.network.rows_a_sample(labels.shape[1])
        half = self.recipe.train.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            return here.torch(source.rows, self._parameters[layer], flat, source.value, tried, statistics), tried

    def _measure(self, layer: int, y: Tensor, rows: int) -> None:
        """Add some rows' share of what is measured of a batch: the mean square, and how often each unit is active."""
        before = self._measured.get(layer, {})
        shares = {}
        if "power" in self._parameters[layer]:
            shares["power"] = y.square().flatten(1).mean(1, dtype=torch.float32).sum() / rows
        if self.recipe.rule.sparsity is not None:
            shares["active"] = (y > 0).sum(0) / rows
        self._measured[layer] = before | {name: value + before.get(name, 0.0) for name, value in shares.items()}

    def _passed_on(self, layer: int, source: Source, y: Tensor) -> Tensor:
        """Return what the next layer reads [R, H]."""
        network, y = self.recipe.network, self.layers[layer].torch_pooled(y)
        normed = norm.torch(y, network, self._parameters[layer].get("power"))
        if not adds_input(network, self.layers[layer]):
            return normed
        return norm.torch(normed + source.rows.reshape(normed.shape), network, None)

    def _trained(self, layer: int, optimizers: list[Optimizer]) -> list[tuple[str, Tensor, Optimizer, str]]:
        kinds = [self.recipe.train.optimizer, self.recipe.rule.gamma_optimizer]
        return [
            (name, parameter, optimizers[name == "gamma"], kinds[name == "gamma"])
            for name, parameter in self._parameters[layer].items()
            if parameter.requires_grad and (name != "gamma" or len(optimizers) > 1)
        ]

    def _tensor(self, values: Array | Tensor) -> Tensor:
        return self.uploaded(values if isinstance(values, Tensor) else np.asarray(values, np.float32))


def _optimizer(kind: str, groups: list[dict[str, Any]], momentum: float, device: torch.device) -> Optimizer:
    if kind == "adam":
        betas, recorded = (momentum, ADAM_DECAYS[1]), device.type == "cuda"
        return AdamW(groups, betas=betas, eps=ADAM_EPSILON, fused=True, capturable=recorded)
    return SGD(
        [{**group, "weight_decay": 0.0} for group in groups],
        lr=1.0,
        momentum=momentum if kind == "momentum" else 0.0,
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise FfedgeError(f"`device='{name}'`: torch cannot use it here. Use `device='cpu'`") from error
    return device
