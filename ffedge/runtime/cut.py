"""Cuts the trainer's kernels out of a model file's learning step, so that a device learns from the file alone.

A kernel is made of stages (`ffedge.stages`). It is written anew from what was read of its nodes, with operators, shapes
and sizes checked first: nothing that ffedge does not know reaches onnxruntime.

Shape letters: as in `ffedge.stages`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ffedge.liveness import Line, lines_of, peaks
from ffedge.network import InputFacts, LayerShape, layer_shapes
from ffedge.recipe import Recipe
from ffedge.resolve import TUNED_TILE_BYTES
from ffedge.runtime.kernels import KernelKey, kernel_key
from ffedge.runtime.proto import FLOAT, INT64, ModelParts, Node, Span, Tensor
from ffedge.runtime.verify import MAX_ROWS, OPSET, Cost
from ffedge.runtime.verify_learning import KernelWalk, affordable
from ffedge.stages import Composition, Dims, bindings, composition, ports, wire
from ffedge.wire import field as message
from ffedge.wire import real, text, whole

IR_VERSION = 8
UINT8 = 2
SPARE_ITEMS = 64
INT_LISTS = {"axes"}  # attributes that are lists
INT, INTS, REAL = 2, 7, 1  # ONNX's numbers of the types of attributes


@dataclass
class Kernel:
    """A kernel, read: its nodes and constants by their names within it, and what goes in and out."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Dims] = field(default_factory=dict)
    outputs: dict[str, Dims] = field(default_factory=dict)


