"""What the onnx engine takes in memory, asked of the engine itself: it runs on arrays and graphs that are only counted.

Shape letters: N samples.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.onnx import OnnxEngine
from ffedge.engine.room import Memory
from ffedge.engine.session import Kernel, Value
from ffedge.network import InputFacts, layers_of, parameter_sizes, trained
from ffedge.onnx.graph import Graph
from ffedge.onnx.memory import most_alive
from ffedge.recipe import Recipe

Array = NDArray[Any]


def needs(recipe: Recipe, facts: InputFacts, samples: int, evaluated: int, tried: int, folder: Path) -> dict[str, int]:
    """Return what the engine takes in memory for chunks of some samples.

    Parameters
    ----------
    evaluated : samples whose accuracy is measured at once.
    tried : samples for which every class is tried at once.
    folder : stands for where moments may be kept.

    Returns
    -------
    dict
        ``graphs`` (a count); bytes of ``state`` (of the layers that learn at once), ``resting`` (of the largest layer
        beside them), ``buffers`` and ``temporaries``.
    """
    room, layers, train = Count(), layers_of(recipe, facts), recipe.train
    gamma = {"gamma": nothing(())} if recipe.rule.variant != "ff" else {}
    weights = [
        gamma | {name: nothing(dims) for name, dims in (parameter_sizes(layer) | trained(recipe, layer)).items()}
        for layer in layers
    ]
    engine = OnnxEngine(recipe, facts, weights, folder, room)
    n, chunked, greedy = min(samples, train.batch_size), samples < train.batch_size, train.schedule == "greedy"
    labels = np.zeros((n, 1 + train.n_negatives), np.int64)
    counted = None if train.class_weight == "none" else np.zeros(n, np.float32)
    mask = nothing((n, layers[0].place.inputs)) if train.input_dropout else None
    source = first = engine.product(nothing((n, facts.size)), mask)
    state = 0
    draws = train.negatives == "hard" and recipe.network.tries_labels
    for stage in [[i] for i in range(len(layers))] if greedy else [list(range(len(layers)))]:
        engine.begin(stage, chunked=chunked)
        state = max(state, engine.learning_bytes)
        for i in stage:
            last, other = i == len(layers) - 1, nothing(labels.shape)
            emit = not greedy and not last
            for batch in {n + chunked, n}:  # an epoch's last batch may be one chunk
                how: Any = {"batch": batch, "step": 0, "rate": 0.0, "emit": emit, "weights": counted}
                learned = engine.learn(i, source, labels, other, **how)
            source = learned.source if emit else source if last else engine.forward(i, source, labels)[0]
            if chunked:
                engine.apply(i, step=0, rate=0.0)
        engine.finish(stage)
        ahead = first
        for i in range(max(recipe.listens_ahead(stage), default=-1) + 1):
            ahead, _ = engine.forward(i, ahead, labels)
    most = max(n, evaluated)
    part = engine.product(nothing((most, facts.size)), None).part(0, min(most, tried))
    if greedy or draws or len(layers) == 1:
        engine.first_goodness(part)
    for i in range(len(layers)) if len(layers) > 1 else ():
        part, _ = engine.forward(i, part, None)
    resting = [sum(array.nbytes for array in arrays.values()) for arrays in weights] if greedy else []
    return {
        "graphs": room.graphs,
        "state": state,
        "resting": max(resting, default=0),
        "buffers": room.buffer_bytes,
        "temporaries": room.temporaries,
    }


class Count(Memory):
    """Arrays that take no memory and graphs that do not run; what they would take is counted.

    Nothing in it refers back to it, so that all of it is freed at once: a plan makes hundreds.
    """

    runs: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(threads=1)
        self._counted: list[_Counted] = []

    @property
    def temporaries(self) -> int:
        """The most bytes that any graph holds while it runs."""
        return max((graph.temporaries for graph in self._counted), default=0)

    def value(self, array: Array) -> Value:  # noqa: D102
        return Value.without_memory(array)

    def buffer(self, name: str, shape: tuple[int, ...]) -> Value:  # noqa: D102
        array = nothing(shape)
        if name not in self._buffers or self._buffers[name].size < array.size:
            self._buffers[name] = array
        return Value.without_memory(array)

    def zeros(self, shape: tuple[int, ...], folder: Path | None) -> Array:  # noqa: D102
        return nothing(shape)

    def copy(self, source: Array, target: Array) -> None:  # noqa: D102
        assert source.shape == target.shape

    copy_part = copy

    def clear(self, array: Array) -> None:  # noqa: D102
        pass

    def _loaded(self, graph: Graph, content: bytes) -> Kernel:
        self._counted.append(_Counted(graph))
        return self._counted[-1]


class _Counted(Kernel):
    """A graph that only tells what it would take."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self.temporaries = graph, 0
        self.inputs, self.outputs = tuple(graph.inputs), tuple(graph.outputs)
        self._sizes: set[tuple[tuple[str, int], ...]] = set()

    def run(self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> None:
        """Bind the symbols of its inputs and outputs, and count; ValueError where they do not agree."""
        symbols: dict[str, int] = {}
        for values, ports in ((inputs, self._graph.inputs), (outputs, self._graph.outputs)):
            for name, port in ports.items():
                for dim, size in zip(port.dims, values[name].array.shape, strict=True):
                    if (symbols.setdefault(dim, size) if isinstance(dim, str) else dim) != size:
                        raise ValueError(f"{name} has {size} for {dim} of graph {self._graph.name}")
        sizes = tuple(sorted(symbols.items()))
        if sizes not in self._sizes:
            self._sizes.add(sizes)
            self.temporaries = max(self.temporaries, most_alive(self._graph, symbols))


def nothing(shape: tuple[int, ...]) -> Array:
    """Return an array of a shape that takes no memory and cannot be written."""
    return np.broadcast_to(np.float32(0), shape)
