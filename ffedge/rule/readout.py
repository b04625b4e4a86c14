"""Class goodness without a label in the input: a linear readout ``g = y A`` of the activity, learnt with the layer.

Shape letters: as in `ffedge.rule.goodness`; A [H, C].
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ffedge.layers.base import Array, Names, Parameter
from ffedge.onnx.graph import GraphBuilder
from ffedge.rule.goodness import Goodness
from ffedge.seeds import Draw, generator

if TYPE_CHECKING:
    from torch import Tensor


class Readout(Goodness):
    """``y A``."""

    tries_labels: ClassVar[bool] = False

    def parameters(self) -> dict[str, Parameter]:  # noqa: D102
        return {"A": Parameter((self.layer.units, self.layer.place.classes), decays=True, goes_back=True)}

    def draw(self, seed: int) -> dict[str, Array]:  # noqa: D102
        rng = generator(seed, Draw.GOODNESS, self.layer.place.index)
        shape = self.parameters()["A"].shape
        return {"A": rng.standard_normal(shape, np.float32) * np.float32(1.0 / math.sqrt(shape[0]))}

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        return g.op("MatMul", y, p["A"])

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        return g.op("Mul", g.op("Gemm", dg, p["A"], transB=1), g.op("Sign", y)), None

    def gradients(self, g: GraphBuilder, y: str, dg: str) -> dict[str, str]:  # noqa: D102
        return {"A": g.op("Gemm", y, dg, transA=1, out="grad.A")}

    def with_classes(self, before: Mapping[str, Array], more: int) -> dict[str, Array]:  # noqa: D102
        A = before["A"]  # of a class that nothing is known of: the others' mean
        return {"A": np.concatenate([A, np.repeat(A.mean(axis=1, keepdims=True), more, axis=1)], axis=1)}

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        return y @ p["A"]
