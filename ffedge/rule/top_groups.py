"""Class goodness by the strongest quarter of each class's group: ``mean of the largest quarter of its squares``.

The squares of a group are those of its units, or of its channels their means over a grid of about 4 x 4 squares
(`ffedge.rule.readout.Grid`). Where many units of a group are at rest for a class, the others alone tell it.

Shape letters: as in `ffedge.rule.goodness`; S squares of a sample, Q of a group.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ffedge.layers.base import Array, Names
from ffedge.onnx.graph import FLOAT, GraphBuilder
from ffedge.rule.goodness import Goodness
from ffedge.rule.groups import Block, Groups, blocks_of, pooled_squares
from ffedge.rule.readout import Grid

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 4  # one of so many


@dataclass(frozen=True)
class TopGroups(Groups):
    """``mean_{the largest ceil(Q / 4) of group c} q``; ValueError where there are fewer channels than classes.

    Squares that are level with the last one taken share its gradient.
    """

    folds: ClassVar[bool] = False

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        each = [g.mean(self._top(g, block, squares), 2) for block, squares in self._blocks(g, y)]
        return each[0] if len(each) == 1 else g.op("Concat", *each, axis=1)

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        each, first = [], 0
        for block, squares in self._blocks(g, y):
            last = g.op("ReduceMin", self._top(g, block, squares), axes=[2], keepdims=1)
            above, level = (g.op("Cast", g.op(kind, last, squares), to=FLOAT) for kind in ("Less", "Equal"))
            left = g.op("Sub", g.const(_taken(block)), g.sum(above, 2, keep=True))
            shares = g.op("Add", above, g.op("Mul", level, g.op("Div", left, g.sum(level, 2, keep=True))))
            part = dg
            if block.groups < self.layer.place.classes:
                part = g.op("Slice", dg, g.ints(first), g.ints(first + block.groups), g.ints(1))
            part = g.op("Mul", g.op("Unsqueeze", part, g.ints(2)), g.const(2.0 / _taken(block)))
            each.append(g.op("Reshape", g.op("Mul", shares, part), g.ints(-1, block.stop - block.start)))
            first += block.groups
        dq = each[0] if len(each) == 1 else g.op("Concat", *each, axis=1)
        return (g.op("Mul", dq, y) if self._grid is None else self._grid.spread(g, dq, y)), None

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int) -> tuple[str, float]:  # noqa: D102
        return Goodness.square_sum(self, g, y, good, axis)

    def matrix(self, arrays: Mapping[str, Array]) -> Array | None:  # noqa: D102
        return None

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        import torch

        squares, each = pooled_squares(y, *(self._grid.squares if self._grid else ())), []
        for block in self._sizes():
            part = squares[:, block.start : block.stop].reshape(len(y), block.groups, -1)
            last = part.detach().topk(_taken(block), 2, sorted=False).values.amin(2, keepdim=True)
            above, level = part > last, part == last
            shares = above + level * ((_taken(block) - above.sum(2, keepdim=True)) / level.sum(2, keepdim=True))
            each.append((part * shares).sum(2) / _taken(block))
        return torch.cat(each, 1)

    @property
    def _grid(self) -> Grid | None:
        picture = self.layer.activity_picture
        return None if picture is None else Grid(picture)

    def _sizes(self) -> list[Block]:
        squares = 1 if self._grid is None else self._grid.features // self.layer.channels  # of a channel
        return blocks_of(self.layer.channels, self.layer.place.classes, squares)

    def _blocks(self, g: GraphBuilder, y: str) -> Iterator[tuple[Block, str]]:
        """Yield each block and its squares [N, groups, Q]."""
        squares, blocks = g.op("Mul", y, y), self._sizes()
        if self._grid is not None:
            squares = self._grid.pooled(g, squares)
        for block in blocks:
            part = squares
            if len(blocks) > 1:
                part = g.op("Slice", squares, g.ints(block.start), g.ints(block.stop), g.ints(1))
            yield block, g.op("Reshape", part, g.ints(-1, block.groups, block.size))

    def _top(self, g: GraphBuilder, block: Block, squares: str) -> str:
        """Return the largest squares of each group: [N, groups, taken]."""
        names = f"{squares}.top", f"{squares}.places"
        return g.ops("TopK", [squares, g.ints(_taken(block))], names, axis=2)[0]


def _taken(block: Block) -> int:
    """Return how many squares are taken of each group."""
    return -(-block.size // SHARE)
