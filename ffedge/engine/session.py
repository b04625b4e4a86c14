"""onnxruntime sessions with a small footprint, and the values that they read and write."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError
from ffedge.turns import RUNS

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # which else keeps a database in the user's cache, and takes 2 MiB
try:
    import onnxruntime as ort
except ImportError as error:
    from ffedge.engine.missing import missing

    raise missing(error) from error

Array = NDArray[Any]
ARENA_BYTES = 2**26
CPU = "CPUExecutionProvider"


def make_session(
    model: bytes,
    threads: int = 0,
    weights: Mapping[str, Array] | None = None,
    *,
    blocked: bool = True,
    provider: str = CPU,
) -> ort.InferenceSession:
    """Load a model that ffedge wrote, never one as it stands in a file.

    All sessions share one arena, as they take turns: what one's temporaries leave, the next one's use. Spinning is off:
    the idle threads of one would take the cores from the next (3.5 times slower on 2 cores).

    Parameters
    ----------
    threads : 0 takes all cores.
    weights : the arrays that the model's graph leaves out (`ffedge.onnx.graph.Graph.weights`).
    blocked : whether pictures may be laid in blocks of channels: quicker where weights stand, but a copy where not.
    provider : what runs it, by onnxruntime's own name (`provider_named`); the CPU runs what it does not take.
    """
    _share_arena()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    if not blocked:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever its first bytes look like
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C")) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    with RUNS:
        return ort.InferenceSession(model, options, providers=list(dict.fromkeys([provider, CPU])))


def provider_named(name: str) -> str:
    """Return onnxruntime's own name of a provider (an engine for one kind of hardware), from a short one such as cuda.

    Raises
    ------
    FfedgeError
        This onnxruntime has no such provider.
    """
    names: list[str] = ort.get_available_providers()
    short = {own.removesuffix("ExecutionProvider").lower(): own for own in names}
    short.pop("azure", None)  # which sends rows away
    if name.lower() not in short:
        found = ", ".join(sorted(short))
        raise FfedgeError(f"`provider='{name}'`: this onnxruntime has {found}. Use one of these, or install another")
    return short[name.lower()]


def run(session: ort.InferenceSession, names: list[str], inputs: Mapping[str, Array]) -> list[Array]:
    """Return the outputs of these names; many threads may run one session at once."""
    with RUNS:
        return list(session.run(names, dict(inputs)))


@functools.cache
def _share_arena() -> None:
    """Give the process one arena, in one piece so that it can fill its gaps; only what is touched takes memory."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    settings = {"max_mem": 0, "arena_extend_strategy": 0, "initial_chunk_size_bytes": ARENA_BYTES}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(settings | {"max_dead_bytes_per_chunk": 2**18}))


class Kernel:
    """A session whose inputs and outputs are bound by name to values that already have their memory; of one thread."""

    def __init__(self, model: bytes, threads: int) -> None:
        self.session = make_session(model, threads, blocked=False)
        self.inputs = tuple(value.name for value in self.session.get_inputs())
        self.outputs = tuple(value.name for value in self.session.get_outputs())
        self._binding = self.session.io_binding()

    def run(self, inputs: Mapping[str, "Value"], outputs: Mapping[str, "Value"]) -> None:
        """Run once; each mapping holds at least the names that the graph declares."""
        binding = self._binding
        for name in self.inputs:
            binding.bind_ortvalue_input(name, inputs[name].ort)
        for name in self.outputs:
            binding.bind_ortvalue_output(name, outputs[name].ort)
        with RUNS:
            self.session.run_with_iobinding(binding)
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()


class Value:
    """A numpy array and the onnxruntime value that shares its memory."""

    __slots__ = ("array", "ort")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.ort = ort.OrtValue.ortvalue_from_numpy(array)

    def part(self, start: int, stop: int) -> "Value":
        """Return some rows, in the same memory."""
        rows = self.array[start:stop]
        return Value.without_memory(rows) if self.ort is None else Value(rows)

    @classmethod
    def without_memory(cls, array: Array) -> "Value":
        """Return a value that no graph can read or write."""
        value = cls.__new__(cls)
        value.array, value.ort = array, None
        return value
