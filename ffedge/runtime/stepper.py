"""The onnx engine: holds a network's state and runs its learning steps in stock onnxruntime.

Shape letters: N samples, I inputs of a sample, M labels tried for each, R = N * M rows, D inputs of a layer, H units,
C classes, K = M - 1 wrong labels.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError
from ffedge.network import InputFacts, LayerShape, Learned, gathered, layer_shapes, trained
from ffedge.pages import copy, on_disk, release
from ffedge.recipe import Recipe
from ffedge.runtime.kernels import Build, KernelKey, Kernels, trial_keys, updates_in_place
from ffedge.runtime.session import Kernel, Value, Workspace
from ffedge.spec import ADAM_DECAYS, ADAM_EPSILON, ITEM_BYTES, MOMENTS

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """What a layer reads: for the first one the input and its product, for others rows [R, D]."""

    samples: int
    values: dict[str, Value]

    def part(self, start: int, stop: int) -> "Source":
        """Return some samples of the first layer's source."""
        parts = {name: Value(value.array[start:stop]) for name, value in self.values.items()}
        return Source(min(stop, self.samples) - start, parts)


@dataclass(frozen=True)
class Tile:
    """Some rows of a layer's W that are updated at once: their moments (and sum of gradients) too, as views."""

    start: int
    stop: int
    values: dict[str, Value]


