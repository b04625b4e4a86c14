"""A training set as a stream of minibatches: its order, and what is done to a sample on the way.

Only the rows of one chunk are in memory. Shape letters: N samples of a chunk, I inputs of a sample, D inputs that the
first layer sees.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.augment import Augmentation
from ffedge.data.rows import Labels, RowSource
from ffedge.recipe import Recipe, Train
from ffedge.seeds import Draw, Permutation, generator

Array = NDArray[Any]
BLOCK = 4096  # places of an epoch whose order is computed together, not batch by batch


@dataclass(frozen=True)
class Chunk:
    """Rows that are in memory together.

    Attributes
    ----------
    raw : [N, I] as stored; [N, 0] where nobody reads them; a tensor where a device holds the rows.
    labels : [N] the true ones.
    positions : [N] places of the rows in the stream's rows.
    mask : [N, D] uint8, 0 where dropout takes an input out; None without dropout.
    weights : [N] float32 of the rows in the loss; None where all count alike.
    """

    raw: Any
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    mask: Array | None
    weights: NDArray[np.float32] | None = None


class OtherRows:
    """The rows of a source but for some, in ascending order: indexed like an array of them, which is never made.

    Parameters
    ----------
    count : of all rows.
    without : the rows left out, in ascending order.
    """

    def __init__(self, count: int, without: NDArray[np.int64]) -> None:
        self._count = count - len(without)
        self._before = without - np.arange(len(without))  # how many of the other rows come before each

    def __len__(self) -> int:
        """Give how many there are."""
        return self._count

    def __getitem__(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the source's rows [N] that stand at the positions [N]."""
        rows: NDArray[np.int64] = positions + np.searchsorted(self._before, positions, side="right")
        return rows


def spread_evenly(rows: int, count: int) -> NDArray[np.int64]:
    """Return `count` places (at most `rows`) from 0 to `rows` - 1, as far from each other as they can be."""
    return np.linspace(0, rows - 1, min(rows, count)).astype(np.int64)


def split_rows(count: int, recipe: Recipe, kept: int = 0) -> tuple[NDArray[np.int64], OtherRows]:
    """Return the held-out rows, in ascending order, and the others, to train on; the last `kept` are all trained on."""
    order = Permutation(count - kept, recipe.train.seed, Draw.HOLDOUT)
    held = np.sort(order.at(np.arange(recipe.train.held_out(count - kept))))
    return held, OtherRows(count, held)


