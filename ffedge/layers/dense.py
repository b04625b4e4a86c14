"""A dense layer: ``y = relu(x W + b + value * V[label])``, W [D, H], b [H], and V [C, H] where it sees the label.

A label is one active input among C; factored out, it is a row of V. So all labels of a sample share one product with
the input in the first layer. The gradient is local and needs no autograd: from ``dL/dz`` (one number q a row times y),
``dW = x^T dz``, ``db = sum dz``, ``dV[c] = value * sum of dz over the rows with label c``.

Shape letters: as in `ffedge.layers.base`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from ffedge.layers.base import Array, LayerPlace, Names, Parameter, Plain, Read, bounded, uniform
from ffedge.onnx.graph import Dims, GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

MOST_UNITS = 65536


@dataclass(frozen=True)
class Dense(Plain):
    """A dense layer (see `ffedge.layers.base.Layer`)."""

    folds: ClassVar[bool] = True
    place: LayerPlace
    units: int

    @classmethod
    def made(cls, place: LayerPlace, words: str) -> Self:
        """Return a layer of as many units as the words say."""
        units = int(words) if words.isdecimal() else 0
        if not 1 <= units <= MOST_UNITS:
            raise ValueError(f"a dense layer must have 1 to {MOST_UNITS} units, got {words!r}")
        return cls(place, units)

    def parameters(self) -> dict[str, Parameter]:  # noqa: D102
        W = Parameter((self.place.inputs, self.units), decays=True, tiled=True)
        parameters = {"W": W, "b": Parameter((self.units,))}
        if self.place.sees_label:
            parameters["V"] = Parameter((self.place.classes, self.units), decays=True)
        return parameters

    def draw(self, seed: int) -> dict[str, Array]:  # noqa: D102
        return uniform(self, self.place.inputs + (self.place.classes if self.place.sees_label else 0), seed)

    def shared(self, g: GraphBuilder, x: str, p: Names, out: str) -> str:  # noqa: D102
        return g.op("Gemm", x, p["W"], p["b"], out=out)

    def activity(self, g: GraphBuilder, read: Read, p: Names) -> tuple[str, int]:  # noqa: D102
        if self.place.shares:
            assert read.shared is not None
            z = g.op("Add", self._label_term(g, read, p["V"]), g.op("Unsqueeze", read.shared, g.ints(1)))
            return bounded(g, z, self.place.bound), 2
        z = g.op("Gemm", read.x, p["W"], p["b"])
        if not self.place.sees_label:
            return bounded(g, z, self.place.bound), 1
        V = g.op("Mul", p["V"], g.const(self.place.label_scale))
        if read.labels is not None:
            return bounded(g, g.op("Add", z, g.op("Gather", V, read.labels)), self.place.bound), 1
        apart = g.op("Reshape", z, g.op("Concat", g.ints(-1), g.op("Shape", V), axis=0))  # [N, C, H]
        y = bounded(g, g.op("Add", apart, V), self.place.bound)
        return g.op("Reshape", y, g.op("Shape", z)), 1

    def _label_term(self, g: GraphBuilder, read: Read, V: str) -> str:
        """Return ``value * V[label]`` [N or 1, M, H]."""
        if read.value is None:
            V = g.op("Mul", V, g.const(self.place.label_scale))
        term = g.op("Gather", V, read.labels) if read.labels else g.op("Unsqueeze", V, g.ints(0))
        return term if read.value is None else g.op("Mul", term, read.value)

    def gradients(self, g: GraphBuilder, read: Read, value: str, weight: str | None) -> dict[str, str]:  # noqa: D102
        if weight is None:
            dz = rows = value
        elif self.place.shares:  # the labels of a sample share x: their dz are summed before the product with it
            dz = g.op("Squeeze", g.op("MatMul", g.op("Unsqueeze", weight, g.ints(1)), value), g.ints(1))
            rows = g.op("Reshape", value, g.ints(-1, self.units))
        else:
            dz = rows = g.op("Mul", value, g.op("Reshape", weight, g.ints(-1, 1)))
        g.op("Identity", dz, out="dz")
        gradients = {"b": g.sum("dz", 0, out="grad.b")}
        if self.place.sees_label:
            assert weight is not None
            gradients["V"] = self._label_gradient(g, read, rows, weight)
        return gradients

    def _label_gradient(self, g: GraphBuilder, read: Read, rows: str, weight: str) -> str:
        assert read.labels is not None
        labels = g.op("Reshape", read.labels, g.ints(-1)) if self.place.shares else read.labels
        onehot = g.op("OneHot", labels, g.const(self.place.classes, np.int64), g.const([0.0, 1.0]))
        if self.place.shares:
            each = g.op("Unsqueeze", weight, g.ints(2))
            each = g.op("Mul", each, read.value) if read.value else each
            onehot = g.op("Mul", onehot, g.op("Reshape", each, g.ints(-1, 1)))
        scale = (
            1.0 if self.place.shares and read.value else self.place.label_scale
        )  # else the label's value holds the scale
        return g.op("Gemm", onehot, rows, out="grad.V", transA=1, alpha=scale)

    def tile_gradient(self, g: GraphBuilder, name: str) -> str:  # noqa: D102
        x, dz = g.input("x", ("R", "T")), g.input("dz", ("R", self.units))
        return g.op("Gemm", x, dz, out=f"grad.{name}", transA=1)

    def with_classes(  # noqa: D102
        self, before: Mapping[str, Array], more: int, rng: "np.random.Generator", *, overlay: bool
    ) -> dict[str, Array]:
        result = dict(before)
        if self.place.shares and overlay:  # the inputs under the new labels are gone
            result["W"] = before["W"][more:]
        if before["b"].shape != (self.units,):  # groups of the new classes, which no unit before them hears
            bound, units = 1.0 / math.sqrt(self.place.inputs), self.units - len(before["b"])
            W, b = (rng.uniform(-bound, bound, size).astype(np.float32) for size in ((self.place.inputs, units), units))
            heard = np.zeros((self.place.inputs - len(before["W"]), len(before["b"])), np.float32)
            result["W"] = np.concatenate([np.concatenate([before["W"], heard]), W], axis=1)
            result["b"] = np.concatenate([before["b"], b])
        if self.place.sees_label:  # of a label that nothing is known of: the others' mean, each unit's spread about it
            V = before["V"]
            drawn = V.mean(axis=0) + V.std(axis=0) * rng.standard_normal((more, V.shape[1]))
            result["V"] = np.concatenate([V, drawn.astype(np.float32)])
        return result

    def dz_dims(self) -> Dims:  # noqa: D102
        return ("N" if self.place.shares else "R", self.units)

    def torch(  # noqa: D102
        self,
        x: "Tensor",
        p: Mapping[str, "Tensor"],
        labels: "Tensor",
        value: "Tensor",
        tried: int,
        measured: "dict[str, Tensor] | None" = None,
    ) -> "Tensor":
        import torch

        x = x.flatten(1)
        z = (x.repeat_interleave(tried, 0) if self.place.shares else x) @ p["W"] + p["b"]
        if self.place.sees_label:
            scale = value.repeat_interleave(tried, 0) if self.place.shares else self.place.label_scale
            onehot = labels[:, None] == torch.arange(self.place.classes, device=labels.device)
            z = z + (onehot * scale) @ p["V"]  # a product, as an index's gradient does not repeat bit for bit
        return z.relu() if self.place.bound is None else z.clamp(0.0, self.place.bound)
