"""The baseline in stock onnxruntime: backpropagation by a step that onnxsim compiled.

Shape letters: N samples, I inputs, C classes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ffedge.compare.backprop_graph import StepGraph, compiled, parameters
from ffedge.engine.session import Kernel, Value
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.seeds import Draw, generator
from ffedge.spec import ADAM_DECAYS, MOMENTS, Optimizer

Array = NDArray[Any]


class BackpropOnnx:
    """An MLP with ReLU and its optimiser; the methods are those of `ffedge.reference.backprop.Backprop`.

    Weights begin as He et al. (2015) draw them for ReLU: uniform over +-sqrt(6 / inputs of the layer).

    Parameters
    ----------
    batch_size : rows of a batch, which a shorter one is padded to.
    in_place : run the graph as onnxsim wrote it (all gradients, then all updates), so that weights and moments need no
        second buffer, once a trial on a narrow network of the same depth has shown that this computes the same. Else
        onnxruntime optimises the graph and updates into second buffers, which change places with the first.

    Attributes
    ----------
    saved_bytes : values of the forward pass that the backward pass reads.

    Raises
    ------
    FfedgeError
        onnxsim is not installed, or this onnxruntime does not allow updates in place.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        facts: InputFacts,
        *,
        optimizer: Optimizer,
        rate: float,
        batch_size: int,
        seed: int,
        threads: int,
        in_place: bool = False,
    ) -> None:
        self.sizes, self.optimizer, self.in_place = (facts.size, *widths, facts.n_classes), optimizer, in_place
        graph, trial = compiled(self.sizes, batch_size, optimizer)
        if in_place and not _agree(trial):
            raise FfedgeError(
                "backprop in onnxruntime, in place: this onnxruntime computes something else then. Leave the arm out"
            )
        self.saved_bytes = graph.saved_bytes
        self._offset, self._scale = (np.asarray(v, np.float32) for v in (facts.offset, facts.scale))
        self._forward = Kernel(graph.forward, threads)
        self._step = _Step(graph, threads, in_place=self.in_place)
        for i, inputs in enumerate(self.sizes[:-1]):
            weights = self._step.state[f"W{i}"].array
            generator(seed, Draw.WEIGHTS, i).random(out=weights, dtype=np.float32)
            weights -= 0.5
            weights *= 2.0 * math.sqrt(6.0 / inputs)
        self._rate = rate

    def learn(self, raw: Array, labels: NDArray[np.int64], share: float = 1.0) -> float:
        """Take one step on a batch [N, I], no longer than the others, with a share of the rate; return the loss."""
        n, feeds = len(raw), self._step.feeds
        x, y, weight = (feeds[name].array for name in ("x", "y", "weight"))
        x[:n] = (raw - self._offset) * self._scale
        y[...] = 0.0
        y[np.arange(n), labels] = 1.0
        weight[:n], weight[n:] = 1.0 / n, 0.0  # rows left over from the batch before weigh nothing
        return self._step.run(self._rate * share)

    def predict(self, raw: Array) -> NDArray[np.int64]:
        """Return the label [N] of each row [N, I]."""
        x, label = Value((raw - self._offset) * self._scale), Value(np.zeros(len(raw), np.int64))
        values = {"x": x} | self._step.state
        self._forward.run({name: values[name].ort for name in self._forward.inputs}, {"label": label.ort})
        return label.array

    def weights(self) -> dict[str, Array]:
        """Return the weights by name, not copied."""
        return {name: self._step.state[name].array for name in parameters(self.sizes)}

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(array.nbytes for array in self.weights().values())

    @property
    def moment_bytes(self) -> int:
        """Bytes of the optimiser's moments."""
        return self.weight_bytes * len(MOMENTS[self.optimizer])

    @property
    def buffer_bytes(self) -> int:
        """Bytes of a batch as the graph reads it, and of second buffers of weights and moments."""
        batch = sum(value.array.nbytes for value in self._step.feeds.values())
        return batch + (0 if self.in_place else self.weight_bytes + self.moment_bytes)


class _Step:
    """A compiled step with the values that it reads and writes."""

    def __init__(self, graph: StepGraph, threads: int, *, in_place: bool) -> None:
        self._kernel = OrderedKernel(graph.step, threads) if in_place else Kernel(graph.step, threads)
        self._names = graph.state
        values = {v.name: Value(np.zeros(v.shape, np.float32)) for v in self._kernel.session.get_inputs()}
        self.state = {name: values.pop(name) for name in graph.state}
        self.feeds = values
        self._spare = None if in_place else {n: Value(np.empty_like(v.array)) for n, v in self.state.items()}
        self._loss, self._done = Value(np.zeros((), np.float32)), 0

    def run(self, rate: float) -> float:
        """Take a step; return the loss."""
        self._done += 1
        self.feeds["lr"].array[...] = rate
        if "m_correction" in self.feeds:
            for name, decay in zip(("m_correction", "v_correction"), ADAM_DECAYS, strict=True):
                self.feeds[name].array[...] = 1.0 / (1.0 - decay**self._done)
        into = self.state if self._spare is None else self._spare
        outputs = {self._names[name]: value.ort for name, value in into.items()} | {"loss": self._loss.ort}
        self._kernel.run({n: v.ort for n, v in (self.state | self.feeds).items()}, outputs)
        if self._spare is not None:
            self.state, self._spare = self._spare, self.state
        return float(self._loss.array)


class OrderedKernel:
    """As `Kernel`, but its nodes run as they stand in the graph, unoptimised."""

    def __init__(self, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, ort.OrtValue], outputs: Mapping[str, ort.OrtValue]) -> None:
        """Run once."""
        binding = self.session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        self.session.run_with_iobinding(binding)


def _agree(graph: StepGraph) -> bool:
    """Try steps with one buffer for each weight's input and output against optimised ones with two."""
    found = []
    for in_place in (True, False):
        rng, step = np.random.default_rng(0), _Step(graph, 1, in_place=in_place)
        for name in sorted(step.state | step.feeds):
            array = (step.state | step.feeds)[name].array
            array[...] = rng.random(array.shape, dtype=np.float32)
        for _ in range(2):
            step.run(0.1)
        found.append(step.state)
    once, twice = found
    return all(np.allclose(once[name].array, twice[name].array, rtol=1e-4, atol=1e-5) for name in once)
