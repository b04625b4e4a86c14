"""Reads the parts of a model file that ffedge writes, from its protobuf bytes, and refuses every other part.

Metadata and weights are what a model is made of anew (`ffedge.model.file`); its own graph is read only where it cannot
be, as of a form in whole numbers, and then written anew too. A learning step beside the graph is left unread. Weights
are not read here, only their sizes and where they stand.
"""

import math
import struct
from dataclasses import dataclass, field

from ffedge.onnx.graph import FLOAT, INT, INTS, REAL, TYPES, Attribute, Node
from ffedge.onnx.wire import BYTES, FIXED32, VARINT, Source, Span, fields

MOST_PARTS = 4096
MOST_METADATA = 64
MOST_AXES = 8
MOST_INTS = 64
WIDTHS = {
    TYPES["float32"]: 4,
    TYPES["float64"]: 8,
    TYPES["uint8"]: 1,
    TYPES["int8"]: 1,
    TYPES["int32"]: 4,
    TYPES["int64"]: 8,
}
HDF5 = b"\x89HDF\r\n\x1a\n"  # how a NIR file begins


@dataclass(frozen=True)
class Tensor:
    """A stored array: its shape, where its bytes stand, and ONNX's number of its type."""

    shape: tuple[int, ...]
    span: Span
    kind: int = FLOAT


@dataclass
class Parts:
    """What a model file holds.

    Attributes
    ----------
    graph : where its graph stands.
    """

    n_bytes: int
    metadata: dict[str, str] = field(default_factory=dict)
    opset: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    graph: Span = (0, 0)


def read_parts(data: Source, size: int) -> Parts:
    """Read a model file of some bytes.

    Raises
    ------
    ValueError
        It is no ONNX model, or holds something that no model of ffedge holds.
    """
    kinds = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES}
    if not size:
        raise ValueError("it is empty")
    if data[: len(HDF5)] == HDF5:
        raise ValueError("it is a NIR file, which only predict, eval and info take")
    parts = Parts(size)
    message = _Message(data, (0, size), kinds, "a model", repeated=(8, 14))
    for entry in message.spans(14, MOST_METADATA):
        pair = _Message(data, entry, {1: BYTES, 2: BYTES}, "a metadata entry")
        if pair.text(1) in parts.metadata:
            raise ValueError(f"metadata {pair.text(1)!r} twice")
        parts.metadata[pair.text(1)] = pair.text(2)
    for entry in message.spans(8, 1):
        opset = _Message(data, entry, {1: BYTES, 2: VARINT}, "an operator set")
        if opset.text(1):
            raise ValueError(f"operators of {opset.text(1)!r}")
        parts.opset = opset.number(2)
    for entry in message.spans(7, 1):
        parts.graph = entry
        for span in _graph(data, entry).spans(5, MOST_PARTS):
            name, tensor = _tensor(data, span)
            if name in parts.tensors:
                raise ValueError(f"weights of the same name {name!r} twice")
            parts.tensors[name] = tensor
    return parts


def read_nodes(data: Source, parts: Parts) -> tuple[list[str], list[Node]]:
    """Return the names of a graph's inputs, and its nodes, all that they are made of included.

    Raises
    ------
    ValueError
        Something that no graph of ffedge holds.
    """
    graph = _graph(data, parts.graph)
    kinds = dict.fromkeys((1, 2, 3), BYTES)
    inputs = [_Message(data, entry, kinds, "an input").text(1) for entry in graph.spans(11, 1)]
    return inputs, [_node(data, entry) for entry in graph.spans(1, MOST_PARTS)]


def ints_of(data: Source, tensor: Tensor) -> tuple[int, ...] | None:
    """Return a stored array's values where they are a few int64."""
    start, end = tensor.span
    count = (end - start) // 8
    if tensor.kind != TYPES["int64"] or count > MOST_INTS:
        return None
    return struct.unpack(f"<{count}q", data[start:end])


def _graph(data: Source, span: Span) -> "_Message":
    kinds = dict.fromkeys((1, 2, 5, 10, 11, 12), BYTES)
    return _Message(data, span, kinds, "a graph", repeated=(1, 5, 11, 12))