class LearningStep:
    """The kernels of a model file, by key: what `ffedge.runtime.stepper.OnnxEngine` builds its graphs with.

    Parameters
    ----------
    content : returns the file's bytes of a span.

    Attributes
    ----------
    chunk_rows, tile_bytes : the largest runs that kernels are checked for.

    Raises
    ------
    ValueError
        The file has no learning step, or one that ffedge does not know; here or when a kernel is asked for.
    """

    def __init__(self, parts: ModelParts, recipe: Recipe, facts: InputFacts, content: Callable[[Span], bytes]) -> None:
        if parts.learning is None:
            raise ValueError("it has no learning step")
        self._parts, self._learning, self._content = parts, parts.learning, content
        self._recipe, self._facts, self.shapes = recipe, facts, layer_shapes(recipe, facts)
        if parts.opset != OPSET:
            raise ValueError(f"its operator set must be {OPSET}, got {parts.opset}")
        if parts.bindings != bindings(recipe, self.shapes):
            raise ValueError("its learning step does not update what ffedge's does")
        self._stages: dict[str, list[tuple[int, Node]]] = {}
        for place, node in enumerate(self._learning.nodes):
            self._stages.setdefault(node.name.partition("/")[0], []).append((place, node))
        self.chunk_rows, self.tile_bytes = 1, TUNED_TILE_BYTES

    def __call__(self, key: KernelKey) -> bytes:
        """Return a kernel, checked for chunks of `chunk_rows` samples."""
        kernel = self._cut(key)
        for sizes in self._runs(key, self.chunk_rows):
            if not affordable(self._cost(kernel, sizes), self._parts.n_bytes):
                raise ValueError(f"a step of {self.chunk_rows} samples takes too much")
        return self._encoded(kernel)

    def fit(self, keys: Iterable[KernelKey], most: int) -> int:
        """Find and take the largest chunk, `most` or the half of it and so on, of which all kernels are affordable."""
        kernels = [(key, self._cut(key)) for key in keys]
        self.chunk_rows = most
        while self.chunk_rows > 1 and not all(
            affordable(self._cost(kernel, sizes), self._parts.n_bytes)
            for key, kernel in kernels
            for sizes in self._runs(key, self.chunk_rows)
        ):
            self.chunk_rows //= 2
        return self.chunk_rows

    def live(self, key: KernelKey) -> list[Line]:
        """Return how much memory a kernel takes while it runs (see `ffedge.graph.live`)."""
        kernel, tried = self._cut(key), self._tried(key)
        nodes = [(node.kind, node.inputs, node.outputs) for node in kernel.nodes]

        def peaks_at(n: int) -> list[int]:
            sizes = self._walk(kernel, {"N": n, "M": tried, "R": n * tried, "T": n}).sizes()
            return peaks(nodes, set(kernel.outputs), sizes)

        return lines_of(peaks_at)

    def _tried(self, key: KernelKey) -> int:
        if key.kind in ("learn", "accumulate"):
            return 1 + self._recipe.train.n_negatives
        return key.shape.classes if key.flag else 1

    def _runs(self, key: KernelKey, samples: int) -> list[dict[str, int]]:
        """Return the sizes of the largest runs of a kernel: of learning, and of evaluation, which tries all classes."""
        tried, classes = 1 + self._recipe.train.n_negatives, self._facts.n_classes
        runs = [(samples, tried)]
        if key.forward:
            runs.append((max(1, MAX_ROWS // classes), classes))
        tile = max(1, self.tile_bytes // (4 * key.shape.units)) if key.kind.startswith("tile") else 1
        return [{"N": n, "M": m, "R": n * m, "T": tile} for n, m in runs]

    def _layer(self, key: KernelKey) -> LayerShape:
        """Return the first layer that a key stands for; equal ones have equal kernels."""
        for shape in self.shapes:
            if kernel_key(key.kind, shape, key.flag) == key:
                return shape
        raise ValueError(f"no layer has a kernel {key.kind!r} of {key.shape.inputs} inputs and {key.shape.units} units")

    def _cut(self, key: KernelKey) -> Kernel:
        """Collect the nodes of a kernel's stages, with their values renamed as they are called in the kernel."""
        layer = self._layer(key)
        how = composition(self._recipe, key.kind, layer, key.flag)
        dims = ports(self._recipe, self._facts.size, key.kind, layer)
        wires = {wire(local, key.kind, layer.index): local for local in dims}
        chosen = sorted(
            (node for stage in how.stages for node in self._stages.get(f"{stage}.{layer.index}", [])),
            key=lambda item: item[0],
        )
        kernel, own = Kernel(), _Names(layer.index, how, wires)
        for _, node in chosen:
            inputs = tuple(self._read(name, own, kernel, dims) for name in node.inputs)
            outputs = tuple(own.made(name) for name in node.outputs)
            kernel.nodes.append(replace(node, inputs=inputs, outputs=outputs, name=""))
        for name in how.sums:
            total = tuple(self._read(part, own, kernel, dims) for part in (f"sum.{name}", f"grad.{name}"))
            kernel.nodes.append(Node("Add", total, (own.made(f"new.sum.{name}"),), {}))
        kernel.outputs = {name: dims[name] for name in how.outputs if name in own.known}
        may_lack = {"value"} | ({"rows"} if key.kind == "forward" else set())  # the last layer passes nothing on
        if set(how.outputs) - may_lack - set(kernel.outputs):
            raise ValueError(f"its learning step lacks a part of {key.kind!r} of layer {layer.index}")
        return kernel

    def _read(self, name: str, own: "_Names", kernel: Kernel, dims: dict[str, Dims]) -> str:
        """Return what a value that a node reads is called within the kernel; take it in where it is not made there."""
        local = own.local(name)
        if local in own.known:
            return local
        if local in dims:
            kernel.inputs[local] = dims[local]
            return local
        tensor = self._learning.tensors.get(name) or self._parts.tensors.get(name)
        most = 8 * (self._facts.size + self._facts.n_classes + SPARE_ITEMS)  # no weights are constants
        if tensor is None or tensor.span[1] - tensor.span[0] > most or name.startswith("layers."):
            raise ValueError(f"reads {name!r} before it is made")
        kernel.constants[f"constant/{name}"] = tensor
        return f"constant/{name}"

    def _walk(self, kernel: Kernel, sizes: dict[str, int]) -> KernelWalk:
        def shape(dims: Dims) -> tuple[int, ...]:
            return tuple(sizes[size] if isinstance(size, str) else size for size in dims)

        walk = KernelWalk(kernel.nodes, kernel.constants, {name: shape(dims) for name, dims in kernel.inputs.items()})
        for name, dims in kernel.outputs.items():
            if walk.shape(name) != shape(dims):
                raise ValueError(f"makes {name} of shape {list(walk.shape(name))}, but it must be {list(shape(dims))}")
        return walk

    def _cost(self, kernel: Kernel, sizes: dict[str, int]) -> Cost:
        return self._walk(kernel, sizes).cost

    def _encoded(self, kernel: Kernel) -> bytes:
        """Write a kernel as an ONNX model."""
        graph = b"".join(message(1, _node(node)) for node in kernel.nodes) + text(2, "kernel")
        for name, tensor in kernel.constants.items():
            axes = b"".join(whole(1, size) for size in tensor.shape)
            graph += message(5, axes + whole(2, tensor.kind) + text(8, name) + message(9, self._content(tensor.span)))
        for name, dims in kernel.inputs.items():
            graph += message(11, port(name, dims, self._kind(name)))
        for name, dims in kernel.outputs.items():
            graph += message(12, port(name, dims, FLOAT))
        return whole(1, IR_VERSION) + message(7, graph) + message(8, text(1, "") + whole(2, OPSET))

    def _kind(self, name: str) -> int:
        if name == "raw":
            return UINT8 if self._facts.dtype == "uint8" else FLOAT
        return {"labels": INT64, "mask": UINT8}.get(name, FLOAT)


class _Names:
    """What the values of a layer's stages are called within a kernel."""

    def __init__(self, layer: int, how: Composition, wires: dict[str, str]) -> None:
        self._layer, self._how, self._wires = layer, how, wires
        self.known: set[str] = set()

    def local(self, name: str) -> str:
        """Return the name within the kernel of a value of the file."""
        stage, _, rest = name.partition("/")
        within = stage.rpartition(".")
        if name in self._wires and not (within[0] in self._how.stages and within[2] == str(self._layer)):
            local = self._wires[name]
        else:
            local = rest if rest and within[2] == str(self._layer) else name
        return self._how.same.get(local, local)

    def made(self, name: str) -> str:
        """Take in a value that a node of the kernel makes."""
        local = self.local(name)
        if local in self.known or not local:
            raise ValueError(f"makes {name!r} again")
        self.known.add(local)
        return local


def _node(node: Node) -> bytes:
    result = b"".join(text(1, name) for name in node.inputs) + b"".join(text(2, name) for name in node.outputs)
    result += text(4, node.kind)
    for name, values in node.attributes.items():
        if name in INT_LISTS:
            attribute = b"".join(whole(8, value) for value in values) + whole(20, INTS)
        else:
            attribute = whole(3, values[0]) + whole(20, INT)
        result += message(5, text(1, name) + attribute)
    for name, value in node.reals.items():
        result += message(5, text(1, name) + real(2, value) + whole(20, REAL))
    return result


def port(name: str, dims: Dims, kind: int) -> bytes:
    """Return an input or output of a graph, of a type by ONNX's number."""
    axes = b"".join(message(1, text(2, size) if isinstance(size, str) else whole(1, size)) for size in dims)
    return text(1, name) + message(2, message(1, whole(1, kind) + message(2, axes)))
