"""The onnx engine: holds a network's state and runs its learning steps in stock onnxruntime.

Shape letters: N samples, I inputs of a sample, M labels tried for each, R = N * M rows, D inputs of a layer, H units,
C classes, K = M - 1 wrong labels.
"""

import copy
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.base import Learned
from ffedge.engine.kernels import SCALARS, Kernels, moments, spared, tiled_of
from ffedge.engine.room import Memory
from ffedge.engine.session import Kernel, Value
from ffedge.engine.trial import updates_in_place
from ffedge.layers.base import Layer
from ffedge.network import InputFacts, gathered, layers_of
from ffedge.onnx.graph import Graph
from ffedge.pages import release
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import ADAM_DECAYS, ADAM_EPSILON

Array = NDArray[Any]
ITEM_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Source:
    """What a layer reads: for the first one the input and its product, for others rows [R, D]."""

    samples: int
    values: dict[str, Value]

    def part(self, start: int, stop: int) -> "Source":
        """Return some samples of the first layer's source."""
        parts = {name: value.part(start, stop) for name, value in self.values.items()}
        return Source(min(stop, self.samples) - start, parts)


@dataclass(frozen=True)
class Tile:
    """Some rows of a tiled parameter that are updated at once: their moments (and sum of gradients) too, as views."""

    name: str
    start: int
    stop: int
    values: dict[str, Value]


