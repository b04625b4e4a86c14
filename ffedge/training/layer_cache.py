"""What the finished layers make of every training row, on disk, so that a layer's cost does not grow with its depth.

Without it the layers below run again for each batch. It holds the last finished layer's rows, as float16, rounded once
a layer, beside each what the layer that learns hears of those before it, so that a batch is read at once; and every
finished layer's goodness, which is read in order. Where labels are tried, a sample has a row for every label; or, where
wrong labels are drawn once a layer, for the labels that are tried alone, as they are.

Input noise (dropout, shifts, …) is drawn anew for the second layer, the third, the fifth, the ninth and so on; those
between see the same rows. So no layer runs more than twice over the rows in the mean, however many there are, and
accuracy was the same as with a draw for each layer (bench/RECIPE.md).

Shape letters: P training rows by their place in the stream, N of them, C classes, L layers, M labels, H units, T labels
whose goodness is held of each row, S rows that are held of it (1 or T).
"""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ffedge.data.rows import Rows, places
from ffedge.data.stream import Chunk, Stream
from ffedge.engine.base import Engine, on_host
from ffedge.errors import FfedgeError
from ffedge.files import reserved_file, writing
from ffedge.labels import Labels, tried_labels
from ffedge.network import InputFacts, layers_of
from ffedge.recipe import Recipe
from ffedge.rule.collaboration import others
from ffedge.training.step import Wrong, tried_samples

Array = NDArray[Any]
Noise = Callable[[Labels], tuple[Array, Array | None]]
FIRST_INFINITE = 0x7C00  # bits of a float16


class LayerCache:
    """The rows [P * S, H] of the last finished layer with what is heard of all [P, T], and their goodness [P, L, T].

    Parameters
    ----------
    folder : where the files stand.

    Attributes
    ----------
    layers : how many finished layers it stands for.

    Raises
    ------
    FfedgeError
        The disk has no room, here or in `advance`.
    """

    def __init__(self, recipe: Recipe, engine: Engine, stream: Stream, classes: int, folder: Path) -> None:
        self._recipe, self._engine, self._stream, self._folder = recipe, engine, stream, folder
        self._fixed, self._labels, self._held = _held(recipe, classes)
        chunk = recipe.train.chunk_size
        self._size = chunk if self._fixed else tried_samples(recipe, classes)
        self._heard_bytes, self._item_bytes = 4 * self._labels // self._held, 4 if self._fixed else 2
        self._rows: _FileRows | None = None
        self._goodness = _FileRows((len(stream.rows), len(recipe.network.widths), self._labels), np.float32, folder)
        self.layers = 0

    def read(self, positions: Labels, labels: Labels) -> tuple[Any, Array]:
        """Return the source of the first layer that is not finished, and what it hears [N, M] of those before it.

        Parameters
        ----------
        positions : [N] places in the stream's rows.
        labels : [N, M] those that are tried.
        """
        return self._read(positions, self._columns(len(positions)) if self._fixed else labels)

    def first_goodness(self, positions: Labels) -> Array:
        """Return the first layer's goodness [N, C] of every class; ValueError where not every label is held."""
        if self._fixed:
            raise ValueError(
                f"`negatives` must be hard to need every label's goodness, got {self._recipe.train.negatives!r}"
            )
        first: Array = self._goodness.take(positions)[:, 0]
        return first

    def advance(self, layers: int, wrong: Wrong | None) -> None:
        """Run every training row through the layers that have finished since, once.

        Parameters
        ----------
        wrong : draws the wrong labels of the stage that begins, where these are fixed.
        """
        count, units = len(self._stream.rows), self._engine.layers[layers - 1].passes
        drawn = 1 << (layers.bit_length() - 1)  # the layer that last had noise of its own
        noisy = layers == drawn and self._recipe.train.noisy
        begin = self.layers if self.layers == layers - 1 and not noisy else 0  # after a stop, from the raw rows again
        read = self._stream.noise(drawn, self._recipe.train.epochs, 0)  # no epoch of a stage draws the same
        if self._fixed:  # other labels than before
            begin, self._rows = 0, None  # whose room is free before the next one's is taken
        shape, dtype = (count * self._held, self._heard_bytes + units * self._item_bytes), np.uint8
        fresh = _FileRows(shape, dtype, self._folder)
        for positions in places(count, self._size):
            rows, goodness = self._run(positions, range(begin, layers), read, wrong)
            self._goodness.put(int(positions[0]), goodness)
            fresh.put(int(positions[0]) * self._held, self._records(rows, goodness, layers))
        self._rows, self.layers = fresh, layers

    def _run(self, positions: Labels, layers: range, read: Noise, wrong: Wrong | None) -> tuple[Array, Array]:
        """Return the rows [N * S, H] of the last of some layers, as held, and the goodness [N, L, T] so far."""
        goodness, labels = self._goodness.take(positions), None
        if layers.start:
            source, _ = self._read(positions, self._columns(len(positions)))
        else:
            rows = self._stream.rows[positions]
            raw, mask = read(rows)
            source = self._engine.product(raw, mask)
            if self._fixed:
                assert wrong is not None
                chunk = Chunk(raw, self._stream.labels[rows].astype(np.int64), positions, None)
                labels = tried_labels(chunk.labels, wrong(chunk))
        for layer in layers:
            source, found = self._engine.forward(layer, source, labels)
            goodness[:, layer] = on_host(found)
            if not self._fixed:
                rounded = self._engine.rows(source).astype(np.float16)
                source = self._engine.source(widened(rounded), len(positions))
        return self._engine.rows(source) if self._fixed else rounded, goodness

    def _columns(self, count: int) -> Labels:
        """Return the places of all held labels for some rows [N, T]."""
        return np.tile(np.arange(self._labels), (count, 1))

    def _records(self, rows: Array, goodness: Array, layer: int) -> Array:
        """Return rows [N * S, H] with what a layer hears of those before it, as bytes [N * S, …]."""
        by_layer = {k: goodness[:, k] for k in range(layer)}
        heard = others(layer, by_layer, goodness[:, 0].shape, self._recipe.rule, range(layer))
        return np.concatenate([part.reshape(len(rows), -1).view(np.uint8) for part in (heard, rows)], axis=1)

    def _read(self, positions: Labels, columns: Labels) -> tuple[Any, Array]:
        """Return a source, and what is heard [N, M], of the labels at some columns [N, M]."""
        assert self._rows is not None
        places = positions[:, None] * self._held + (columns if self._held > 1 else 0)
        records = self._rows.take(places.reshape(-1))
        heard, rows = records[:, : self._heard_bytes].view(np.float32), records[:, self._heard_bytes :]
        heard = heard.reshape(columns.shape) if self._held > 1 else np.take_along_axis(heard, columns, axis=1)
        typed = np.ascontiguousarray(rows).view(np.float32) if self._fixed else widened(rows.view(np.float16))
        return self._engine.source(typed, len(positions)), heard


