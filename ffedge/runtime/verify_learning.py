"""Holds a kernel that was cut out of a file's learning step against what may run, as `ffedge.runtime.verify` does."""

import math
from collections.abc import Mapping, Sequence

from ffedge.runtime.proto import Node, Tensor
from ffedge.runtime.verify import OPERATORS, Cost, Entry, Shape, Walk, _axis
from ffedge.spec import ITEM_BYTES

MOST_NODES = 128
SPARE_BYTES = 1 << 29
SPARE_WORK = 1 << 33


class KernelWalk(Walk):
    """The shapes of all values of a kernel, node by node; ValueError where a node does not fit its inputs."""

    def __init__(self, nodes: Sequence[Node], constants: Mapping[str, Tensor], inputs: Mapping[str, Shape]) -> None:
        if len(nodes) > MOST_NODES:
            raise ValueError(f"a kernel must have at most {MOST_NODES} nodes, got {len(nodes)}")
        self._shapes = {name: tensor.shape for name, tensor in constants.items()} | dict(inputs)
        self._ints = {name: tensor.ints for name, tensor in constants.items() if tensor.ints is not None}
        self._bytes = self._work = 0
        for place, node in enumerate(nodes):
            try:
                self._node(node)
            except (ValueError, IndexError) as error:
                raise ValueError(f"node {place}, {node.kind!r}: {error}") from error

    def shape(self, name: str) -> Shape:
        """Return the shape of a value."""
        return self._shapes[name]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every value."""
        return {name: ITEM_BYTES * math.prod(shape) for name, shape in self._shapes.items()}

    def _entries(self, kind: str) -> tuple[Entry, ...]:
        return LEARNING.get(kind) or super()._entries(kind)

    def _all(self, node: Node) -> Shape:
        if node.attributes["keepdims"] != (0,):
            raise ValueError(f"has keepdims {node.attributes['keepdims']}")
        return ()

    def _gather(self, node: Node) -> Shape:
        data, places = self._shape(node), self._shape(node, 1)
        if not data:
            raise ValueError("takes rows out of one number")
        return (*places, *data[1:])

    def _one_hot(self, node: Node) -> Shape:
        depth = self._ints.get(node.inputs[1])
        if depth is None or len(depth) != 1 or self._shape(node, 2) != (2,):
            raise ValueError(f"reads {node.inputs[1]!r}, which must be one known whole number")
        return (*self._shape(node), depth[0])

    def _soft(self, node: Node) -> Shape:
        _axis(node.attributes["axis"][0], len(self._shape(node)))
        return self._shape(node)

    def _matrices(self, node: Node) -> Shape:
        """Multiply stacks of matrices [..., a, b] and [..., b, c] of which there are as many."""
        a, b = self._shape(node), self._shape(node, 1)
        if len(a) < 2 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
            raise ValueError(f"multiplies {list(a)} with {list(b)}")
        self._work += math.prod(a) * b[-1]
        return (*a[:-1], b[-1])

    def _turned(self, node: Node) -> Shape:
        """Multiply two matrices of which the first is turned: [a, b] and [a, c]."""
        (inner, rows), (again, columns) = self._shape(node), self._shape(node, 1)
        if inner != again or node.attributes.get("transA") != (1,):
            raise ValueError(f"multiplies {[rows, inner]} with {[again, columns]}")
        self._work += rows * inner * columns
        return (rows, columns)


LEARNING: dict[str, tuple[Entry, ...]] = {
    **{kind: ((1, set(), Walk._same),) for kind in ("Neg", "Sigmoid", "Softplus")},
    **{kind: ((1, {"axis"}, KernelWalk._soft),) for kind in ("LogSoftmax", "Softmax")},
    "Gather": ((2, set(), KernelWalk._gather),),
    "MatMul": ((2, set(), KernelWalk._matrices),),
    "OneHot": ((3, set(), KernelWalk._one_hot),),
    "ReduceSum": (OPERATORS["ReduceSum"], (1, {"keepdims"}, KernelWalk._all)),
    "Gemm": (
        OPERATORS["Gemm"],
        (2, {"transA"}, KernelWalk._turned),
        (2, {"transA", "alpha"}, KernelWalk._turned),
    ),
}


def affordable(cost: Cost, n_bytes: int) -> bool:
    """Say whether a kernel of a file of some bytes may cost so much: 512 MiB, and 8 bytes for each byte of the file."""
    return cost.n_bytes <= SPARE_BYTES + 8 * n_bytes and cost.work <= SPARE_WORK + 1024 * n_bytes
