"""Reads the parts of a model file that ffedge writes, from its protobuf bytes, and refuses every other part.

onnxruntime reads much more: foreign operators, loops, weights in other files, sizes that no file bears out. So a
stranger's file is read here first, with numpy and the standard library alone; what is left for onnxruntime is what
`ffedge.graph` writes. Weights are not read, only their sizes.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Buffer = bytes | mmap.mmap
Span = tuple[int, int]
VARINT, BYTES, FIXED32 = 0, 2, 5
MOST_PARTS = 4096
MOST_STEPS = 16384  # nodes of a learning step, and its constants
MOST_METADATA = 64
MOST_AXES = 8
MOST_INTS = 64
MOST_PORTS = 2048  # of a learning step
FLOAT, UINT8, INT8, INT32, INT64, DOUBLE = 1, 2, 3, 6, 7, 11  # ONNX's numbers of the types
WIDTHS = {FLOAT: 4, UINT8: 1, INT8: 1, INT32: 4, INT64: 8}  # bytes of a value
HDF5 = b"\x89HDF\r\n\x1a\n"  # how a NIR file begins
ATTRIBUTE_TYPES = {3: 2, 8: 7}  # field of an attribute -> what its type field must say
REAL_ATTRIBUTE = 1


@dataclass(frozen=True)
class Tensor:
    """A stored array: its shape, of a few int64 the values, where its bytes stand, and ONNX's number of its type."""

    shape: tuple[int, ...]
    ints: tuple[int, ...] | None
    span: Span = (0, 0)
    kind: int = FLOAT


