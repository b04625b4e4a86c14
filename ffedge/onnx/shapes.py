"""The shapes of a graph's values, worked out before anything is allocated: what a run takes in memory and in work.

Shapes follow from the graph alone, so it is walked for given sizes of its inputs. Operators and attributes that no
graph of ffedge has are refused on the way; of a stranger's graph (`ffedge.model.form`) nothing else runs.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ffedge.onnx.graph import FLOAT, Graph, Node

ONE = ((), (1,))  # shapes of a single number
WIDE = ("TopK", "ArgMax", "Shape")  # make int64
TRUTH = ("Equal", "GreaterOrEqual", "Less")  # make bool
NARROW = ("Cast", *TRUTH)  # make float32 or truth of doubles, too
Shape = tuple[int, ...]


class Cost(NamedTuple):
    """What a run makes: bytes of all values, and multiply-adds of all products."""

    n_bytes: int
    work: int


class Walk:
    """The shapes of all values, node by node.

    Parameters
    ----------
    shapes : of inputs and stored arrays, by name.
    ints : the values of stored int64 of a few numbers, by name.
    doubles : names of the inputs and stored arrays that are float64.

    Attributes
    ----------
    sizes : bytes of every value that a node makes.

    Raises
    ------
    ValueError
        A node does not fit its inputs, or is none that ffedge uses.
    """

    def __init__(
        self, nodes: Sequence[Node], shapes: Mapping[str, Shape], ints: Mapping[str, Shape], doubles: Iterable[str] = ()
    ) -> None:
        self._shapes, self._ints, self._doubles = dict(shapes), dict(ints), set(doubles)
        self.sizes: dict[str, int] = {}
        self._work = 0
        for place, node in enumerate(nodes):
            try:
                self._node(node)
            except (ValueError, IndexError, KeyError, TypeError) as error:
                raise ValueError(f"node {place}, {node.kind!r}: {error}") from error

    @property
    def cost(self) -> Cost:
        """What the walk has added up."""
        return Cost(sum(self.sizes.values()), self._work)

    def shape(self, name: str) -> Shape:
        """Return the shape of a value."""
        return self._shapes[name]

    def _node(self, node: Node) -> None:
        rule = _rule(node)
        if missing := [name for name in node.inputs if name not in self._shapes]:
            raise ValueError(f"reads {missing[0]!r} before it is made")
        result = rule(self, node)
        shapes = result if isinstance(result, list) else [result]
        if len(shapes) != len(node.outputs) or len(set(node.outputs)) != len(shapes):
            raise ValueError(f"has {len(node.outputs)} outputs")
        for name, shape in zip(node.outputs, shapes, strict=True):
            if name in self._shapes or not name:
                raise ValueError(f"makes {name!r} again")
            if any(size < 1 for size in shape) or len(shape) > 8:
                raise ValueError(f"makes a value of shape {list(shape)}")
            self._shapes[name] = shape
            if node.kind not in NARROW and not self._doubles.isdisjoint(node.inputs):
                self._doubles.add(name)
            self.sizes[name] = math.prod(shape) * (8 if node.kind in WIDE or name in self._doubles else 4)

    def _shape(self, node: Node, place: int = 0) -> Shape:
        return self._shapes[node.inputs[place]]

    def _known(self, node: Node, place: int) -> Shape:
        """Return the whole numbers that an input holds, which must be known before the run."""
        if node.inputs[place] not in self._ints or len(self._shape(node, place)) != 1:
            raise ValueError(f"reads {node.inputs[place]!r}, which must be a few known whole numbers")
        return self._ints[node.inputs[place]]

    def _clip(self, node: Node) -> Shape:
        if self._shape(node, 1) or self._shape(node, 2):
            raise ValueError("is cut at more than one number")
        return self._shape(node)

    def _cast(self, node: Node) -> Shape:
        if node.attributes["to"] != FLOAT:
            raise ValueError(f"casts to type {node.attributes['to']}")
        return self._shape(node)

    def _together(self, node: Node) -> Shape:
        return functools.reduce(_broadcast, map(self.shape, node.inputs))

    def _sizes(self, node: Node) -> Shape:
        self._ints[node.outputs[0]] = self._shape(node)
        return (len(self._shape(node)),)

    def _concat(self, node: Node) -> Shape:
        shapes = [self.shape(name) for name in node.inputs]
        axis = _axis(_int(node, "axis"), len(shapes[0]))
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
        steps = self._known(node, 4) if len(node.inputs) == 5 else (1,) * len(axes)
        if not len(starts) == len(ends) == len(axes) == len(steps) or min(steps) < 1:
            raise ValueError(f"cuts at {starts} and {ends}")
        for axis, start, end, step in zip(_axes(axes, len(shape)), starts, ends, steps, strict=True):
            shape = _with(shape, axis, len(range(shape[axis])[start:end:step]))
        return shape

    def _mean(self, node: Node) -> Shape:
        return self._reduced(node, _ints(node, "axes"))

    def _sum(self, node: Node) -> Shape:
        if len(node.inputs) == 1:
            return self._reduced(node, tuple(range(len(self._shape(node)))))
        return self._reduced(node, self._known(node, 1))

    def _largest(self, node: Node) -> Shape:
        return self._reduced(node, (_int(node, "axis"),))

    def _reduced(self, node: Node, axes: Shape) -> Shape:
        shape, gone = self._shape(node), _axes(axes, len(self._shape(node)))
        if node.attributes["keepdims"] == 1:
            return tuple(1 if axis in gone else size for axis, size in enumerate(shape))
        if node.attributes["keepdims"] != 0:
            raise ValueError(f"has keepdims {node.attributes['keepdims']}")
        return tuple(size for axis, size in enumerate(shape) if axis not in gone)

    def _top(self, node: Node) -> list[Shape]:
        shape, count = self._shape(node), self._known(node, 1)
        axis = _axis(_int(node, "axis"), len(shape))
        if len(count) != 1 or not 1 <= count[0] <= shape[axis]:
            raise ValueError(f"takes the best {count} of {list(shape)}")
        return [_with(shape, axis, count[0])] * 2

    def _product(self, node: Node) -> Shape:
        """Work out a product of two matrices, each turned or not, and of what is added to it."""
        first, second = self._shape(node), self._shape(node, 1)
        first = first[::-1] if node.attributes.get("transA") else first
        (rows, inner), (again, columns) = first, second[::-1] if node.attributes.get("transB") else second
        shape = (rows, columns)
        if inner != again or (len(node.inputs) == 3 and _broadcast(shape, self._shape(node, 2)) != shape):
            raise ValueError(f"multiplies {[rows, inner]} with {[again, columns]}")
        self._work += rows * inner * columns
        return shape

    def _matrix_product(self, node: Node) -> Shape:
        """Work out a product of rows with one matrix, with one column without an axis of its own, or of two stacks."""
        first, second = self._shape(node), self._shape(node, 1)
        if len(second) > 2:
            if first[:-2] != second[:-2] or len(first) != len(second) or first[-1] != second[-2]:
                raise ValueError(f"multiplies {list(first)} with {list(second)}")
            self._work += math.prod(first) * second[-1]
            return (*first[:-1], second[-1])
        (*rows, inner), (again, *columns) = first, second
        if inner != again:
            raise ValueError(f"multiplies {list(first)} with {list(second)}")
        self._work += math.prod((*rows, inner, *columns))
        return (*rows, *columns)

    def _rows_taken(self, node: Node) -> Shape:
        data, places = self._shape(node), self._shape(node, 1)
        if not data:
            raise ValueError("takes rows out of one number")
        axis = _axis(_int(node, "axis", 0), len(data))
        return (*data[:axis], *places, *data[axis + 1 :])

    def _turned(self, node: Node) -> Shape:
        shape, order = self._shape(node), _ints(node, "perm")
        if sorted(order) != list(range(len(shape))):
            raise ValueError(f"turns {list(shape)} by {order}")
        return tuple(shape[axis] for axis in order)

    def _padded(self, node: Node) -> Shape:
        shape, around = self._shape(node), self._known(node, 1)
        if len(around) != 2 * len(shape) or min(around) < 0:
            raise ValueError(f"pads {list(shape)} by {around}")
        return tuple(map(sum, zip(shape, around[: len(shape)], around[len(shape) :], strict=True)))

    def _windows(self, node: Node, pads: Shape = (0, 0, 0, 0)) -> Shape:
        """Work out pictures [N, K, height, width] of which squares are taken together."""
        shape, kernel, steps = self._shape(node), _ints(node, "kernel_shape"), _ints(node, "strides")
        if not (len(shape) == 4 == len(pads) and len(kernel) == len(steps) == 2) or min(*kernel, *steps) < 1:
            raise ValueError(f"takes squares of {kernel} out of {list(shape)}")
        sides = [
            (size + before + after - side) // step + 1
            for size, before, after, side, step in zip(shape[2:], pads[:2], pads[2:], kernel, steps, strict=True)
        ]
        return (*shape[:2], *sides)

    def _convolution(self, node: Node) -> Shape:
        shape, W, kernel = self._shape(node), self._shape(node, 1), _ints(node, "kernel_shape")
        if len(W) != 4 or W[1:] != (shape[1], *kernel) or (len(node.inputs) == 3 and self._shape(node, 2) != W[:1]):
            raise ValueError(f"convolves {list(shape)} with {list(W)}")
        pictures = self._windows(node, _ints(node, "pads"))
        self._work += math.prod((pictures[0], *pictures[2:])) * math.prod(W)
        return (pictures[0], W[0], *pictures[2:])

    def _scaled_channels(self, node: Node) -> Shape:
        shape = self._shape(node)
        if len(shape) < 2 or any(self._shape(node, place) != shape[1:2] for place in range(1, 5)):
            raise ValueError(f"scales the channels of {list(shape)} by {list(self._shape(node, 1))}")
        return shape

    def _chosen(self, node: Node) -> Shape:
        shape, places = self._shape(node), self._shape(node, 1)
        axis = _axis(_int(node, "axis"), len(shape))
        if len(places) != len(shape) or _with(places, axis, 1) != _with(shape, axis, 1):
            raise ValueError(f"takes places {list(places)} of {list(shape)}")
        return places

    def _one_hot(self, node: Node) -> Shape:
        depth = self._ints.get(node.inputs[1])
        if depth is None or len(depth) != 1 or self._shape(node, 2) != (2,):
            raise ValueError(f"reads {node.inputs[1]!r}, which must be one known whole number")
        return (*self._shape(node), depth[0])

    def _soft(self, node: Node) -> Shape:
        _axis(_int(node, "axis"), len(self._shape(node)))
        return self._shape(node)

    def _gathered(self, node: Node) -> Shape:
        shape, places = self._shape(node), self._shape(node, 1)
        batch = _int(node, "batch_dims", 0)
        depth = batch + places[-1]
        if not 0 <= batch < len(places) or shape[:batch] != places[:batch] or depth > len(shape):
            raise ValueError(f"takes places {list(places)} out of {list(shape)} behind {batch} axes")
        return places[:-1] + shape[depth:]

    def _scattered(self, node: Node) -> Shape:
        shape, places, values = (self._shape(node, place) for place in range(3))
        _axis(_int(node, "axis"), len(shape))
        if places != values or len(places) != len(shape) or any(map(int.__gt__, places, shape)):
            raise ValueError(f"puts {list(values)} at places {list(places)} of {list(shape)}")
        return shape

    def _rescaled(self, node: Node) -> Shape:
        """Work out a change to or from whole numbers: one scale for all, or one for each place of an axis."""
        shape, scales, zeros = (self._shape(node, place) for place in range(3))
        axis = _axis(_int(node, "axis", 1), len(shape)) if scales not in ONE else 0
        if not (scales in ONE and zeros in ONE) and not (scales == zeros == shape[axis : axis + 1]):
            raise ValueError(f"scales {list(shape)} by {list(scales)} and {list(zeros)}")
        return shape


def _broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = [*zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)]
    if any(x != y and 1 not in (x, y) for x, y in pairs):
        raise ValueError(f"joins the shapes {list(a)} and {list(b)}")
    return tuple(map(max, pairs))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"names axis {axis} of {rank}")
    return axis % rank


def _axes(axes: Shape, rank: int) -> Shape:
    numbers = tuple(_axis(axis, rank) for axis in axes)
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"names the axes {list(axes)}")
    return numbers


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _int(node: Node, name: str, default: int | None = None) -> int:
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"has {name} {value}")
    return value


def _ints(node: Node, name: str) -> Shape:
    value = node.attributes[name]
    if not isinstance(value, tuple):
        raise ValueError(f"has {name} {value}")
    return value


Rule = Callable[[Any, Node], Shape | list[Shape]]  # of the walk and a node


class Use:
    """How ffedge uses an operator: counts of inputs (none: any), attributes that it has, those that it may have."""

    def __init__(self, rule: Rule, *inputs: int, has: str = "", may_have: str = "") -> None:
        self.rule, self.inputs, self.has = rule, inputs, set(has.split())
        self.most = self.has | set(may_have.split())


def _rule(node: Node) -> Rule:
    """Return the rule for an operator that is used as ffedge uses it."""
    use = OPERATORS.get(node.kind)
    if use is None:
        raise ValueError("no graph of ffedge has this operator")
    if (use.inputs and len(node.inputs) not in use.inputs) or not use.has <= set(node.attributes) <= use.most:
        raise ValueError(f"has {len(node.inputs)} inputs and the attributes {sorted(node.attributes)}")
    return use.rule


OPERATORS: dict[str, Use] = {
    **{kind: Use(Walk._together, 2) for kind in ("Add", "Div", "Equal", "GreaterOrEqual", "Less", "Mul", "Sub")},
    **{kind: Use(Walk._shape, 1) for kind in ("Identity", "Neg", "Relu", "Sigmoid", "Sign", "Softplus", "Sqrt")},
    **{kind: Use(Walk._soft, 1, has="axis") for kind in ("LogSoftmax", "Softmax")},
    **{kind: Use(Walk._mean, 1, has="axes keepdims") for kind in ("ReduceMean", "ReduceMin")},
    **{kind: Use(Walk._rescaled, 3, may_have="axis") for kind in ("DequantizeLinear", "QuantizeLinear")},
    **{kind: Use(Walk._windows, 1, has="kernel_shape strides") for kind in ("AveragePool", "MaxPool")},
    "ArgMax": Use(Walk._largest, 1, has="axis keepdims"),
    "BatchNormalization": Use(Walk._scaled_channels, 5, has="epsilon"),
    "Cast": Use(Walk._cast, 1, has="to"),
    "Clip": Use(Walk._clip, 3),
    "Conv": Use(Walk._convolution, 2, 3, has="kernel_shape pads strides"),
    "Concat": Use(Walk._concat, has="axis"),
    "Gather": Use(Walk._rows_taken, 2, may_have="axis"),
    "GatherElements": Use(Walk._chosen, 2, has="axis"),
    "GatherND": Use(Walk._gathered, 2, may_have="batch_dims"),
    "Gemm": Use(Walk._product, 2, 3, may_have="transA transB alpha"),
    "MatMul": Use(Walk._matrix_product, 2),
    "OneHot": Use(Walk._one_hot, 3),
    "Pad": Use(Walk._padded, 2),
    "ReduceSum": Use(Walk._sum, 1, 2, has="keepdims"),
    "Reshape": Use(Walk._reshape, 2),
    "ScatterElements": Use(Walk._scattered, 3, has="axis"),
    "Shape": Use(Walk._sizes, 1),
    "Slice": Use(Walk._slice, 4, 5),
    "Squeeze": Use(Walk._squeeze, 2),
    "TopK": Use(Walk._top, 2, has="axis"),
    "Transpose": Use(Walk._turned, 1, has="perm"),
    "Unsqueeze": Use(Walk._unsqueeze, 2),
    "Where": Use(Walk._together, 3),
}


def walk(graph: Graph, sizes: Mapping[str, int]) -> Walk:
    """Walk a graph that ffedge built, for the sizes that its inputs' symbols stand for."""
    ports = graph.inputs | graph.weights
    shapes = {name: array.shape for name, array in graph.constants.items()}
    shapes |= {n: tuple(sizes[d] if isinstance(d, str) else d for d in port.dims) for n, port in ports.items()}
    ints = {n: tuple(a.reshape(-1).tolist()) for n, a in graph.constants.items() if a.dtype.name == "int64"}
    doubles = {n for n, port in ports.items() if port.dtype == "float64"}
    doubles |= {n for n, array in graph.constants.items() if array.dtype.name == "float64"}
    return Walk(graph.nodes, shapes, ints, doubles)


def check_graph(graph: Graph, sizes: Mapping[str, int]) -> None:
    """Raise ValueError where a graph holds what ffedge does not use, or its outputs have other sizes than it says."""
    result = walk(graph, sizes)
    for name, port in graph.outputs.items():
        wanted = tuple(sizes[size] if isinstance(size, str) else size for size in port.dims)
        if result.shape(name) != wanted:
            raise ValueError(f"it makes {name} of shape {list(result.shape(name))}, but it must be {list(wanted)}")
