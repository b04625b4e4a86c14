"""onnxruntime sessions with a small footprint, and the buffers that their values live in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def make_session(model: bytes | str, threads: int = 0) -> ort.InferenceSession:
    """Load a model (its bytes or its path) on the CPU.

    The arena is off: it would keep every temporary's peak. Spinning is off: several sessions take turns here, and the
    idle threads of one would take the cores from the next (3.5 times slower on 2 cores).

    Parameters
    ----------
    threads : 0 takes all cores.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Kernel:
    """A session whose inputs and outputs are bound by name to values that already have their memory."""

    def __init__(self, model: bytes, threads: int) -> None:
        self.session = make_session(model, threads)
        self.inputs = tuple(value.name for value in self.session.get_inputs())
        self.outputs = tuple(value.name for value in self.session.get_outputs())
        self._binding = self.session.io_binding()

    def run(self, inputs: Mapping[str, ort.OrtValue], outputs: Mapping[str, ort.OrtValue]) -> None:
        """Run once; each mapping holds at least the names that the graph declares."""
        binding = self._binding
        for name in self.inputs:
            binding.bind_ortvalue_input(name, inputs[name])
        for name in self.outputs:
            binding.bind_ortvalue_output(name, outputs[name])
        self.session.run_with_iobinding(binding)
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()


class Value:
    """A numpy array and the onnxruntime value that shares its memory."""

    __slots__ = ("array", "ort")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.ort = ort.OrtValue.ortvalue_from_numpy(array)


class Workspace:
    """Named buffers that grow to the largest shape asked for and are used again."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Value] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Value:
        """Return the buffer in this shape; its content is whatever was there."""
        view = self._views.get((name, shape))
        if view is None:
            size = int(np.prod(shape))
            if name not in self._buffers or self._buffers[name].size < size:
                self._views = {key: value for key, value in self._views.items() if key[0] != name}
                self._buffers[name] = np.zeros(size, dtype)
            view = self._views[name, shape] = Value(self._buffers[name][:size].reshape(shape))
        return view

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return sum(buffer.nbytes for buffer in self._buffers.values())
