"""Where an engine's arrays and graphs are; `ffedge.engine.needs` counts what they would take instead."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.session import Kernel, Value
from ffedge.errors import FfedgeError
from ffedge.onnx.graph import Graph, model_bytes
from ffedge.pages import copy, on_disk, release_libraries

Array = NDArray[Any]
MOST_VIEWS = 128


class Memory:
    """Arrays in memory and graphs in onnxruntime.

    Parameters
    ----------
    threads : of each graph; 0 takes all cores.

    Attributes
    ----------
    runs : whether graphs run here.
    """

    runs: ClassVar[bool] = True

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._kernels: dict[bytes, Kernel] = {}
        self._buffers: dict[str, Array] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Value] = {}

    @property
    def graphs(self) -> int:
        """Graphs that are loaded."""
        return len(self._kernels)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def value(self, array: Array) -> Value:
        """Return an array that stands somewhere as a value that graphs read and write."""
        return Value(array)

    def buffer(self, name: str, shape: tuple[int, ...]) -> Value:
        """Return a buffer of float32 that steps use again; it grows to the largest shape, and is not cleared."""
        view = self._views.get((name, shape))
        if view is None:
            size = int(np.prod(shape))
            if name not in self._buffers or self._buffers[name].size < size:
                self._views = {key: value for key, value in self._views.items() if key[0] != name}
                self._buffers[name] = np.zeros(size, np.float32)
            if len(self._views) >= MOST_VIEWS:  # a stream's batches may all differ in size
                self._views.clear()
            view = self._views[name, shape] = Value(self._buffers[name][:size].reshape(shape))
        return view

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

    def kernel(self, graph: Graph) -> Kernel:
        """Return a graph, loaded; equal graphs are loaded once."""
        content = model_bytes(graph)
        if content not in self._kernels:
            self._kernels[content] = self._loaded(graph, content)
        return self._kernels[content]

    def _loaded(self, graph: Graph, content: bytes) -> Kernel:
        kernel = Kernel(content, self._threads)
        release_libraries()  # loading a graph runs code that running it does not
        return kernel