class OnnxEngine:
    """Training steps of every layer; weights and moments stay where they are and change in place.

    Parameters
    ----------
    state : the parameters of each layer (``W``, ``b``, ``V``, ``gamma``, ``power``, moments ``W.m``, …), used as they
        are; an empty one is placed later.
    folder : where moments are kept that are not kept in memory (`ffedge.recipe.Train.moments`).
    room : where arrays and graphs are; None takes memory.
    """

    def __init__(
        self,
        recipe: Recipe,
        facts: InputFacts,
        state: list[dict[str, Array]],
        folder: Path | None = None,
        room: Memory | None = None,
    ) -> None:
        self.recipe, self._folder = recipe, folder
        self.layers = layers_of(recipe, facts)
        self._tiled, self._spared = [tiled_of(layer) for layer in self.layers], [spared(layer) for layer in self.layers]
        self._room = room or Memory(recipe.train.threads)
        self._graphs, self._loaded = Kernels(recipe, facts), dict[tuple[Any, ...], Kernel]()
        self._state: list[dict[str, Value]] = [{} for _ in state]
        for layer, arrays in enumerate(state):
            self.place(layer, arrays)
        self._tiles: dict[int, list[Tile]] = {}
        self._scalars = {name: self._room.value(np.zeros((), np.float32)) for name in SCALARS}
        labels = 1 + recipe.train.n_negatives
        rows = recipe.network.rows_a_sample(labels)
        self.in_place = not self._room.runs or updates_in_place(
            self._trial_kernels(), labels, rows, spared(self.layers[0])
        )

    def beside(self, threads: int) -> "OnnxEngine":
        """Return an engine of the same state with buffers and graphs of its own, so that two layers can run at once."""
        other = copy.copy(self)
        other._room, other._loaded = Memory(threads), {}
        other._scalars = {name: other._room.value(np.zeros((), np.float32)) for name in SCALARS}
        return other

    def state(self) -> list[dict[str, Array]]:
        """Return the parameters and moments of each layer by name, not copied."""
        return [{n: value.array for n, value in layer.items() if not n.startswith("sum.")} for layer in self._state]

    def place(self, layer: int, arrays: dict[str, Array]) -> None:
        """Take a layer's parameters from these arrays, which may be views of a file: its pages are given back."""
        self._state[layer] = {name: self._room.value(array) for name, array in arrays.items()}

    def begin(self, layers: list[int], *, chunked: bool) -> None:
        """Make the layers that learn next writable, with their moments (and gradients' sums); those there stay."""
        for i in layers:
            state, layer = self._state[i], self.layers[i]
            for name, value in state.items():
                if not value.array.flags.writeable:
                    place = self._zeros(layer, name, value.array.shape)
                    self._room.copy(value.array, place)
                    state[name] = self._room.value(place)
            sums = {f"sum.{name}": shape for name, shape in gathered(self.recipe, layer).items()} if chunked else {}
            for name, shape in (moments(self.recipe, layer) | sums).items():
                if name not in state:
                    state[name] = self._room.value(self._zeros(layer, name, shape))
            self._tiles[i] = [tile for name in tiled_of(layer) for tile in self._cut(i, name)]

    def finish(self, layers: list[int]) -> None:
        """Free what only learning needs."""
        for i in layers:
            self._tiles.pop(i, None)
            for name in [n for n in self._state[i] if "." in n]:
                del self._state[i][name]

    @property
    def learning_bytes(self) -> int:
        """Memory of the layers that learn: weights, moments and sums; of what is kept on disk, a tile's."""
        tile = self.recipe.train.tile_bytes
        return sum(
            min(value.array.nbytes, tile) if self._on_disk(self.layers[i], name) else value.array.nbytes
            for i in self._tiles
            for name, value in self._state[i].items()
        )

    def _on_disk(self, layer: Layer, name: str) -> bool:
        """Say whether a part of the state stands in a file: moments and sums of a tiled parameter may."""
        beside = "." in name and any(part in tiled_of(layer) for part in name.split("."))
        return beside and self._folder is not None and self.recipe.train.moments == "file"

    def _zeros(self, layer: Layer, name: str, shape: tuple[int, ...]) -> Array:
        return self._room.zeros(shape, self._folder if self._on_disk(layer, name) else None)

    def _cut(self, index: int, name: str) -> list[Tile]:
        """Cut a tiled parameter into tiles of `tile_bytes` at most, of nearly the same number of rows."""
        state, total = self._state[index], self._state[index][name].array
        parts = {n: state[n] for n in (name, f"{name}.m", f"{name}.v", f"sum.{name}") if n in state}
        count = -(-ITEM_BYTES * total.size // self.recipe.train.tile_bytes)
        rows = -(-len(total) // min(count, len(total)))
        cuts = [(start, min(start + rows, len(total))) for start in range(0, len(total), rows)]
        return [Tile(name, *cut, {n: value.part(*cut) for n, value in parts.items()}) for cut in cuts]

    def product(self, raw: Array, mask: Array | None) -> Source:
        """Scale raw inputs [N, I], drop those whose uint8 mask [N, D] is 0, and multiply with the first layer's W."""
        first, n = self.layers[0], len(raw)
        outputs = {"x": self._room.buffer("x", (n, first.place.inputs))}
        if first.place.shares:
            outputs["z"] = self._room.buffer("z", (n, first.units))
        if self.recipe.network.value_varies:
            outputs["value"] = self._room.buffer("value", (n, 1, 1))
        inputs = {"raw": self._room.value(raw)} | ({} if mask is None else {"mask": self._room.value(mask)})
        self._run(self._kernel(self._graphs.product, 0, dropout=mask is not None), inputs, outputs, layer=0)
        return Source(n, outputs)

    def source(self, rows: Array, samples: int) -> Source:
        """Return what a further layer reads, from rows [R, D] that an earlier one made."""
        return Source(samples, {"x": self._room.value(rows)})

    def rows(self, source: Source) -> Array:
        """Return the rows [R, D] of a further layer's source."""
        return source.values["x"].array

    def forward(self, layer: int, source: Source, labels: Array | None) -> tuple[Source, Array]:
        """Run a layer for labels [N, M] (None: all C); return the next layer's source and goodness [N, M]."""
        here, n, network = self.layers[layer], source.samples, self.recipe.network
        tried = here.place.classes if labels is None or not network.tries_labels else labels.shape[1]
        outputs = self._rows(layer, n * network.rows_a_sample(tried)) | self._goodness(n, tried)
        kernel = self._kernel(self._graphs.forward, layer, all_labels=layer == 0 and labels is None)
        self._run(kernel, source.values | self._labels(here, labels, n), outputs, layer)
        goodness = outputs["g"].array.reshape(n, tried)
        if labels is not None and not network.tries_labels:
            goodness = np.take_along_axis(goodness, labels, 1)
        return Source(n, {"x": outputs["rows"]}), goodness.copy()

    def first_goodness(self, source: Source) -> Array:
        """Return the first layer's goodness [N, C] of every class; nothing is made for the layer after it."""
        classes, n = self.layers[0].place.classes, source.samples
        outputs = self._goodness(n, classes)
        kernel = self._kernel(self._graphs.forward, 0, all_labels=True, emit_rows=False)
        self._run(kernel, source.values, outputs, layer=0)
        return outputs["g"].array.reshape(n, classes).copy()

    def learn(
        self,
        layer: int,
        source: Source,
        labels: Array,
        other: Array,
        *,
        batch: int,
        step: int,
        rate: float,
        emit: bool,
        weights: Array | None = None,
    ) -> Learned:
        """Take one learning step, or, where a batch comes in chunks (batch > N), add to the gradients' sums.

        Parameters
        ----------
        labels : [N, M] int64, the true one first.
        other : [N, M] the other layers' weighted goodness (eq. 5); unused by ff.
        batch : samples of the whole batch, over which the loss is averaged.
        step : updates of this layer before this one.
        rate : learning rate in force.
        emit : whether the next layer learns from the same batch.
        weights : [N] float32 of the samples in the loss; None: all count alike.
        """
        here, n, whole = self.layers[layer], source.samples, batch == source.samples
        outputs = {"g": self._room.buffer("g", labels.shape), "loss": self._room.buffer("loss", ())}
        rows = {"N": n, "R": n * self.recipe.network.rows_a_sample(labels.shape[1])}
        if self._tiles[layer]:
            dims = tuple(rows[size] if isinstance(size, str) else size for size in here.dz_dims())
            outputs["dz"] = self._room.buffer("dz", dims)
        outputs |= self._rows(layer, rows["R"]) if emit else {}
        self._set_scalars(step, rate, batch)
        inputs = source.values | self._labels(here, labels, n) | self._scalars | {"other": self._room.value(other)}
        weighted = {} if weights is None else {"weighted": True}
        if weights is not None:
            inputs["weight"] = self._room.value(np.ascontiguousarray(weights, np.float32).reshape(-1, 1))
        kernel = self._kernel(self._graphs.learn, layer, emit_rows=emit, accumulate=not whole, **weighted)
        self._run(kernel, inputs, outputs, layer)
        for tile in self._tiles[layer]:
            parts = {"x": self._columns(source.values["x"], tile), "dz": outputs["dz"]}
            kernel = self._kernel(self._graphs.tile, layer, tile.name, accumulate=not whole)
            self._run_tile(kernel, tile, parts)
        following = Source(n, {"x": outputs["rows"]}) if emit else None
        return Learned(following, outputs["g"].array.copy(), float(outputs["loss"].array))

    def apply(self, layer: int, *, step: int, rate: float) -> None:
        """Step with the gradients' sums, and clear them."""
        self._set_scalars(step, rate, 1)
        self._run(self._kernel(self._graphs.apply, layer), self._scalars, {}, layer)
        for tile in self._tiles[layer]:
            self._run_tile(self._kernel(self._graphs.tile_apply, layer, tile.name), tile, {})
            self._room.clear(tile.values[f"sum.{tile.name}"].array)
        tiled = {f"sum.{tile.name}" for tile in self._tiles[layer]}
        for name, value in self._state[layer].items():
            if name.startswith("sum.") and name not in tiled:
                self._room.clear(value.array)

    @property
    def buffer_bytes(self) -> int:
        """Memory of inputs, rows and results that stays between steps."""
        return self._room.buffer_bytes

    def _rows(self, layer: int, rows: int) -> dict[str, Value]:
        # two buffers take turns, so that a layer never writes where it reads
        return {"rows": self._room.buffer(f"rows.{layer % 2}", (rows, self.layers[layer].passes))}

    def _goodness(self, samples: int, tried: int) -> dict[str, Value]:
        """Return where a forward pass puts goodness."""
        shape = (samples * tried,) if self.recipe.network.tries_labels else (samples, tried)
        return {"g": self._room.buffer("g.flat", shape)}

    def _labels(self, layer: Layer, labels: Array | None, samples: int) -> dict[str, Value]:
        if self.recipe.network.tries_labels and not layer.place.sees_label:
            return {}
        if labels is None:
            labels = np.tile(np.arange(layer.place.classes, dtype=np.int64), (samples, 1))
        whole = layer.place.index == 0 or not self.recipe.network.tries_labels
        return {"labels": self._room.value(np.ascontiguousarray(labels if whole else labels.reshape(-1)))}

    def _kernel(self, build: Callable[..., Graph], layer: int, *parameter: str, **flags: bool) -> Kernel:
        key = (build.__name__, layer, parameter, *flags.items())
        if key not in self._loaded:
            self._loaded[key] = self._room.kernel(build(self.layers[layer], *parameter, **flags))
        return self._loaded[key]

    def _trial_kernels(self) -> list[Kernel]:
        """Return the graphs of the first layer's learning step."""
        train, graphs, tiled = self.recipe.train, self._graphs, tiled_of(self.layers[0])
        emit, chunked = train.schedule == "interleaved" and len(self.layers) > 1, train.batch_size > train.chunk_size
        kernels, weighted = [], {"weighted": True} if train.class_weight != "none" else {}
        for accumulate in (False, True) if chunked else (False,):
            kernels.append(self._kernel(graphs.learn, 0, emit_rows=emit, accumulate=accumulate, **weighted))
            kernels += [self._kernel(graphs.tile, 0, name, accumulate=accumulate) for name in tiled]
        if chunked:
            kernels += [self._kernel(graphs.apply, 0), *(self._kernel(graphs.tile_apply, 0, name) for name in tiled)]
        return kernels

    def _set_scalars(self, step: int, rate: float, batch: int) -> None:
        train, rule = self.recipe.train, self.recipe.rule
        values = {"share": 1.0 / batch, "keep": 1.0 - rate * train.weight_decay, "rate": rate}
        values["gamma.rate"] = rule.gamma_rate
        for prefix, kind, first in (
            ("", train.optimizer, train.momentum),
            ("gamma.", rule.gamma_optimizer, ADAM_DECAYS[0]),
        ):
            if kind == "adam":  # the bias correction of both moments, taken into rate and epsilon
                second = math.sqrt(1.0 - ADAM_DECAYS[1] ** (step + 1))
                values[f"{prefix}rate"] *= second / (1.0 - first ** (step + 1))
                values[f"{prefix}epsilon"] = ADAM_EPSILON * second
        values["decaying.rate"] = values["rate"] / values["keep"]
        for name, value in values.items():
            self._scalars[name].array[...] = value

    def _columns(self, x: Value, tile: Tile) -> Value:
        """Return the columns of x that a tile's gradient needs."""
        if tile.stop - tile.start == x.array.shape[1]:
            return x
        part = self._room.buffer("x.tile", (len(x.array), tile.stop - tile.start))
        self._room.copy_part(x.array[:, tile.start : tile.stop], part.array)
        return part

    def _run(self, kernel: Kernel, inputs: Mapping[str, Value], outputs: Mapping[str, Value], layer: int) -> None:
        state = self._state[layer]
        self._run_on(state, kernel, inputs, outputs, self._spared[layer])
        for name in self._tiled[layer] if state else ():
            release(state[name].array)

    def _run_tile(self, kernel: Kernel, tile: Tile, inputs: dict[str, Value]) -> None:
        self._run_on(tile.values, kernel, inputs | self._scalars, {})
        for value in tile.values.values():
            release(value.array)

    def _run_on(
        self,
        state: dict[str, Value],
        kernel: Kernel,
        inputs: Mapping[str, Value],
        outputs: Mapping[str, Value],
        spared: Container[str] = (),
    ) -> None:
        """Run a kernel; ``new.p`` goes into p's own buffer, or into a spare one and from there into p's."""
        fresh = {name: state[name.removeprefix("new.")] for name in kernel.outputs if name.startswith("new.")}
        given = {
            name: value
            if self.in_place and value.array.ndim and name not in spared
            else self._room.buffer(f"spare.{name}", value.array.shape)
            for name, value in fresh.items()
        }
        kernel.run({**state, **inputs}, {**outputs, **given})
        for name, value in fresh.items():
            if given[name] is not value:
                self._room.copy_part(given[name].array, value.array)