class OnnxEngine:
    """Training steps of every layer; weights and moments stay where they are and change in place.

    Parameters
    ----------
    recipe : resolved.
    build : makes a graph's bytes for a key.
    state : the parameters of each layer (``W``, ``b``, ``V``, ``gamma``, ``power``, moments ``W.m``, …), used as they
        are; an empty one is placed later.
    folder : where moments are kept that are not kept in memory (`TrainSpec.moments`).
    trials : the graphs on which updates in place are tried; None takes small ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        facts: InputFacts,
        build: Build,
        state: list[dict[str, Array]],
        folder: Path | None = None,
        trials: tuple[KernelKey, ...] | None = None,
    ) -> None:
        self.recipe, self._folder = recipe, folder
        self.shapes = layer_shapes(recipe, facts)
        self._kernels = Kernels(build, recipe.train.threads)
        self.in_place = updates_in_place(build, trials or trial_keys(self.shapes[-1]))
        self._state = [{name: Value(array) for name, array in layer.items()} for layer in state]
        self._tiles: dict[int, list[Tile]] = {}
        self._work = Workspace()
        self._scalars = {
            name: Value(np.zeros((), np.float32))
            for name in ("rate", "decaying.rate", "epsilon", "keep", "gamma.rate", "gamma.epsilon", "share")
        }

    def state(self) -> list[dict[str, Array]]:
        """Return the parameters and moments of each layer by name, not copied."""
        return [
            {name: value.array for name, value in layer.items() if not name.startswith("sum.")} for layer in self._state
        ]

    def place(self, layer: int, arrays: dict[str, Array]) -> None:
        """Take a layer's parameters from these arrays, which may be views of a file: its pages are given back."""
        self._state[layer] = {name: Value(array) for name, array in arrays.items()}

    def begin(self, layers: list[int], *, chunked: bool) -> None:
        """Make the layers that learn next writable, with their moments (and gradients' sums); those there stay."""
        for i in layers:
            state = self._state[i]
            for name, value in state.items():
                if not value.array.flags.writeable:
                    room = self._room(name, value.array.shape)
                    copy(value.array, room)
                    state[name] = Value(room)
            for name, shape in trained(self.recipe, self.shapes[i]).items():
                for part in (f"{name}.{m}" for m in MOMENTS[self.recipe.optimizer_of(name)]):
                    if part not in state:
                        state[part] = Value(self._room(part, shape))
            for name, shape in gathered(self.recipe, self.shapes[i]).items() if chunked else ():
                if f"sum.{name}" not in state:
                    state[f"sum.{name}"] = Value(self._room(f"sum.{name}", shape))
            self._tiles[i] = self._cut(i)

    def finish(self, layers: list[int]) -> None:
        """Free what only learning needs."""
        for i in layers:
            self._tiles.pop(i, None)
            for name in [n for n in self._state[i] if "." in n]:
                del self._state[i][name]

    def _room(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return zeros: on disk for what stands beside W where the plan says so, else in memory."""
        if self._folder is not None and self.recipe.train.moments == "file" and name in ("W.m", "W.v", "sum.W"):
            try:
                return on_disk(shape, self._folder)
            except OSError as error:
                why = error.strerror or str(error)
                remedy = "Free space, or use --moments memory"
                raise FfedgeError(f"{self._folder}: moments cannot be written ({why}). {remedy}") from error
        return np.zeros(shape, np.float32)

    def _cut(self, layer: int) -> list[Tile]:
        """Cut W into tiles of `tile_bytes` at most, of nearly the same number of rows."""
        shape = self.shapes[layer]
        parts = {n: self._state[layer][n].array for n in ("W", "W.m", "W.v", "sum.W") if n in self._state[layer]}
        count = -(-ITEM_BYTES * shape.inputs * shape.units // int(self.recipe.train.tile_bytes))
        rows = -(-shape.inputs // min(count, shape.inputs))
        return [
            Tile(start, stop, {name: Value(array[start:stop]) for name, array in parts.items()})
            for start in range(0, shape.inputs, rows)
            for stop in (min(start + rows, shape.inputs),)
        ]

    def product(self, raw: Array, mask: Array | None) -> Source:
        """Scale raw inputs [N, I], drop those whose uint8 mask [N, D] is 0, and multiply with the first layer's W."""
        shape, n = self.shapes[0], len(raw)
        outputs = {"x": self._work.get("x", (n, shape.inputs)), "z": self._work.get("z", (n, shape.units))}
        if self.recipe.network.input_norm != "none":
            outputs["value"] = self._work.get("value", (n, 1, 1))
        inputs = {"raw": Value(raw)} if mask is None else {"raw": Value(raw), "mask": Value(mask)}
        self._run(self._kernels.get("product", shape, mask is not None), inputs, outputs, layer=0)
        return Source(n, outputs)

    def source(self, rows: Array, samples: int) -> Source:
        """Return what a further layer reads, from rows [R, D] that an earlier one made."""
        return Source(samples, {"x": Value(rows)})

    def rows(self, source: Source) -> Array:
        """Return the rows [R, D] of a further layer's source."""
        return source.values["x"].array

    def forward(self, layer: int, source: Source, labels: Array | None) -> tuple[Source, Array]:
        """Run a layer for labels [N, M] (None: all C); return the next layer's source and goodness [N, M]."""
        shape, n = self.shapes[layer], source.samples
        tried = shape.classes if labels is None else labels.shape[1]
        outputs = self._rows(layer, n * tried) | {"g": self._work.get("g.flat", (n * tried,))}
        kernel = self._kernels.get("forward", shape, shape.first and labels is None)
        self._run(kernel, source.values | self._labels(shape, labels, n), outputs, layer)
        return Source(n, {"x": outputs["rows"]}), outputs["g"].array.reshape(n, tried).copy()

    def first_goodness(self, source: Source) -> Array:
        """Return the first layer's goodness [N, C] of every class; nothing is made for the layer after it."""
        shape, n = self.shapes[0], source.samples
        outputs = {"g": self._work.get("g.flat", (n * shape.classes,))}
        kernel = self._kernels.get("goodness", shape, True)
        self._run(kernel, source.values | self._labels(shape, None, n), outputs, layer=0)
        return outputs["g"].array.reshape(n, shape.classes).copy()

    def learn(
        self, layer: int, source: Source, labels: Array, other: Array, *, batch: int, step: int, rate: float, emit: bool
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
        """
        shape, n = self.shapes[layer], source.samples
        x = source.values["x"].array
        outputs = {"g": self._work.get("g", labels.shape), "loss": self._work.get("loss", ())}
        outputs["dz"] = self._work.get("dz", (len(x), shape.units))
        outputs |= self._rows(layer, labels.size) if emit else {}
        self._set_scalars(step, rate, batch)
        inputs = source.values | self._labels(shape, labels, n) | self._scalars | {"other": Value(other)}
        self._run(self._kernels.get("learn" if batch == n else "accumulate", shape, emit), inputs, outputs, layer)
        for tile in self._tiles[layer]:
            parts = {"x": self._columns(x, tile), "dz": outputs["dz"]}
            self._run_tile("tile" if batch == n else "tile-accumulate", layer, tile, parts)
        following = Source(n, {"x": outputs["rows"]}) if emit else None
        return Learned(following, outputs["g"].array.copy(), float(outputs["loss"].array))

    def apply(self, layer: int, *, step: int, rate: float) -> None:
        """Step with the gradients' sums, and clear them."""
        self._set_scalars(step, rate, 1)
        self._run(self._kernels.get("apply", self.shapes[layer]), self._scalars, {}, layer)
        for tile in self._tiles[layer]:
            self._run_tile("tile-apply", layer, tile, {})
            tile.values["sum.W"].array.fill(0)
        for name, value in self._state[layer].items():
            if name.startswith("sum.") and name != "sum.W":
                value.array.fill(0)

    @property
    def buffer_bytes(self) -> int:
        """Memory of inputs, rows and results that stays between steps."""
        return self._work.size_bytes

    def _rows(self, layer: int, rows: int) -> dict[str, Value]:
        # two buffers take turns, so that a layer never writes where it reads
        return {"rows": self._work.get(f"rows.{layer % 2}", (rows, self.shapes[layer].units))}

    @staticmethod
    def _labels(shape: LayerShape, labels: Array | None, samples: int) -> dict[str, Value]:
        if not shape.sees_label:
            return {}
        if labels is None:
            labels = np.tile(np.arange(shape.classes, dtype=np.int64), (samples, 1))
        return {"labels": Value(np.ascontiguousarray(labels if shape.first else labels.reshape(-1)))}

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

    def _columns(self, x: Array, tile: Tile) -> Value:
        """Return the columns of x that a tile's gradient needs."""
        if tile.stop - tile.start == x.shape[1]:
            return Value(x)
        part = self._work.get("x.tile", (len(x), tile.stop - tile.start))
        np.copyto(part.array, x[:, tile.start : tile.stop])
        return part

    def _run(self, kernel: Kernel, inputs: dict[str, Value], outputs: dict[str, Value], layer: int) -> None:
        state = self._state[layer]
        self._run_on(state, kernel, inputs, outputs)
        if "W" in state:
            release(state["W"].array)

    def _run_tile(self, kind: str, layer: int, tile: Tile, inputs: dict[str, Value]) -> None:
        kernel = self._kernels.get(kind, self.shapes[layer])
        self._run_on(tile.values, kernel, inputs | self._scalars, {})
        for value in tile.values.values():
            release(value.array)

    def _run_on(
        self, state: dict[str, Value], kernel: Kernel, inputs: dict[str, Value], outputs: dict[str, Value]
    ) -> None:
        """Run a kernel; ``new.p`` goes into p's own buffer, or into a spare one and from there into p's."""
        fresh = {name: state[name.removeprefix("new.")] for name in kernel.outputs if name.startswith("new.")}
        given = fresh if self.in_place else {n: self._work.get(f"spare.{n}", v.array.shape) for n, v in fresh.items()}
        kernel.run(
            {name: value.ort for name, value in (state | inputs).items()},
            {name: value.ort for name, value in (outputs | given).items()},
        )
        if not self.in_place:
            for name, value in fresh.items():
                np.copyto(value.array, given[name].array)