@dataclass(frozen=True)
class Stream:
    """The training rows of a source, in a new order each epoch.

    Attributes
    ----------
    labels : of all rows of the source.
    rows : the source's rows to train on.
    first_inputs : D.
    kept : how many of the rows, the last ones, are kept examples; an epoch takes every other row once.
    share : of each batch that is taken from the kept examples.
    channels_first : whether a sample is a picture of axes channels, height, width.
    weights : of the source's rows, indexed by arrays of rows (`ffedge.data.weights`); None: all count alike.
    on_device : takes rows [N] of the source where a device holds them all, which pictures that change pass by.
    """

    source: RowSource
    labels: Labels
    rows: OtherRows
    train: Train
    first_inputs: int
    kept: int = 0
    share: float = 0.0
    channels_first: bool = False
    weights: Any = None
    on_device: Callable[[NDArray[np.int64]], Any] | None = None

    @property
    def batch_size(self) -> int:
        """Samples of a full batch."""
        return self.train.batch_size

    @property
    def batches(self) -> int:
        """Batches of an epoch; the last one may be smaller."""
        return -(-self.samples_of_epoch // self.batch_size)

    @property
    def samples_of_epoch(self) -> int:
        """Samples of an epoch, kept examples as often as they come."""
        new = len(self.rows) - self.kept
        return new + (-(-new // self._new_of_batch) * (self.batch_size - self._new_of_batch) if self.kept else 0)

    @property
    def _new_of_batch(self) -> int:
        """Samples of a full batch that are no kept examples."""
        kept = min(round(self.share * self.batch_size), self.batch_size - 1) if self.kept else 0
        return self.batch_size - kept

    def samples(self, step: int) -> int:
        """Return how many samples the batch of a step has."""
        return min(self.batch_size, self.samples_of_epoch - step * self.batch_size)

    def chunks(self, stage: int, epoch: int, step: int, *, inputs: bool = True) -> Iterator[Chunk]:
        """Read one batch, `chunk_size` rows at a time; how it is cut does not change what is drawn.

        Each epoch takes the rows in an order of its own (as stored, where one batch takes them all).

        Parameters
        ----------
        inputs : whether anybody reads the rows' inputs: else what finished layers make of them is kept.
        """
        order, read = self._order(stage, epoch), self.noise(stage, epoch, step) if inputs else self._unread
        first, last = step * self.batch_size, step * self.batch_size + self.samples(step)
        for start in range(first, last, self.train.chunk_size):
            places = np.arange(start, min(start + self.train.chunk_size, last))
            positions = order(places)
            rows = self.rows[positions]
            raw, mask = read(rows)
            weights = None if self.weights is None else self.weights[rows]
            yield Chunk(raw, self.labels[rows].astype(np.int64), positions, mask, weights)

    def _unread(self, rows: NDArray[np.int64]) -> tuple[Array, None]:
        return np.empty((len(rows), 0), self.source.dtype), None

    def noise(self, *where: int) -> Callable[[NDArray[np.int64]], tuple[Any, Array | None]]:
        """Return what reads the next rows [N] of the source as one draw has them, as ``raw`` and ``mask`` of a chunk.

        Parameters
        ----------
        where : stage, epoch and step of the draw, which is the same however it is cut.
        """
        share = self.train.input_dropout
        dropout = generator(self.train.seed, Draw.DROPOUT, *where) if share else None
        augmentation = Augmentation(self.train, where, channels_first=self.channels_first)

        def read(rows: NDArray[np.int64]) -> tuple[Any, Array | None]:
            mask = None if dropout is None else kept_inputs(len(rows), self.first_inputs, share, dropout)
            if self.on_device and not augmentation.changes:
                return self.on_device(rows), mask
            return np.ascontiguousarray(augmentation.of(self.source.take(rows)).reshape(len(rows), -1)), mask

        return read

    def _order(self, stage: int, epoch: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
        """Return what gives the positions [N] of the rows at some places of an epoch."""
        count, seed, new = len(self.rows) - self.kept, self.train.seed, self._new_of_batch
        if not self.kept:
            return lambda places: places if self.batches == 1 else _ordered(places, count, seed, stage, epoch)
        order = Permutation(count, seed, Draw.ORDER, stage, epoch)
        others = Permutation(self.kept, seed, Draw.KEPT, stage, epoch)

        def mixed(places: NDArray[np.int64]) -> NDArray[np.int64]:
            """Take the new rows of a batch before its kept ones, which go round."""
            step, at = np.divmod(places, self.batch_size)
            last = count - (self.batches - 1) * new  # new rows of the last batch
            own = np.where(step == self.batches - 1, last, new)
            kept = step * (self.batch_size - new) + np.maximum(at - own, 0)
            fresh = at < own
            return np.where(
                fresh,
                order.at(np.where(fresh, step * new + at, 0)),
                count + others.at(kept % self.kept),
            )

        return mixed


def _ordered(places: NDArray[np.int64], count: int, seed: int, stage: int, epoch: int) -> NDArray[np.int64]:
    """Return the positions of the rows at some places of an epoch [N], which stand together."""
    first, last = int(places[0]) // BLOCK, int(places[-1]) // BLOCK
    blocks = [_block(count, seed, stage, epoch, index) for index in range(first, last + 1)]
    ordered: NDArray[np.int64] = np.concatenate(blocks)[places - first * BLOCK]
    return ordered


@functools.lru_cache(maxsize=2)
def _block(count: int, seed: int, stage: int, epoch: int, index: int) -> NDArray[np.int64]:
    """Return the positions of one block of an epoch's places."""
    places = np.arange(index * BLOCK, min((index + 1) * BLOCK, count))
    return Permutation(count, seed, Draw.ORDER, stage, epoch).at(places)


def kept_inputs(rows: int, inputs: int, dropout: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a mask [rows, inputs]: 0 with probability `dropout`, to 1/256, else 1."""
    padded = -(-inputs // 8) * 8  # whole words a row, so that a batch may be drawn in parts
    noise = np.frombuffer(rng.bytes(rows * padded), np.uint8).reshape(rows, padded)[:, :inputs]
    return (noise >= round(dropout * 256)).view(np.uint8)