class _FileRows:
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
        self._folder = folder
        weakref.finalize(self, os.close, self._descriptor)
        self.take = self._rows.take

    def put(self, start: int, rows: Array) -> None:
        """Write rows from a place on."""
        block = np.ascontiguousarray(rows, self._rows.dtype)
        left, at = block.data.cast("B"), start * (block.nbytes // len(block))
        with writing(self._folder, "use `cache='none'`"):
            while left:  # a call writes 2 GiB at most
                written = os.pwrite(self._descriptor, left, at)
                left, at = left[written:], at + written


def cache_bytes(recipe: Recipe, facts: InputFacts, rows: int) -> int:
    """Return the most that the cache takes on disk: layers' rows, two neighbours' at a time, and the goodness."""
    units = [layer.passes for layer in layers_of(recipe, facts)]
    fixed, labels, held = _held(recipe, facts.n_classes)
    if fixed:
        return rows * labels * 4 * (max(units[:-1], default=0) + len(units) + 1)
    pairs = [sum(units[max(0, i - 1) : i + 1]) for i in range(len(units) - 1)]
    return rows * (held * 2 * max(pairs, default=0) + labels * 4 * (len(units) + 2))


def widened(rows: Array) -> Array:
    """Return rows of float16 as float32, a third of the time that numpy takes where none is negative or infinite."""
    bits = rows.view(np.uint16)
    if bits.size == 0 or bits.max() >= FIRST_INFINITE:
        return rows.astype(np.float32)
    wide = bits.astype(np.uint32)
    wide <<= 13  # the exponent's bias is 112 less, also of numbers that are not normal
    result = wide.view(np.float32)
    result *= np.float32(2.0**112)
    return result


def _held(recipe: Recipe, classes: int) -> tuple[bool, int, int]:
    """Return whether only the labels that are tried are held, how many are, and how many rows of a sample."""
    network, train = recipe.network, recipe.train
    fixed = network.tries_labels and train.negatives == "fixed"
    labels = 1 + train.n_negatives if fixed else classes
    return fixed, labels, network.rows_a_sample(labels)
