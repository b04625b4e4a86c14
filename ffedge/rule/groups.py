"""Class goodness without a label in the input: the units fall into C groups, one for each class, side by side.

The goodness of class c is the mean of y^2 over its group, so that one pass serves all classes. Where C does not divide
the channels, the first groups have one more. A channel is a unit, or of a convolution all places of a feature map.

Shape letters: as in `ffedge.rule.goodness`; K channels of P places each, H = K * P; U units of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from ffedge.layers.base import Array, Names, dots
from ffedge.onnx.graph import GraphBuilder
from ffedge.rule.goodness import Goodness

if TYPE_CHECKING:
    from torch import Tensor


def pooled_squares(y: "Tensor", *sides: int) -> "Tensor":
    """Return the squares [N, K * cells] of an activity by torch, of pictures their means over cells of given sides."""
    if not sides:
        return y.float().square()
    from ffedge.rule.squares import PooledSquares

    means: Tensor = PooledSquares.apply(y, sides)  # type: ignore[no-untyped-call]
    return means.flatten(1).float()


def group_sizes(channels: int, classes: int) -> list[int]:
    """Return the channels of each group."""
    return [channels // classes + (c < channels % classes) for c in range(classes)]


class Block(NamedTuple):
    """Groups of one size, side by side.

    Attributes
    ----------
    start, stop : its squares among all of a sample's.
    groups : how many groups it holds.
    """

    start: int
    stop: int
    groups: int

    @property
    def size(self) -> int:
        """Squares of a group."""
        return (self.stop - self.start) // self.groups


def blocks_of(channels: int, classes: int, squares: int = 1) -> list[Block]:
    """Return the blocks, one or two, of groups of channels, each of so many squares."""
    sizes = group_sizes(channels, classes)
    result, start = [], 0
    for size in sorted(set(sizes), reverse=True):  # the first groups may have one channel more
        count = sizes.count(size)
        result.append(Block(start, start + count * size * squares, count))
        start = result[-1].stop
    return result


@dataclass(frozen=True)
class Groups(Goodness):
    """``mean_{h in group c} y_h^2``; ValueError where there are fewer channels than classes."""

    tries_labels: ClassVar[bool] = False
    steep: ClassVar[bool] = True
    widens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Hold to a group for each class."""
        if self.layer.channels < self.layer.place.classes:
            what = f"{self.layer.channels} for {self.layer.place.classes} classes in layer {self.layer.place.index}"
            raise ValueError(
                f"`class_goodness='{self.layer.place.goodness}'` needs a unit for each class, got {what}. Use wider "
                "layers, or `class_goodness='readout'`"
            )

    @property
    def sizes(self) -> list[int]:
        """Units of each group."""
        channels = self.layer.channels
        return [self.layer.units // channels * size for size in group_sizes(channels, self.layer.place.classes)]

    @property
    def _even(self) -> bool:
        return self.layer.channels % self.layer.place.classes == 0

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        parts, classes = self.layer.channels, self.layer.place.classes
        if self._places > 1:
            squares = g.op("Reshape", dots(g, y, y, parts, self._places), g.ints(-1, parts))
            squares = g.op("Mul", squares, g.const(1.0 / self._places))
        else:
            squares = g.op("Mul", y, y)
        if self._even:
            return g.mean(g.op("Reshape", squares, g.ints(-1, classes, parts // classes)), 2)
        return g.op("MatMul", squares, self._stored(g))

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        if self._even:
            parts, each = self.layer.place.classes, g.op("Mul", dg, g.const(2.0 / self.sizes[0]))
        else:
            parts = self.layer.channels
            each = g.op("Gemm", dg, self._stored(g), transB=1, alpha=2.0 / self._places)
        apart = g.op("Reshape", y, g.ints(-1, parts, self.layer.units // parts))
        return g.op(
            "Reshape", g.op("Mul", apart, g.op("Unsqueeze", each, g.ints(2))), g.ints(-1, self.layer.units)
        ), None

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int) -> tuple[str, float]:  # noqa: D102
        good = good or self.of(g, y, axis, {})
        if self._even:
            return g.sum(good, 1, keep=True), float(self.sizes[0])
        return g.sum(g.op("Mul", good, g.const(self.sizes)), 1, keep=True), 1.0

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        import torch

        squares, blocks = pooled_squares(y, *y.shape[2:]), blocks_of(y.shape[1], self.layer.place.classes)
        means = [squares[:, b.start : b.stop].reshape(len(y), b.groups, b.size).mean(2) for b in blocks]
        return means[0] if len(means) == 1 else torch.cat(means, 1)

    def matrix(self, arrays: Mapping[str, Array]) -> Array | None:  # noqa: D102
        return np.repeat(self._shares(), self._places, axis=0) / np.float32(self._places)

    @property
    def _places(self) -> int:
        return self.layer.units // self.layer.channels

    def _stored(self, g: GraphBuilder) -> str:
        return g.const(self._shares(), name=f"const.groups.{self.layer.channels}")

    def _shares(self) -> Array:
        """Return [K, C], by which channels' squares are multiplied: 1 / their number within a group, else 0."""
        channels, counts = self.layer.channels, np.array(self.sizes) // self._places
        shares = np.zeros((channels, len(counts)), np.float32)
        shares[np.arange(channels), np.repeat(np.arange(len(counts)), counts)] = np.repeat(1 / counts, counts)
        return shares