@dataclass(frozen=True)
class Node:
    """An operator, the values it reads and makes, and its attributes: whole numbers, and apart from them real ones."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, tuple[int, ...]]
    reals: dict[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass
class ModelParts:
    """What a model file holds; `n_bytes` is its size.

    Attributes
    ----------
    learning : its learning step, a graph of its own; None where it has none.
    bindings : which output of the learning step takes the place of each value that learns.
    """

    n_bytes: int
    metadata: dict[str, str] = field(default_factory=dict)
    opset: int = 0
    inputs: list[str] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    learning: "ModelParts | None" = None
    bindings: dict[str, str] = field(default_factory=dict)


def read_parts(model: Buffer | Path) -> ModelParts:
    """Read a model file.

    Raises
    ------
    ValueError
        It is no ONNX model, or holds something that no model of ffedge holds.
    OSError
        It cannot be read.
    """
    if not isinstance(model, Path):
        return _model(model, len(model))
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _model(data, len(data))


def _model(data: Buffer, size: int) -> ModelParts:
    known = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES}
    if data[: len(HDF5)] == HDF5:
        raise ValueError("it is a NIR file, which only predict, eval and info take")
    parts = ModelParts(size)
    message = _Message(data, (0, size), known, "a model", repeated=(8, 14))
    for entry in message.spans(14, MOST_METADATA):
        pair = _Message(data, entry, {1: BYTES, 2: BYTES}, "a metadata entry")
        parts.metadata[pair.text(1)] = pair.text(2)
    for entry in message.spans(8, 1):
        opset = _Message(data, entry, {1: BYTES, 2: VARINT}, "an operator set")
        if opset.text(1):
            raise ValueError(f"operators of {opset.text(1)!r}")
        parts.opset = opset.number(2)
    if graph := message.spans(7, 1):
        _graph(data, graph[0], parts)
    for entry in message.spans(20, 1):
        _training(data, entry, parts)
    return parts


def _training(data: Buffer, span: Span, parts: ModelParts) -> None:
    """Read the learning step and its bindings; what sets moments to zero is read to be sure of it, and dropped."""
    known = dict.fromkeys((1, 2, 3, 4), BYTES)
    message = _Message(data, span, known, "a learning step", repeated=(3, 4))
    for number in (1, 2):
        for entry in message.spans(number, 1):
            graph = ModelParts(parts.n_bytes)
            _graph(data, entry, graph, (MOST_PORTS, MOST_PORTS, MOST_STEPS), WIDTHS | {DOUBLE: 8})
            parts.learning = graph if number == 2 else None
    for number in (3, 4):
        pairs = [
            _Message(data, entry, {1: BYTES, 2: BYTES}, "a binding") for entry in message.spans(number, MOST_PORTS)
        ]
        parts.bindings = {pair.text(1): pair.text(2) for pair in pairs}


def _graph(
    data: Buffer,
    span: Span,
    parts: ModelParts,
    most: tuple[int, int, int] = (1, MOST_INTS, MOST_PARTS),
    widths: dict[int, int] = WIDTHS,
) -> None:
    """Read a graph of at most so many inputs, outputs, and nodes or constants."""
    inputs, outputs, count = most
    known = dict.fromkeys((1, 2, 5, 10, 11, 12), BYTES)
    graph = _Message(data, span, known, "a graph", repeated=(1, 5, 11, 12), most=count)
    for entry in graph.spans(11, inputs):
        parts.inputs.append(_Message(data, entry, {1: BYTES, 2: BYTES, 3: BYTES}, "an input").text(1))
    graph.spans(12, outputs)
    for entry in graph.spans(5, count):
        name, tensor = _tensor(data, entry, widths)
        if name in parts.tensors:
            raise ValueError(f"weights of the same name {name!r} twice")
        parts.tensors[name] = tensor
    parts.nodes += [_node(data, entry) for entry in graph.spans(1, count)]


def _tensor(data: Buffer, span: Span, widths: dict[int, int]) -> tuple[str, Tensor]:
    message = _Message(data, span, {1: VARINT, 2: VARINT, 8: BYTES, 9: BYTES}, "weights", repeated=(1,))
    shape, kind = message.ints(1, MOST_AXES), message.number(2)
    width = widths.get(kind, 0)
    start, end = (message.spans(9, 1) or [(0, 0)])[0]
    if not width or any(size < 1 for size in shape) or math.prod(shape) * width != end - start:
        raise ValueError(f"weights {message.text(8)!r} of type {kind} and shape {list(shape)}")
    count = (end - start) // 8
    ints = struct.unpack(f"<{count}q", data[start:end]) if kind == INT64 and count <= MOST_INTS else None
    return message.text(8), Tensor(shape, ints, (start, end), kind)


def _node(data: Buffer, span: Span) -> Node:
    known = dict.fromkeys((1, 2, 3, 4, 5, 6, 7), BYTES)
    message = _Message(data, span, known, "a node", repeated=(1, 2, 5))
    if message.text(7):
        raise ValueError(f"an operator of {message.text(7)!r}")
    attributes, reals = {}, {}
    for entry in message.spans(5, 4):
        known = {1: BYTES, 2: FIXED32, 3: VARINT, 8: VARINT, 20: VARINT}
        attribute = _Message(data, entry, known, "an attribute", repeated=(8,))
        if attribute.number(20) == REAL_ATTRIBUTE:
            reals[attribute.text(1)] = attribute.real(2)
        for place in (3, 8):
            if attribute.number(20) == ATTRIBUTE_TYPES[place]:
                attributes[attribute.text(1)] = attribute.ints(place, MOST_INTS)
    inputs, outputs = (
        tuple(_text(data, s) for s in message.spans(n, most)) for n, most in ((1, 2 * MOST_INTS), (2, 2))
    )
    return Node(message.text(4), inputs, outputs, attributes, reals, message.text(3))


class _Message:
    """The fields of one message: known ones of the right kind; no field twice but the repeated ones."""

    def __init__(
        self,
        data: Buffer,
        span: Span,
        known: dict[int, int],
        what: str,
        repeated: tuple[int, ...] = (),
        most: int = MOST_PARTS,
    ) -> None:
        self._data, self._what = data, what
        self._fields: dict[int, list[int | float | Span]] = {}
        for number, kind, value in fields(data, *span):
            if known.get(number) != kind:
                raise ValueError(f"field {number} of {what}")
            values = self._fields.setdefault(number, [])
            if values and number not in repeated:
                raise ValueError(f"field {number} of {what} twice")
            if len(values) > most:
                raise ValueError(f"more than {most} times field {number} of {what}")
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


def _text(data: Buffer, span: Span) -> str:
    return data[span[0] : span[1]].decode()


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int | float | Span]]:
    """Yield number, kind and value of each field; the value of `BYTES` is where they stand."""
    while start < end:
        key, start = _varint(data, start, end)
        if key & 7 == FIXED32 and end - start >= 4:
            yield key >> 3, FIXED32, struct.unpack("<f", data[start : start + 4])[0]
            start += 4
            continue
        value, start = _varint(data, start, end)
        kind = key & 7
        if kind == VARINT:
            yield key >> 3, kind, value
        elif kind == BYTES and value <= end - start:
            yield key >> 3, kind, (start, start + value)
            start += value
        else:
            raise ValueError(f"byte {start} begins no field")


def _varint(data: Buffer, start: int, end: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte; return it and where it ends."""
    value = 0
    for place, byte in enumerate(data[start : min(end, start + 10)]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            if value >> 64:
                break
            return value, start + place + 1
    raise ValueError(f"byte {start} begins no number")
