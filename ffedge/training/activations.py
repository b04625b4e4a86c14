"""What the finished layers make of every training row, on disk, so that a layer's cost does not grow with its depth.

Without it the layers below run again for each batch. `Activations` holds the last finished layer's rows for every label
(float16, rounded once a layer) and every finished layer's goodness; `FixedActivations` serves wrong labels that are
drawn once a layer: only the rows of the labels that are tried, as they are. Both need inputs that are the same in each
epoch.

Shape letters: P training rows by their place in the stream, N of them, C classes, L layers, M labels, H units.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ffedge.data.rows import Rows
from ffedge.data.stream import Chunk, Stream
from ffedge.engine.base import Engine
from ffedge.errors import FfedgeError
from ffedge.files import reserved_file
from ffedge.labels import tried_labels
from ffedge.network import InputFacts, layers_of
from ffedge.recipe import Recipe
from ffedge.training.step import Wrong, evaluation_rows

Array = NDArray[Any]
ROUNDED = np.float16


class _Rows:
    """Rows in a file without a name, which goes with the process: written in blocks, read one by one."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, folder: Path) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            with reserved_file(size, folder) as file:
                self._rows = Rows(Path(f"/dev/fd/{file.fileno()}"), 0, shape, np.dtype(dtype))
                self._descriptor = os.dup(file.fileno())
        except OSError as error:
            what = f"{size / 1e9:.2f} GB of activities cannot be kept ({error.strerror or error})"
            raise FfedgeError(f"{folder}: {what}. Free space, or use `cache='none'`") from error
        weakref.finalize(self, os.close, self._descriptor)
        self.take = self._rows.take

    def put(self, start: int, rows: Array) -> None:
        """Write rows from a place on."""
        block = np.ascontiguousarray(rows, self._rows.dtype)
        os.pwrite(self._descriptor, block.data, start * (block.nbytes // len(block)))


class Activations:
    """The rows [P * C, H] of the last finished layer, and the goodness [P, L, C] of all.

    Parameters
    ----------
    folder : where the files stand.

    Raises
    ------
    FfedgeError
        The disk has no room, here or in `advance`.
    """

    def __init__(self, recipe: Recipe, engine: Engine, stream: Stream, classes: int, folder: Path) -> None:
        self._recipe, self._engine, self._stream, self._classes, self._folder = recipe, engine, stream, classes, folder
        self._rows: _Rows | None = None
        self._goodness = _Rows((len(stream.rows), len(recipe.network.widths), classes), np.float32, folder)
        self.layers = 0  # how many finished layers it stands for

    def read(self, positions: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[Any, dict[int, Array]]:
        """Return the source of the first layer that is not finished, and the goodness [N, M] of each before it.

        Parameters
        ----------
        positions : [N] places in the stream's rows.
        labels : [N, M] those that are tried.
        """
        goodness = self._goodness.take(positions)
        known = {layer: np.take_along_axis(goodness[:, layer], labels, axis=1) for layer in range(self.layers)}
        return self._source(positions, labels), known

    def first_goodness(self, positions: NDArray[np.int64]) -> Array:
        """Return the first layer's goodness [N, C] of every class."""
        first: Array = self._goodness.take(positions)[:, 0]
        return first

    def advance(self, layers: int, wrong: Wrong | None) -> None:
        """Run every training row through the layers that have finished since, once, for every label."""
        del wrong
        count, units = len(self._stream.rows), self._engine.layers[layers - 1].units
        fresh = _Rows((count * self._classes, units), ROUNDED, self._folder)
        known = self.layers if self.layers == layers - 1 else 0  # after a stop, from the raw rows again
        size = evaluation_rows(self._recipe.train, self._classes, self._recipe.train.chunk_size) // self._classes
        for start in range(0, count, size):
            positions = np.arange(start, min(start + size, count))
            fresh.put(start * self._classes, self._run(positions, known, layers))
        self._rows, self.layers = fresh, layers

    def _run(self, positions: NDArray[np.int64], known: int, layers: int) -> Array:
        """Return the rows [N * C, H] of the last of some layers, rounded, and keep the goodness of those that ran."""
        goodness = self._goodness.take(positions)
        if known:
            source = self._source(positions, np.tile(np.arange(self._classes), (len(positions), 1)))
        else:
            raw = self._stream.source.take(self._stream.rows[positions])
            source = self._engine.product(np.ascontiguousarray(raw.reshape(len(positions), -1)), None)
        for layer in range(known, layers):
            source, goodness[:, layer] = self._engine.forward(layer, source, None)
            rounded = self._engine.rows(source).astype(ROUNDED)
            source = self._engine.source(rounded.astype(np.float32), len(positions))
        self._goodness.put(int(positions[0]), goodness)
        return rounded

    def _source(self, positions: NDArray[np.int64], labels: NDArray[np.int64]) -> Any:
        assert self._rows is not None
        places = (positions[:, None] * self._classes + labels).reshape(-1)
        return self._engine.source(self._rows.take(places).astype(np.float32), len(positions))


class FixedActivations:
    """The rows [P * M, H] of the last finished layer for the labels that are tried, and the goodness [P, L, M].

    Parameters
    ----------
    folder : where the files stand.

    Raises
    ------
    FfedgeError
        The disk has no room, here or in `advance`.
    """

    def __init__(self, recipe: Recipe, engine: Engine, stream: Stream, folder: Path) -> None:
        self._recipe, self._engine, self._stream, self._folder = recipe, engine, stream, folder
        self._tried = 1 + recipe.train.n_negatives
        self._rows: _Rows | None = None
        self._goodness = _Rows((len(stream.rows), len(recipe.network.widths), self._tried), np.float32, folder)
        self.layers = 0

    def read(self, positions: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[Any, dict[int, Array]]:
        """Return the source of the first layer that is not finished, and the goodness [N, M] of each before it.

        Parameters
        ----------
        labels : [N, M] those for which the layers ran, which are the stage's own.
        """
        assert self._rows is not None
        goodness = self._goodness.take(positions)
        places = (positions[:, None] * self._tried + np.arange(labels.shape[1])).reshape(-1)
        source = self._engine.source(self._rows.take(places), len(positions))
        return source, {layer: np.ascontiguousarray(goodness[:, layer]) for layer in range(self.layers)}

    def first_goodness(self, positions: NDArray[np.int64]) -> Array:
        """Raise ValueError: fixed labels are not drawn from goodness."""
        raise ValueError(
            f"`negatives` must be hard to need every label's goodness, got {self._recipe.train.negatives!r}"
        )

    def advance(self, layers: int, wrong: Wrong | None) -> None:
        """Run every training row through all finished layers, for the labels of the stage that begins."""
        assert wrong is not None
        count, units = len(self._stream.rows), self._engine.layers[layers - 1].units
        self._rows = None  # its room is free before the next one's is taken
        fresh = _Rows((count * self._tried, units), np.float32, self._folder)
        for start in range(0, count, self._recipe.train.chunk_size):
            positions = np.arange(start, min(start + self._recipe.train.chunk_size, count))
            rows, goodness = self._stream.rows[positions], self._goodness.take(positions)
            raw = np.ascontiguousarray(self._stream.source.take(rows).reshape(len(rows), -1))
            chunk = Chunk(raw, self._stream.labels[rows].astype(np.int64), positions, None)
            labels, source = tried_labels(chunk.labels, wrong(chunk)), self._engine.product(raw, None)
            for layer in range(layers):
                source, goodness[:, layer] = self._engine.forward(layer, source, labels)
            fresh.put(start * self._tried, self._engine.rows(source))
            self._goodness.put(start, goodness)
        self._rows, self.layers = fresh, layers


def make_cache(
    recipe: Recipe, engine: Engine, stream: Stream, classes: int, folder: Path
) -> Activations | FixedActivations:
    """Return the cache that fits how the wrong labels are drawn."""
    if recipe.train.negatives == "fixed":
        return FixedActivations(recipe, engine, stream, folder)
    return Activations(recipe, engine, stream, classes, folder)


def cache_bytes(recipe: Recipe, facts: InputFacts, rows: int) -> int:
    """Return the most that the cache takes on disk: layers' rows, two neighbours' at a time, and the goodness."""
    units = [layer.units for layer in layers_of(recipe, facts)]
    if recipe.train.negatives == "fixed":
        return rows * (1 + recipe.train.n_negatives) * 4 * (max(units[:-1], default=0) + len(units))
    pairs = [sum(units[max(0, i - 1) : i + 1]) for i in range(len(units) - 1)]
    return rows * facts.n_classes * (2 * max(pairs, default=0) + 4 * len(units))
