"""Holds a model file's graph against what may run: known operators, and sizes worked out before anything is allocated.

Shapes follow from the file alone, so a graph is walked with as many samples as go through at once. What the walk adds
up bounds the memory and the work of a run, in whatever order onnxruntime takes the nodes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ffedge.network import InputFacts
from ffedge.runtime.proto import ModelParts, Node

OPSET = 17
FLOAT = 1
MAX_ROWS = 640
SPARE_BYTES = 1 << 26
SPARE_WORK = 1 << 31
NODES_A_LAYER = 40
ONE = ((), (1,))  # shapes of a single number
Shape = tuple[int, ...]


class Cost(NamedTuple):
    """What a run makes: bytes of all values, and multiply-adds of all products."""

    n_bytes: int
    work: int


def rows_at_once(parts: ModelParts, facts: InputFacts, layers: int) -> int:
    """Return how many samples go through the graph together: 640 rows (samples times classes), or less of large ones.

    A small file's run stays within 64 MiB; beyond that, each byte of the file allows 8.

    Raises
    ------
    ValueError
        The graph holds an operator, an attribute or a shape that no graph of ffedge has, or one sample is too large.
    """
    if parts.opset != OPSET:
        raise ValueError(f"its operator set must be {OPSET}, got {parts.opset}")
    if len(parts.nodes) > (most := NODES_A_LAYER * (layers + 1)):
        raise ValueError(f"a graph of {layers} layers must have at most {most} nodes, got {len(parts.nodes)}")
    rows = max(1, MAX_ROWS // facts.n_classes)
    while True:
        cost = Walk(parts, (rows, *facts.shape)).cost
        if cost.n_bytes <= SPARE_BYTES + 8 * parts.n_bytes and cost.work <= SPARE_WORK + 1024 * parts.n_bytes:
            return rows
        if rows == 1:
            raise ValueError(f"one sample makes {cost.n_bytes >> 20} MiB and {cost.work / 1e9:.1f} G multiply-adds")
        rows //= 2


class Walk:
    """The shapes of all values, node by node; ValueError where a node does not fit its inputs."""

    def __init__(self, parts: ModelParts, input_shape: Shape) -> None:
        self._shapes = {name: tensor.shape for name, tensor in parts.tensors.items()}
        self._ints = {name: tensor.ints for name, tensor in parts.tensors.items() if tensor.ints is not None}
        if len(parts.inputs) != 1 or parts.inputs[0] in self._shapes:
            raise ValueError("it must have one input")
        self._shapes[parts.inputs[0]] = input_shape
        self._bytes, self._work = 4 * math.prod(input_shape), 0
        for place, node in enumerate(parts.nodes):
            try:
                self._node(node)
            except (ValueError, IndexError) as error:
                raise ValueError(f"node {place}, {node.kind!r}: {error}") from error

    @property
    def cost(self) -> Cost:
        """What the walk has added up."""
        return Cost(self._bytes, self._work)

    def _node(self, node: Node) -> None:
        rule = self._rule(node)
        if unknown := [name for name in node.inputs if name not in self._shapes]:
            raise ValueError(f"reads {unknown[0]!r} before it is made")
        made = rule(self, node)
        made = made if isinstance(made, list) else [made]
        if len(made) != len(node.outputs) or len(set(node.outputs)) != len(made):
            raise ValueError(f"has {len(node.outputs)} outputs")
        for name, shape in zip(node.outputs, made, strict=True):
            if name in self._shapes or not name:
                raise ValueError(f"makes {name!r} again")
            if any(size < 1 for size in shape) or len(shape) > 8:
                raise ValueError(f"makes a value of shape {list(shape)}")
            self._shapes[name] = shape
            self._bytes += math.prod(shape) * (8 if node.kind in ("TopK", "ArgMax", "Shape") else 4)

    def _entries(self, kind: str) -> "tuple[Entry, ...]":
        return (OPERATORS[kind],) if kind in OPERATORS else ()

    def _rule(self, node: Node) -> "Rule":
        """Return the rule for an operator that is used as ffedge uses it."""
        given, entries = {*node.attributes, *node.reals}, self._entries(node.kind)
        if not entries:
            raise ValueError("no graph of ffedge has this operator")
        for count, attributes, rule in entries:
            if given - MAY_HAVE.get(node.kind, set()) == attributes and (not count or len(node.inputs) == count):
                return rule
        raise ValueError(f"has {len(node.inputs)} inputs and the attributes {sorted(given)}")

    def _shape(self, node: Node, place: int = 0) -> Shape:
        return self._shapes[node.inputs[place]]

    def _known(self, node: Node, place: int) -> Shape:
        """Return the whole numbers that an input holds, which must be known before the run."""
        if node.inputs[place] not in self._ints or len(self._shape(node, place)) != 1:
            raise ValueError(f"reads {node.inputs[place]!r}, which must be a few known whole numbers")
        return self._ints[node.inputs[place]]

    def _same(self, node: Node) -> Shape:
        return self._shape(node)

    def _clip(self, node: Node) -> Shape:
        if self._shape(node, 1) or self._shape(node, 2):
            raise ValueError("is cut at more than one number")
        return self._shape(node)

    def _cast(self, node: Node) -> Shape:
        if node.attributes["to"] != (FLOAT,):
            raise ValueError(f"casts to type {node.attributes['to']}")
        return self._shape(node)

    def _both(self, node: Node) -> Shape:
        return _broadcast(self._shape(node), self._shape(node, 1))

    def _sizes(self, node: Node) -> Shape:
        self._ints[node.outputs[0]] = self._shape(node)
        return (len(self._shape(node)),)

    def _concat(self, node: Node) -> Shape:
        shapes = [self._shape(node, i) for i in range(len(node.inputs))]
        axis = _axis(node.attributes["axis"][0], len(shapes[0]))
        rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
        if len(rest) != 1 or len({len(shape) for shape in shapes}) != 1:
            raise ValueError(f"joins the shapes {shapes[0]} and {shapes[-1]}")
        if all(name in self._ints for name in node.inputs) and len(shapes[0]) == 1:
            self._ints[node.outputs[0]] = tuple(number for name in node.inputs for number in self._ints[name])
        return _with(shapes[0], axis, sum(shape[axis] for shape in shapes))

    def _reshape(self, node: Node) -> Shape:
        shape, wanted = self._shape(node), self._known(node, 1)
        sizes = [shape[i] if size == 0 else size for i, size in enumerate(wanted)]
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = math.prod(shape) // max(1, -math.prod(sizes))
        if math.prod(sizes) != math.prod(shape) or min(sizes, default=1) < 1:
            raise ValueError(f"reshapes {list(shape)} to {list(wanted)}")
        return tuple(sizes)

    def _unsqueeze(self, node: Node) -> Shape:
        shape, axes = list(self._shape(node)), self._known(node, 1)
        for axis in sorted(_axes(axes, len(shape) + len(axes))):
            shape.insert(axis, 1)
        return tuple(shape)

    def _squeeze(self, node: Node) -> Shape:
        shape = self._shape(node)
        axes = _axes(self._known(node, 1), len(shape))
        if any(shape[axis] != 1 for axis in axes):
            raise ValueError(f"takes the axes {axes} out of {list(shape)}")
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def _slice(self, node: Node) -> Shape:
        shape = self._shape(node)
        starts, ends, axes = (self._known(node, place) for place in (1, 2, 3))
        if len(starts) != 1 or len(ends) != 1:
            raise ValueError(f"cuts at {starts} and {ends}")
        axis = _axes(axes, len(shape))[0]
        return _with(shape, axis, len(range(shape[axis])[starts[0] : ends[0]]))

    def _mean(self, node: Node) -> Shape:
        return self._reduced(node, node.attributes["axes"])

    def _sum(self, node: Node) -> Shape:
        return self._reduced(node, self._known(node, 1))

    def _largest(self, node: Node) -> Shape:
        return self._reduced(node, node.attributes["axis"])

    def _reduced(self, node: Node, axes: Shape) -> Shape:
        shape, gone = self._shape(node), _axes(axes, len(self._shape(node)))
        if node.attributes["keepdims"] == (1,):
            return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
        if node.attributes["keepdims"] != (0,):
            raise ValueError(f"has keepdims {node.attributes['keepdims']}")
        return tuple(size for axis, size in enumerate(shape) if axis not in gone)

    def _top(self, node: Node) -> list[Shape]:
        shape, count = self._shape(node), self._known(node, 1)
        axis = _axis(node.attributes["axis"][0], len(shape))
        if len(count) != 1 or not 1 <= count[0] <= shape[axis]:
            raise ValueError(f"takes the best {count} of {list(shape)}")
        return [_with(shape, axis, count[0])] * 2

    def _product(self, node: Node) -> Shape:
        (rows, inner), (again, columns) = self._shape(node), self._shape(node, 1)
        shape = (rows, columns)
        if inner != again or _broadcast(shape, self._shape(node, 2)) != shape:
            raise ValueError(f"multiplies {[rows, inner]} with {[again, columns]}")
        self._work += rows * inner * columns
        return shape

    def _matrix_product(self, node: Node) -> Shape:
        """Work out a product of rows with one matrix, or with one column without an axis of its own."""
        (*rows, inner), (again, *columns) = self._shape(node), self._shape(node, 1)
        if inner != again or len(columns) > 1:
            raise ValueError(f"multiplies {[*rows, inner]} with {[again, *columns]}")
        self._work += math.prod((*rows, inner, *columns))
        return (*rows, *columns)

    def _gathered(self, node: Node) -> Shape:
        shape, places = self._shape(node), self._shape(node, 1)
        (batch,) = node.attributes.get("batch_dims", (0,))
        depth = batch + places[-1]
        if not 0 <= batch < len(places) or shape[:batch] != places[:batch] or depth > len(shape):
            raise ValueError(f"takes places {list(places)} out of {list(shape)} behind {batch} axes")
        return places[:-1] + shape[depth:]

    def _scattered(self, node: Node) -> Shape:
        shape, places, values = (self._shape(node, place) for place in range(3))
        _axis(node.attributes["axis"][0], len(shape))
        if places != values or len(places) != len(shape) or any(map(int.__gt__, places, shape)):
            raise ValueError(f"puts {list(values)} at places {list(places)} of {list(shape)}")
        return shape

    def _rescaled(self, node: Node) -> Shape:
        """Work out a change to or from whole numbers: one scale for all, or one for each place of an axis."""
        shape, scales, zeros = (self._shape(node, place) for place in range(3))
        axis = _axis(node.attributes.get("axis", (1,))[0], len(shape)) if scales not in ONE else 0
        if not (scales in ONE and zeros in ONE) and not (scales == zeros == shape[axis : axis + 1]):
            raise ValueError(f"scales {list(shape)} by {list(scales)} and {list(zeros)}")
        return shape


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    if any(x != y and 1 not in (x, y) for x, y in pairs):
        raise ValueError(f"joins the shapes {list(a)} and {list(b)}")
    return tuple(map(max, (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"names axis {axis} of {rank}")
    return axis % rank


def _axes(axes: Shape, rank: int) -> Shape:
    found = tuple(_axis(axis, rank) for axis in axes)
    if not found or len(set(found)) != len(found):
        raise ValueError(f"names the axes {list(axes)}")
    return found


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


Rule = Callable[[Any, Node], Shape | list[Shape]]  # of the walk and a node
Entry = tuple[int, set[str], Rule]  # count of inputs (0: any), names of attributes, rule for the shapes of its outputs
OPERATORS: dict[str, Entry] = {
    **{kind: (2, set(), Walk._both) for kind in ("Add", "Div", "Mul", "Sub")},
    **{kind: (1, set(), Walk._same) for kind in ("Identity", "Relu", "Sqrt")},
    "ArgMax": (1, {"axis", "keepdims"}, Walk._largest),
    "Cast": (1, {"to"}, Walk._cast),
    "Clip": (3, set(), Walk._clip),
    "Concat": (0, {"axis"}, Walk._concat),
    **{kind: (3, set(), Walk._rescaled) for kind in ("DequantizeLinear", "QuantizeLinear")},
    "GatherND": (2, set(), Walk._gathered),
    "Gemm": (3, set(), Walk._product),
    "GreaterOrEqual": (2, set(), Walk._both),
    "MatMul": (2, set(), Walk._matrix_product),
    "ReduceMean": (1, {"axes", "keepdims"}, Walk._mean),
    "ReduceMin": (1, {"axes", "keepdims"}, Walk._mean),
    "ReduceSum": (2, {"keepdims"}, Walk._sum),
    "Reshape": (2, set(), Walk._reshape),
    "ScatterElements": (3, {"axis"}, Walk._scattered),
    "Shape": (1, set(), Walk._sizes),
    "Slice": (4, set(), Walk._slice),
    "Squeeze": (2, set(), Walk._squeeze),
    "TopK": (2, {"axis"}, Walk._top),
    "Unsqueeze": (2, set(), Walk._unsqueeze),
}
MAY_HAVE = {"DequantizeLinear": {"axis"}, "GatherND": {"batch_dims"}}
