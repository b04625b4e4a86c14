"""Class goodness without a label in the input: a linear readout ``g = f A`` of the activity, learnt with the layer.

The features f are the activity itself, or of a convolution its means over a grid of about 4 x 4 squares (`grid`).

Shape letters: as in `ffedge.rule.goodness`; F features, A [F, C].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ffedge.layers.base import Array, Names, Parameter, Picture
from ffedge.onnx.graph import FLOAT, GraphBuilder
from ffedge.rule.goodness import Goodness
from ffedge.seeds import Draw, generator

if TYPE_CHECKING:
    from torch import Tensor


CELLS = 4  # a side


class Readout(Goodness):
    """``f A``."""

    tries_labels: ClassVar[bool] = False
    linear: ClassVar[bool] = True

    def parameters(self) -> dict[str, Parameter]:  # noqa: D102
        return {"A": Parameter((self._features, self.layer.place.classes), decays=True, goes_back=True)}

    def draw(self, seed: int) -> dict[str, Array]:  # noqa: D102
        rng = generator(seed, Draw.GOODNESS, self.layer.place.index)
        shape = self.parameters()["A"].shape
        return {"A": rng.standard_normal(shape, np.float32) * np.float32(1.0 / math.sqrt(shape[0]))}

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        return g.op("MatMul", self._pooled(g, y), p["A"])

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        df, grid = g.op("Gemm", dg, p["A"], transB=1), self._grid
        if grid is None:
            return g.op("Mul", df, g.op("Sign", y)), None
        active = g.op("Cast", g.op("Less", g.const(0.0), y), to=FLOAT)  # a third of the time of Sign
        return grid.spread(g, df, active), None

    def gradients(self, g: GraphBuilder, y: str, dg: str) -> dict[str, str]:  # noqa: D102
        return {"A": g.op("Gemm", self._pooled(g, y), dg, transA=1, out="grad.A")}

    def with_classes(self, before: Mapping[str, Array], more: int) -> dict[str, Array]:  # noqa: D102
        A = before["A"]  # of a class that nothing is known of: the others' mean
        return {"A": np.concatenate([A, np.repeat(A.mean(axis=1, keepdims=True), more, axis=1)], axis=1)}

    def matrix(self, arrays: Mapping[str, Array]) -> Array | None:  # noqa: D102
        return arrays["A"]

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        import torch.nn.functional as F

        if self._grid is not None:
            means = F.avg_pool2d(y, self._grid.squares)
            A = p["A"].view(self.layer.channels, -1, self.layer.place.classes)
            # the channels last, as they lie in memory: else the gradient is turned at each step
            return means.permute(0, 2, 3, 1).flatten(1).float() @ A.transpose(0, 1).flatten(0, 1)
        return y.float() @ p["A"]

    @property
    def _grid(self) -> "Grid | None":
        picture = self.layer.activity_picture
        return None if picture is None else Grid(picture)

    @property
    def _features(self) -> int:
        return self.layer.units if self._grid is None else self._grid.features

    def _pooled(self, g: GraphBuilder, y: str) -> str:
        return y if self._grid is None else self._grid.pooled(g, y)


@dataclass(frozen=True)
class Grid:
    """The squares of a picture whose means are read: a side in four or a little more; what is left over is not read."""

    picture: Picture

    @property
    def squares(self) -> tuple[int, int]:
        """Height and width of a square."""
        return max(1, self.picture[1] // CELLS), max(1, self.picture[2] // CELLS)

    @property
    def _cells(self) -> tuple[int, int]:
        return self.picture[1] // self.squares[0], self.picture[2] // self.squares[1]

    @property
    def features(self) -> int:
        """Means of all channels."""
        return self.picture[0] * math.prod(self._cells)

    def pooled(self, g: GraphBuilder, y: str) -> str:
        """Return the means [N, F] of an activity [N, H]."""
        sides = list(self.squares)
        means = g.op("AveragePool", g.op("Reshape", y, g.ints(-1, *self.picture)), kernel_shape=sides, strides=sides)
        return g.op("Reshape", means, g.ints(-1, self.features))

    def spread(self, g: GraphBuilder, df: str, factor: str) -> str:
        """Return each place's share of what comes to the means [N, F], times a factor [N, H]."""
        (channels, height, width), (rows, columns), (high, wide) = self.picture, self._cells, self.squares
        across = np.zeros((columns, width))  # each mean's share of a row's places; what is left over has none
        across[np.arange(columns * wide) // wide, np.arange(columns * wide)] = 1.0 / (high * wide)
        stored = g.const(across, name=f"const.across.{wide}.{width}")
        each = g.op("MatMul", g.op("Reshape", df, g.ints(-1, columns)), stored)
        if rows * high < height:
            factor = g.op("Reshape", factor, g.ints(-1, channels, height, width))
            factor = g.op("Slice", factor, g.ints(0), g.ints(rows * high), g.ints(2))
        apart = g.op("Reshape", factor, g.ints(-1, high, width))
        whole = g.op("Mul", apart, g.op("Reshape", each, g.ints(-1, 1, width)))
        if rows * high < height:
            whole = g.op("Reshape", whole, g.ints(-1, channels, rows * high, width))
            whole = g.op("Pad", whole, g.ints(0, 0, 0, 0, 0, 0, height - rows * high, 0))
        return g.op("Reshape", whole, g.ints(-1, math.prod(self.picture)))
