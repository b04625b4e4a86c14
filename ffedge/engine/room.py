"""Where an engine's arrays and graphs are: in memory, or only counted, so that a plan asks the engine what it needs.

An engine on a `Count` runs the code that trains, and allocates nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.session import Kernel, Value, Workspace
from ffedge.errors import FfedgeError
from ffedge.onnx.graph import Graph, model_bytes
from ffedge.onnx.memory import most_alive
from ffedge.pages import copy, on_disk, release_libraries

Array = NDArray[Any]


class Runs(Protocol):
    """A loaded graph, whose values are bound by name to arrays that already have their memory."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> None:
        """Run once; each mapping holds at least the names that the graph declares."""
        ...


class Memory:
    """Arrays in memory and graphs in onnxruntime.

    Parameters
    ----------
    threads : of each graph; 0 takes all cores.
    """

    def __init__(self, threads: int) -> None:
        self._threads, self._work = threads, Workspace()
        self._kernels: dict[bytes, Any] = {}

    @property
    def graphs(self) -> int:
        """Graphs that are loaded."""
        return len(self._kernels)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the buffers."""
        return self._work.size_bytes

    def value(self, array: Array) -> Value:
        """Return an array that stands somewhere as a value that graphs read and write."""
        return Value(array)

    def buffer(self, name: str, shape: tuple[int, ...]) -> Value:
        """Return a buffer that steps use again; its content is whatever was there."""
        return self._work.get(name, shape)

    def zeros(self, shape: tuple[int, ...], folder: Path | None) -> Array:
        """Return zeros for a part of the state; on disk where a folder is given."""
        if folder is None:
            return np.zeros(shape, np.float32)
        try:
            return on_disk(shape, folder)
        except OSError as error:
            why = error.strerror or str(error)
            remedy = "Free space, or use `moments='memory'`"
            raise FfedgeError(f"{folder}: moments cannot be written ({why}). {remedy}") from error

    def copy(self, source: Array, target: Array) -> None:
        """Copy an array into another of its shape, which may be views of files."""
        copy(source, target)

    def copy_part(self, source: Array, target: Array) -> None:
        """Copy a few numbers, or some columns of rows."""
        np.copyto(target, source)

    def clear(self, array: Array) -> None:
        """Set an array to zero."""
        array.fill(0)

    def kernel(self, graph: Graph) -> Runs:
        """Return a graph, loaded; equal graphs are loaded once."""
        content = model_bytes(graph)
        if content not in self._kernels:
            self._kernels[content] = self._load(graph, content)
        kernel: Runs = self._kernels[content]
        return kernel

    def _load(self, graph: Graph, content: bytes) -> Runs:
        kernel = Kernel(content, self._threads)
        release_libraries()  # loading a graph runs code that running it does not
        return kernel


class Count(Memory):
    """Arrays that take no memory and graphs that do not run; what they would take is counted.

    Attributes
    ----------
    temporaries : the most bytes that any graph holds while it runs.
    """

    def __init__(self) -> None:
        super().__init__(threads=1)
        self._buffers: dict[str, int] = {}
        self.temporaries = 0

    @property
    def buffer_bytes(self) -> int:  # noqa: D102
        return sum(self._buffers.values())

    def value(self, array: Array) -> Value:  # noqa: D102
        return Value.without_memory(array)

    def buffer(self, name: str, shape: tuple[int, ...]) -> Value:  # noqa: D102
        array = nothing(shape)
        self._buffers[name] = max(self._buffers.get(name, 0), array.nbytes)
        return Value.without_memory(array)

    def zeros(self, shape: tuple[int, ...], folder: Path | None) -> Array:  # noqa: D102
        return nothing(shape)

    def copy(self, source: Array, target: Array) -> None:  # noqa: D102
        assert source.shape == target.shape

    copy_part = copy

    def clear(self, array: Array) -> None:  # noqa: D102
        pass

    def _load(self, graph: Graph, content: bytes) -> Runs:
        return _Counted(self, graph)


class _Counted:
    """A graph that only tells what it would take."""

    def __init__(self, count: Count, graph: Graph) -> None:
        self._count, self._graph = count, graph
        self.inputs, self.outputs = tuple(graph.inputs), tuple(graph.outputs)
        self._counted: set[tuple[tuple[str, int], ...]] = set()

    def run(self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> None:
        """Bind the symbols of its inputs and outputs, and count; ValueError where they do not agree."""
        symbols: dict[str, int] = {}
        for values, ports in ((inputs, self._graph.inputs), (outputs, self._graph.outputs)):
            for name, port in ports.items():
                for dim, size in zip(port.dims, values[name].array.shape, strict=True):
                    if (symbols.setdefault(dim, size) if isinstance(dim, str) else dim) != size:
                        raise ValueError(f"{name} has {size} for {dim} of graph {self._graph.name}")
        bound = tuple(sorted(symbols.items()))
        if bound not in self._counted:
            self._counted.add(bound)
            self._count.temporaries = max(self._count.temporaries, most_alive(self._graph, symbols))


def nothing(shape: tuple[int, ...]) -> Array:
    """Return an array of a shape that takes no memory and cannot be written."""
    return np.broadcast_to(np.float32(0), shape)
