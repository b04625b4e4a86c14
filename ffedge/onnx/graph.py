"""ONNX graphs: what one is, a small builder, and its bytes. Standard operators only, opset 17, IR version 8.

Numbers of protobuf's fields are ONNX's own (onnx.proto): ModelProto, GraphProto, NodeProto, TensorProto and so on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ffedge.onnx import wire

Array = NDArray[Any]
Dims = tuple[int | str, ...]
Attribute = int | float | tuple[int, ...]

OPSET = 17
IR_VERSION = 8
FLOAT = 1
TYPES = {"float32": FLOAT, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
REAL, INT, INTS = 1, 2, 7  # types of attributes


@dataclass(frozen=True)
class Node:
    """An operator, the values that it reads and makes, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Port:
    """The sizes and the type of a value; a size is a number or a symbol."""

    dims: Dims
    dtype: str = "float32"


@dataclass
class Graph:
    """A graph.

    Attributes
    ----------
    constants : arrays that stand inside.
    weights : stored arrays whose values come from elsewhere: a file's, or a session's (`ffedge.engine.session`).
    """

    name: str
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, Port] = field(default_factory=dict)


class GraphBuilder:
    """Collects a graph; a value is known by its name.

    Attributes
    ----------
    stage : part of a learning step to which the nodes added next belong; they carry its name
        (`ffedge.model.training_info`).
    """

    def __init__(self, name: str) -> None:
        self.graph, self.stage = Graph(name), ""

    def input(self, name: str, dims: Dims, dtype: str = "float32") -> str:
        """Declare an input, once however often it is asked for."""
        self.graph.inputs.setdefault(name, Port(dims, dtype))
        return name

    def output(self, name: str, dims: Dims, dtype: str = "float32") -> None:
        """Declare a value, made by a node, as an output."""
        self.graph.outputs[name] = Port(dims, dtype)

    def weight(self, name: str, dims: Dims) -> str:
        """Declare a stored array whose values come from elsewhere."""
        self.graph.weights.setdefault(name, Port(dims))
        return name

    def const(self, value: ArrayLike, dtype: DTypeLike = np.float32, name: str | None = None) -> str:
        """Store a constant; small equal constants are stored once."""
        array = np.asarray(value, dtype)
        return self._stored(name or f"const.{array.dtype.name}.{array.tolist()}".replace(" ", ""), array)

    def _stored(self, name: str, array: Array) -> str:
        same = self.graph.constants.setdefault(name, array)
        assert same is array or np.array_equal(same, array), f"{name} names two constants"
        return name

    def ints(self, *values: int) -> str:
        """Store a list of int64: axes or a shape."""
        return self.const(values, np.int64)

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Attribute | list[int]) -> str:
        """Add a node with one output and return the output's name."""
        return self.ops(kind, inputs, (out or f"{kind.lower()}.{len(self.graph.nodes)}",), **attributes)[0]

    def ops(
        self, kind: str, inputs: Iterable[str], outputs: tuple[str, ...], **attributes: Attribute | list[int]
    ) -> tuple[str, ...]:
        """Add a node with several outputs, given by name, and return them."""
        name = f"{self.stage}/{len(self.graph.nodes)}" if self.stage else ""
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
        self.graph.nodes.append(Node(kind, tuple(inputs), outputs, values, name))
        return outputs

    def sum(self, value: str, axis: int, keep: bool = False, out: str | None = None) -> str:
        """Add a sum over one axis."""
        return self.op("ReduceSum", value, self.ints(axis), keepdims=int(keep), out=out)

    def mean(self, value: str, axis: int, keep: bool = False) -> str:
        """Add a mean over one axis (its axes are an attribute in this opset)."""
        return self.op("ReduceMean", value, axes=[axis], keepdims=int(keep))


def model_bytes(graph: Graph) -> bytes:
    """Return a graph as an ONNX model; its weights are marked as standing elsewhere."""
    content = graph_bytes(graph)
    for name, port in graph.weights.items():
        outside = wire.field(13, wire.text(1, "location") + wire.text(2, "elsewhere")) + wire.whole(14, 1)
        content += wire.field(5, tensor_head(name, _sizes(port.dims), TYPES[port.dtype]) + outside)
    return model_head() + wire.field(7, content)


def model_head() -> bytes:
    """Return what a model says beside its graph: versions, the operator set, who made it."""
    return wire.whole(1, IR_VERSION) + wire.text(2, "ffedge") + wire.field(8, wire.text(1, "") + wire.whole(2, OPSET))


def graph_bytes(graph: Graph) -> bytes:
    """Return a graph's message but for its weights."""
    content = b"".join(wire.field(1, _node(node)) for node in graph.nodes) + wire.text(2, graph.name)
    for name, array in graph.constants.items():
        tensor = tensor_head(name, array.shape, TYPES[array.dtype.name]) + wire.field(9, array.tobytes())
        content += wire.field(5, tensor)
    content += b"".join(wire.field(11, _port(name, port)) for name, port in graph.inputs.items())
    return content + b"".join(wire.field(12, _port(name, port)) for name, port in graph.outputs.items())


def tensor_head(name: str, shape: tuple[int, ...], kind: int = FLOAT) -> bytes:
    """Return a stored array's message up to its data."""
    return b"".join(wire.whole(1, size) for size in shape) + wire.whole(2, kind) + wire.text(8, name)


def _node(node: Node) -> bytes:
    content = b"".join(wire.text(1, name) for name in node.inputs) + b"".join(wire.text(2, n) for n in node.outputs)
    content += (wire.text(3, node.name) if node.name else b"") + wire.text(4, node.kind)
    for name, value in sorted(node.attributes.items()):
        if isinstance(value, tuple):
            typed = b"".join(wire.whole(8, each) for each in value) + wire.whole(20, INTS)
        elif isinstance(value, float):
            typed = wire.real(2, value) + wire.whole(20, REAL)
        else:
            typed = wire.whole(3, value) + wire.whole(20, INT)
        content += wire.field(5, wire.text(1, name) + typed)
    return content


def _port(name: str, port: Port) -> bytes:
    axes = b"".join(
        wire.field(1, wire.text(2, size) if isinstance(size, str) else wire.whole(1, size)) for size in port.dims
    )
    return wire.text(1, name) + wire.field(2, wire.field(1, wire.whole(1, TYPES[port.dtype]) + wire.field(2, axes)))


def _sizes(dims: Dims) -> tuple[int, ...]:
    assert all(isinstance(size, int) for size in dims), "a weight's sizes are numbers"
    return tuple(int(size) for size in dims)