def _tensor(data: Source, span: Span) -> tuple[str, Tensor]:
    message = _Message(data, span, {1: VARINT, 2: VARINT, 8: BYTES, 9: BYTES}, "weights", repeated=(1,))
    shape, kind = message.ints(1, MOST_AXES), message.number(2)
    width = WIDTHS.get(kind, 0)
    start, end = (message.spans(9, 1) or [(0, 0)])[0]
    if not width or any(size < 1 for size in shape) or math.prod(shape) * width != end - start:
        raise ValueError(f"weights {message.text(8)!r} of type {kind} and shape {list(shape)}")
    return message.text(8), Tensor(shape, (start, end), kind)


def _node(data: Source, span: Span) -> Node:
    kinds = dict.fromkeys((1, 2, 3, 4, 5, 6, 7), BYTES)
    message = _Message(data, span, kinds, "a node", repeated=(1, 2, 5))
    if message.text(7):
        raise ValueError(f"an operator of {message.text(7)!r}")
    attributes: dict[str, Attribute] = {}
    for entry in message.spans(5, 4):
        name, value = _attribute(data, entry)
        if name in attributes:
            raise ValueError(f"attribute {name!r} twice")
        attributes[name] = value
    inputs, outputs = (
        tuple(_text(data, s) for s in message.spans(n, most)) for n, most in ((1, 2 * MOST_INTS), (2, 2))
    )
    return Node(message.text(4), inputs, outputs, attributes)


def _attribute(data: Source, span: Span) -> tuple[str, Attribute]:
    kinds = {1: BYTES, 2: FIXED32, 3: VARINT, 8: VARINT, 20: VARINT}
    message = _Message(data, span, kinds, "an attribute", repeated=(8,))
    name, kind = message.text(1), message.number(20)
    if kind == REAL:
        return name, message.real(2)
    if kind == INT:
        return name, message.number(3)
    if kind == INTS:
        return name, message.ints(8, MOST_INTS)
    raise ValueError(f"attribute {name!r} of type {kind}")


class _Message:
    """The fields of one message: known ones of the right kind; no field twice but the repeated ones."""

    def __init__(
        self, data: Source, span: Span, kinds: dict[int, int], what: str, repeated: tuple[int, ...] = ()
    ) -> None:
        self._data, self._what = data, what
        self._fields: dict[int, list[int | float | Span]] = {}
        for number, kind, value in fields(data, *span):
            if kinds.get(number) != kind:
                raise ValueError(f"field {number} of {what}")
            values = self._fields.setdefault(number, [])
            if values and number not in repeated:
                raise ValueError(f"field {number} of {what} twice")
            if len(values) > MOST_PARTS:
                raise ValueError(f"more than {MOST_PARTS} times field {number} of {what}")
            values.append(value)

    def spans(self, number: int, most: int) -> list[Span]:
        values = self._fields.get(number, [])
        if len(values) > most:
            raise ValueError(f"{len(values)} times field {number} of {self._what}")
        return [value for value in values if isinstance(value, tuple)]

    def ints(self, number: int, most: int) -> tuple[int, ...]:
        values = [value for value in self._fields.get(number, []) if isinstance(value, int)]
        if len(values) > most:
            raise ValueError(f"{len(values)} times field {number} of {self._what}")
        return tuple(value - (1 << 64) if value >> 63 else value for value in values)

    def number(self, number: int) -> int:
        return (self.ints(number, 1) or (0,))[0]

    def real(self, number: int) -> float:
        values = [value for value in self._fields.get(number, []) if isinstance(value, float)]
        if len(values) != 1 or not math.isfinite(values[0]):
            raise ValueError(f"no finite number in field {number} of {self._what}")
        return values[0]

    def text(self, number: int) -> str:
        spans = self.spans(number, 1)
        return _text(self._data, spans[0]) if spans else ""


def _text(data: Source, span: Span) -> str:
    return data[span[0] : span[1]].decode()
