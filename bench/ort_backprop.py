"""The baseline in stock onnxruntime: backpropagation by a step that onnxsim compiled.

Shape letters: N samples, I inputs, C classes.
"""

import math
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from ort_graph import StepGraph, compiled, parameters

from ffedge.compare.arms import Arm
from ffedge.engine.session import Kernel, Value
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.recipe import Train
from ffedge.rule.optimizer import ADAM_DECAYS, MOMENTS
from ffedge.seeds import Draw, generator

Array = NDArray[Any]


def build(arm: Arm, widths: tuple[int, ...], facts: InputFacts, rate: float, train: Train) -> "BackpropOnnx":
    """Return an arm's network."""
    return BackpropOnnx(arm, widths, facts, rate, train)


class BackpropOnnx:
    """An MLP with ReLU and its optimiser; the methods are those of `ffedge.compare.backprop.Backprop`.

    Weights begin as He et al. (2015) draw them for ReLU: uniform over +-sqrt(6 / inputs of the layer). Batches that are
    shorter than ``train.batch_size`` are padded. With the form ``inplace`` the graph runs as onnxsim wrote it (all
    gradients, then all updates), so that weights and moments need no second buffer, once a trial on a narrow network of
    the same depth has shown that this computes the same. Else onnxruntime optimises the graph and updates into second
    buffers, which change places with the first.

    Raises
    ------
    FfedgeError
        onnxsim is not installed, or this onnxruntime does not allow updates in place.
    """

    unknown: ClassVar = {"gradients": "onnxruntime decides when it frees a gradient; the graph names none that stays"}
    seconds = None

    def __init__(self, arm: Arm, widths: tuple[int, ...], facts: InputFacts, rate: float, train: Train) -> None:
        self.sizes, self.optimizer = (facts.size, *widths, facts.n_classes), arm.optimizer
        self.in_place, batch_size, threads = arm.form == "inplace", train.batch_size, train.threads
        graph, trial = compiled(self.sizes, batch_size, arm.optimizer)
        if self.in_place and not _agree(trial):
            raise FfedgeError(
                "backprop in onnxruntime, in place: this onnxruntime computes something else then. Leave the arm out"
            )
        self.saved_bytes = graph.saved_bytes
        self._offset, self._scale = (np.asarray(v, np.float32) for v in (facts.offset, facts.scale))
        self._forward = Kernel(graph.forward, threads)
        self._step = _Step(graph, threads, in_place=self.in_place)
        for i, inputs in enumerate(self.sizes[:-1]):
            weights = self._step.state[f"W{i}"].array
            generator(train.seed, Draw.WEIGHTS, i).random(out=weights, dtype=np.float32)
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
        self._forward.run(values, {"label": label})
        return label.array

    def weights(self) -> dict[str, Array]:
        """Return the weights by name, not copied."""
        return {name: self._step.state[name].array for name in parameters(self.sizes)}

    def counted(self) -> dict[str, int | None]:
        """Return bytes by name; the buffers are a batch as the graph reads it, and second weights and moments."""
        weights = sum(array.nbytes for array in self.weights().values())
        moments, batch = weights * len(MOMENTS[self.optimizer]), sum(v.array.nbytes for v in self._step.feeds.values())
        buffers = batch + (0 if self.in_place else weights + moments)
        return {
            "weights": weights,
            "gradients": None,
            "moments": moments,
            "saved_for_backward": self.saved_bytes,
            "buffers": buffers,
        }


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
        outputs = {self._names[name]: value for name, value in into.items()} | {"loss": self._loss}
        self._kernel.run(self.state | self.feeds, outputs)
        if self._spare is not None:
            self.state, self._spare = self._spare, self.state
        return float(self._loss.array)


class OrderedKernel(Kernel):
    """As `Kernel`, but its nodes run as they stand in the graph, unoptimised."""

    def __init__(self, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(value.name for value in self.session.get_inputs())
        self.outputs = tuple(value.name for value in self.session.get_outputs())
        self._binding = self.session.io_binding()


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
