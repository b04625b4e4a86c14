"""A kind of layer and a kind of goodness that ffedge does not have: a class each, and all of ffedge works with them.

LowRank    y = relu(x U W + b + value * V[label]), U [D, r], W [r, H]; its words are ``HxR``
Absolute   mean_h |y_h|
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ffedge.layers.base import LayerPlace, Parameter, Plain, bounded, uniform
from ffedge.rule.goodness import Goodness


@dataclass(frozen=True)
class LowRank(Plain):
    folds: ClassVar[bool] = False
    place: LayerPlace
    units: int
    rank: int

    @classmethod
    def made(cls, place, words):
        units, rank = map(int, words.split("x"))
        return cls(place, units, rank)

    @property
    def _first(self):
        return self.place.index == 0

    def parameters(self):
        own = {
            "U": Parameter((self.place.inputs, self.rank), decays=True),
            "W": Parameter((self.rank, self.units), decays=True),
        }
        own |= {"b": Parameter((self.units,))}
        return own | ({"V": Parameter((self.place.classes, self.units), decays=True)} if self.place.sees_label else {})

    def draw(self, seed):
        return uniform(self, self.rank, seed)

    def shared(self, g, x, p, out):
        return g.op("Gemm", g.op("MatMul", x, p["U"]), p["W"], p["b"], out=out)

    def activity(self, g, read, p):
        bound, scale = self.place.bound, g.const(self.place.label_scale)
        if self._first:
            V = g.op("Mul", p["V"], scale)
            term = g.op("Gather", V, read.labels) if read.labels else g.op("Unsqueeze", V, g.ints(0))
            return bounded(g, g.op("Add", term, g.op("Unsqueeze", read.shared, g.ints(1))), bound), 2
        z = g.op("Gemm", g.op("MatMul", read.x, p["U"]), p["W"], p["b"])
        if not self.place.sees_label:
            return bounded(g, z, bound), 1
        V = g.op("Mul", p["V"], scale)
        if read.labels is not None:
            return bounded(g, g.op("Add", z, g.op("Gather", V, read.labels)), bound), 1
        apart = g.op("Reshape", z, g.op("Concat", g.ints(-1), g.op("Shape", V), axis=0))
        return g.op("Reshape", bounded(g, g.op("Add", apart, V), bound), g.op("Shape", z)), 1

    def gradients(self, g, read, value, weight):
        g.input("x", ("N" if self._first else "R", self.place.inputs))
        U, W = g.input("U", (self.place.inputs, self.rank)), g.input("W", (self.rank, self.units))
        each = g.op("Reshape", weight, g.ints(-1, 1))
        if self._first:
            dz = g.op("Squeeze", g.op("MatMul", g.op("Unsqueeze", weight, g.ints(1)), value), g.ints(1))
            rows = g.op("Mul", g.op("Reshape", value, g.ints(-1, self.units)), each)
        else:
            dz = rows = g.op("Mul", value, each)
        g.op("Identity", dz, out="dz")
        back = g.op("Gemm", "dz", W, transB=1)
        gradients = {"b": g.sum("dz", 0, out="grad.b"), "U": g.op("Gemm", "x", back, transA=1, out="grad.U")}
        gradients["W"] = g.op("Gemm", g.op("MatMul", "x", U), "dz", transA=1, out="grad.W")
        if self.place.sees_label:
            labels = g.op("Reshape", read.labels, g.ints(-1))
            hot = g.op("OneHot", labels, g.const(self.place.classes, np.int64), g.const([0.0, 1.0]))
            gradients["V"] = g.op("Gemm", hot, rows, transA=1, alpha=self.place.label_scale, out="grad.V")
        return gradients

    def dz_dims(self):
        return ("N" if self._first else "R", self.units)

    def torch(self, x, p, labels, value, tried, measured=None):
        import torch.nn.functional as F

        z = (x.repeat_interleave(tried, 0) if self._first else x) @ p["U"] @ p["W"] + p["b"]
        if self.place.sees_label:
            z = z + self.place.label_scale * F.one_hot(labels, self.place.classes).float() @ p["V"]
        return z.relu() if self.place.bound is None else z.clamp(0.0, self.place.bound)


class Absolute(Goodness):
    """``mean_h |y_h|``."""

    def of(self, g, y, axis, p):
        return g.mean(y, axis, keep=True)

    def slope(self, g, y, dg, p):
        return g.op("Sign", y), g.op("Mul", dg, g.const(1.0 / self.layer.units))

    def torch(self, y, p):
        return y.abs().mean(1)
