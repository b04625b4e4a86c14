"""The onnx engine: holds a network's state and runs its learning steps in stock onnxruntime.

Shape letters: N samples, I inputs of a sample, M labels tried for each, R = N * M rows, D inputs of a layer, H units,
C classes, K = M - 1 wrong labels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.network import InputFacts, LayerShape, Learned, layer_shapes, trained
from ffedge.runtime.kernels import Build, Kernels, updates_in_place
from ffedge.runtime.session import Kernel, Value, Workspace
from ffedge.spec import ADAM_DECAYS, ADAM_EPSILON, MOMENTS, Spec

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """What a layer reads: for the first one the input and its product, for others rows [R, D]."""

    samples: int
    values: dict[str, Value]

    def part(self, start: int, stop: int) -> "Source":
        """Return some samples of the first layer's source."""
        parts = {name: Value(value.array[start:stop]) for name, value in self.values.items()}
        return Source(min(stop, self.samples) - start, parts)


class OnnxEngine:
    """Training steps of every layer; weights and moments stay where they are and change in place.

    Parameters
    ----------
    spec : resolved.
    build : makes a graph's bytes for a key.
    state : the parameters of each layer (``W``, ``b``, ``V``, ``gamma``, moments ``W.m``, …), used as they are.
    """

    def __init__(self, spec: Spec, facts: InputFacts, build: Build, state: list[dict[str, Array]]) -> None:
        self.spec = spec
        self.shapes = layer_shapes(spec, facts)
        self._kernels = Kernels(build, spec.train.threads)
        self.in_place = updates_in_place(build, self.shapes[-1])
        self._state = [{name: Value(array) for name, array in layer.items()} for layer in state]
        self._spare: list[dict[str, Value]] = [{} for _ in state]
        self._work = Workspace()
        self._scalars = {
            name: Value(np.zeros((), np.float32))
            for name in ("rate", "decaying.rate", "epsilon", "keep", "gamma.rate", "gamma.epsilon", "share")
        }

    def state(self) -> list[dict[str, Array]]:
        """Return the parameters and moments of each layer by name, not copied."""
        return [
            {name: value.array for name, value in layer.items() if not name.startswith("sum.")} for layer in self._state
        ]

    def begin(self, layers: list[int], *, chunked: bool) -> None:
        """Make room for the moments (and the gradients' sums) of the layers that learn next; those there stay."""
        for i in layers:
            for name in trained(self.spec, self.shapes[i]):
                moments = MOMENTS[self.spec.optimizer_of(name)]
                for part in (*(f"{name}.{m}" for m in moments), *([f"sum.{name}"] if chunked else [])):
                    if part not in self._state[i]:
                        self._state[i][part] = Value(np.zeros_like(self._state[i][name].array))

    def finish(self, layers: list[int]) -> None:
        """Free what only learning needs."""
        for i in layers:
            for name in [n for n in self._state[i] if "." in n]:
                del self._state[i][name]
            self._spare[i].clear()

    def product(self, raw: Array, mask: Array | None) -> Source:
        """Scale raw inputs [N, I], drop those whose uint8 mask [N, D] is 0, and multiply with the first layer's W."""
        shape, n = self.shapes[0], len(raw)
        outputs = {"x": self._work.get("x", (n, shape.inputs)), "z": self._work.get("z", (n, shape.units))}
        if self.spec.network.input_norm != "none":
            outputs["value"] = self._work.get("value", (n, 1, 1))
        inputs = {"raw": Value(raw)} if mask is None else {"raw": Value(raw), "mask": Value(mask)}
        self._run(self._kernels.get("product", shape, mask is not None), inputs, outputs, layer=0)
        return Source(n, outputs)

    def forward(self, layer: int, source: Source, labels: Array | None) -> tuple[Source, Array]:
        """Run a layer for labels [N, M] (None: all C); return the next layer's source and goodness [N, M]."""
        shape, n = self.shapes[layer], source.samples
        tried = shape.classes if labels is None else labels.shape[1]
        outputs = self._rows(layer, n * tried) | {"g": self._work.get("g.flat", (n * tried,))}
        kernel = self._kernels.get("forward", shape, shape.first and labels is None)
        self._run(kernel, source.values | self._labels(shape, labels, n), outputs, layer)
        return Source(n, {"x": outputs["rows"]}), outputs["g"].array.reshape(n, tried).copy()

    def learn(
        self, layer: int, source: Source, labels: Array, other: Array, *, batch: int, step: int, rate: float, emit: bool
    ) -> Learned:
        """Take one learning step, or, where a batch comes in chunks (batch > N), add to the gradients' sums.

        Parameters
        ----------
        labels : [N, M] int64, the true one first.
        other : [N, M] the other layers' weighted goodness (eq. 5); unused by ff.
        batch : samples of the whole batch, over which the loss is averaged.
        step : updates of this layer before this one.
        rate : learning rate in force.
        emit : whether the next layer learns from the same batch.
        """
        shape, n = self.shapes[layer], source.samples
        outputs = {"g": self._work.get("g", labels.shape), "loss": self._work.get("loss", ())}
        outputs |= self._rows(layer, labels.size) if emit else {}
        self._set_scalars(step, rate, batch)
        kernel = self._kernels.get("learn" if batch == n else "accumulate", shape, emit)
        inputs = source.values | self._labels(shape, labels, n) | self._scalars | {"other": Value(other)}
        self._run(kernel, inputs, outputs, layer)
        following = Source(n, {"x": outputs["rows"]}) if emit else None
        return Learned(following, outputs["g"].array.copy(), float(outputs["loss"].array))

    def apply(self, layer: int, *, step: int, rate: float) -> None:
        """Step with the gradients' sums, and clear them."""
        self._set_scalars(step, rate, 1)
        self._run(self._kernels.get("apply", self.shapes[layer]), self._scalars, {}, layer)
        for name, value in self._state[layer].items():
            if name.startswith("sum."):
                value.array.fill(0)

    @property
    def buffer_bytes(self) -> int:
        """Memory of inputs, rows and results that stays between steps."""
        return self._work.size_bytes

    def _rows(self, layer: int, rows: int) -> dict[str, Value]:
        # two buffers take turns, so that a layer never writes where it reads
        return {"rows": self._work.get(f"rows.{layer % 2}", (rows, self.shapes[layer].units))}

    @staticmethod
    def _labels(shape: LayerShape, labels: Array | None, samples: int) -> dict[str, Value]:
        if not shape.sees_label or (shape.first and labels is None):
            return {}
        if labels is None:
            return {"labels": Value(np.tile(np.arange(shape.classes, dtype=np.int64), samples))}
        return {"labels": Value(np.ascontiguousarray(labels if shape.first else labels.reshape(-1)))}

    def _set_scalars(self, step: int, rate: float, batch: int) -> None:
        train, rule = self.spec.train, self.spec.rule
        values = {"share": 1.0 / batch, "keep": 1.0 - rate * train.weight_decay, "rate": rate}
        values["gamma.rate"] = rule.gamma_rate
        for prefix, kind, first in (
            ("", train.optimizer, train.momentum),
            ("gamma.", rule.gamma_optimizer, ADAM_DECAYS[0]),
        ):
            if kind == "adam":  # the bias correction of both moments, taken into rate and epsilon
                second = math.sqrt(1.0 - ADAM_DECAYS[1] ** (step + 1))
                values[f"{prefix}rate"] *= second / (1.0 - first ** (step + 1))
                values[f"{prefix}epsilon"] = ADAM_EPSILON * second
        values["decaying.rate"] = values["rate"] / values["keep"]
        for name, value in values.items():
            self._scalars[name].array[...] = value

    def _run(self, kernel: Kernel, inputs: dict[str, Value], outputs: dict[str, Value], layer: int) -> None:
        """Run a kernel; ``new.p`` goes into p's own buffer, or into a second one that then changes places with it."""
        state = self._state[layer]
        fresh = [name for name in kernel.outputs if name.startswith("new.")]
        for name in fresh:
            old = name.removeprefix("new.")
            if not self.in_place and old not in self._spare[layer]:
                self._spare[layer][old] = Value(np.empty_like(state[old].array))
            outputs[name] = state[old] if self.in_place else self._spare[layer][old]
        kernel.run(
            {name: value.ort for name, value in (state | inputs).items()},
            {name: value.ort for name, value in outputs.items()},
        )
        if not self.in_place:
            for old in (name.removeprefix("new.") for name in fresh):
                state[old], self._spare[layer][old] = self._spare[layer][old], state[old]
