"""The schedule: stages of layers, epochs, batches; what is measured on the way, and where a run can stop.

A stage is the set of layers that learn together: one layer (greedy) or all (interleaved).
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, Split
from ffedge.data.stream import OtherRows, Stream
from ffedge.engine.base import Engine
from ffedge.labels import wrong_labels
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.model.calibration import Calibration, best_and_margin, calibrate
from ffedge.network import InputFacts, initial_layer, layers_of
from ffedge.pages import release_libraries
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import MOMENTS
from ffedge.seeds import Draw, Permutation, generator, key
from ffedge.training.activations import make_cache
from ffedge.training.checkpoint import Place, State
from ffedge.training.records import EpochRecord, LayerRecord
from ffedge.training.rhythm import Rhythm
from ffedge.training.step import Floats, LayerSums, Learner, Turn, Wrong, weighted_sum
from ffedge.training.watch import Journal, Progress, Watcher

EVALUATION_ROWS = 256
EVALUATION_VALUES = 2**14  # of goodness at once, so that depth costs no memory
CHECKED_ROWS = 16


class Diverged(Exception):
    """A loss is not a number."""


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is written."""


class Loop:
    """Trains a network on an engine.

    Parameters
    ----------
    layers : those that learn; None takes all.
    kept : how many of the data set's rows, the last ones, are kept examples (see `Stream`), and their share of a batch.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        facts: InputFacts,
        engine: Engine,
        journal: Journal,
        watcher: Watcher,
        meter: PeakMeter,
        rhythm: Rhythm | None = None,
        folder: Path | None = None,
        layers: Sequence[int] | None = None,
        kept: tuple[int, float] = (0, 0.0),
    ) -> None:
        self.recipe, self.dataset, self.engine = recipe, dataset, engine
        self._journal, self._watcher, self._meter = journal, watcher, meter
        layers = range(len(recipe.network.widths)) if layers is None else layers
        self.stages = [[i] for i in layers] if recipe.train.schedule == "greedy" else [list(layers)]
        self.held_out, self.rows = split_rows(len(dataset.train.labels), recipe, kept[0])
        self._layers = layers_of(recipe, facts)
        source, inputs = dataset.train, self._layers[0].place.inputs
        self._stream = Stream(source.inputs, source.labels, self.rows, recipe.train, inputs, *kept)
        self._learner = Learner(recipe, engine, facts.n_classes)
        self._cache = None
        if recipe.train.cache == "activations":
            place = folder or Path(tempfile.gettempdir())
            self._cache = self._learner.cache = make_cache(recipe, engine, self._stream, facts.n_classes, place)
        self._rhythm = rhythm or Rhythm()
        self._seconds = 0.0

    def train(self, place: Place, stop: Callable[[], bool]) -> None:
        """Run every stage from a place on; checkpoints come by the rhythm, and at each stage's end.

        Raises
        ------
        Diverged, Interrupted
            Neither leaves the journal without the last good state.
        """
        for stage in range(place.stage, len(self.stages)):
            here = place if place.stage == stage else Place(stage)
            self._make_ready(stage)
            release_libraries()  # else code that ran once, and then no more, adds up over the stages
            start = self._meter.start()
            for epoch in range(here.epoch, self.recipe.train.epochs):
                now = here if here.epoch == epoch else Place(stage, epoch)
                self._epoch(now, stop)
                self._record(stage, epoch, start)
                if self._rhythm.due(epoch_ends=True) or epoch + 1 == self.recipe.train.epochs:
                    self._checkpoint(Place(stage, epoch + 1), self.stages[stage])
            self.engine.finish(self.stages[stage])
            for layer in self.stages[stage]:
                self.engine.place(layer, self._journal.keep(layer, self.engine.state()[layer], finished=True))
        if found := self.calibration([(self.dataset.train, self.held_out)]):
            self._journal.calibrated(found)
        self._checkpoint(Place(len(self.stages)), [])

    def calibration(self, parts: Sequence[tuple[Split, NDArray[np.int64]]]) -> Calibration | None:
        """Choose on rows that were held out what counts as known; None where there are none."""
        scored = [each[:, -1] for split, rows in parts for _, _, each in self._scored(split, rows, len(self._layers))]
        if not scored:
            return None
        return calibrate(*best_and_margin(np.concatenate(scored)), self.recipe.train.coverage)

    def _make_ready(self, stage: int) -> None:
        """Draw the layers that this stage needs and nobody has drawn, and let those learn that are its own."""
        active = self.stages[stage]
        ahead = [k for i in active for k, weight in enumerate(self._learner.alpha[i]) if weight]
        for layer in range(max([*active, *ahead]) + 1):
            if not self.engine.state()[layer]:
                drawn = initial_layer(self.recipe, self._layers[layer])
                kept = drawn if layer in active else self._journal.keep(layer, drawn, finished=False)
                self.engine.place(layer, kept)
        if self._cache and stage:
            self._cache.advance(stage, self._wrong(stage, 0))
        self.engine.begin(active, chunked=self._stream.batch_size > self.recipe.train.chunk_size)

    def fall_back(self, state: State) -> None:
        """Take every layer from a checkpoint's state; those that had not begun are drawn."""
        for layer, arrays in enumerate(state):
            self.engine.finish([layer])
            self.engine.place(layer, arrays or initial_layer(self.recipe, self._layers[layer]))

    def _checkpoint(self, place: Place, learning: list[int]) -> None:
        began, state = time.perf_counter(), self.engine.state()
        self._journal.checkpoint([layer if i in learning else {} for i, layer in enumerate(state)], place)
        self._rhythm.written(time.perf_counter() - began)

    def layer_records(self) -> list[LayerRecord]:
        """Sum up each layer's epochs."""
        result, moments = [], len(MOMENTS[self.recipe.train.optimizer])
        for layer, state in enumerate(self.engine.state()):
            epochs = [r for r in self._journal.records if r.layer == layer]
            if epochs:
                last = epochs[-1]
                parameters = sum(array.nbytes for name, array in state.items() if "." not in name)
                result.append(
                    LayerRecord(
                        index=layer,
                        epochs=len(epochs),
                        seconds=sum(r.seconds for r in epochs),
                        rss_start_bytes=epochs[0].rss_start_bytes,
                        rss_peak_bytes=max(r.rss_peak_bytes for r in epochs),
                        state_bytes=parameters * (1 + moments),
                        loss=last.loss,
                        accuracy=last.accuracy,
                        accuracy_sum=last.accuracy_sum,
                        gamma=last.gamma,
                    )
                )
        return result

    def _epoch(self, place: Place, stop: Callable[[], bool]) -> None:
        stage, epoch = place.stage, place.epoch
        active, size = self.stages[stage], self._stream.batch_size
        self._learner.sums = {layer: LayerSums(*sums) for layer, *sums in place.sums}
        self._seconds = place.seconds
        wrong = self._wrong(stage, epoch)
        for step in range(place.step, self._stream.batches):
            began = time.perf_counter()
            samples = self._stream.samples(step)
            rates = {i: self._rate(i, stage, epoch, step) for i in active}
            done = epoch * self._stream.batches + step
            rng = generator(self.recipe.train.seed, Draw.NEGATIVES, stage, epoch, step)
            chunks = self._stream.chunks(stage, epoch, step)
            turn = Turn(active, wrong, rng, done, rates)
            bad = self._learner.batch(chunks, samples, turn)
            if bad is not None:
                raise self._diverged(bad, epoch)
            self._seconds += time.perf_counter() - began
            self._tell(stage, epoch, step, step * size + samples)
            stopping, last = stop(), step + 1 == self._stream.batches
            if stopping or (not last and self._rhythm.due()):
                self._check(stage, epoch)
                self._checkpoint(self._place(stage, epoch, step + 1), active)
            if stopping:
                raise Interrupted

    def _check(self, stage: int, epoch: int, finite: NDArray[np.bool_] | None = None) -> None:
        """Look whether the last step, whose loss nobody saw, ruined the network (`finite`: the goodness of a layer)."""
        state = self.engine.state()
        for i in self.stages[stage]:
            weights = (array for name, array in state[i].items() if "." not in name)
            if (finite is not None and not finite[i]) or not (
                all(math.isfinite(array.min()) and math.isfinite(array.max()) for array in weights)
            ):
                raise self._diverged(i, epoch)

    def _diverged(self, layer: int, epoch: int) -> Diverged:
        rate = f"at rate {self.recipe.train.layer_rate(layer):g}"
        return Diverged(f"layer {layer}, epoch {epoch}: the loss is not a number {rate}. Use a smaller `rate`")

    def _place(self, stage: int, epoch: int, step: int) -> Place:
        sums = tuple((i, s.loss, s.positive, s.negative) for i, s in self._learner.sums.items())
        return Place(stage, epoch, step, self._seconds, sums)

    def _wrong(self, stage: int, epoch: int) -> Wrong | None:
        """Return what draws a chunk's wrong labels, where the network does not choose them."""
        train = self.recipe.train
        if train.negatives.startswith("hard"):
            return None
        where = (stage,) if train.negatives == "fixed" else (stage, epoch)
        drawn = key(2, train.seed, Draw.NEGATIVES, *where)
        return lambda chunk: wrong_labels(
            chunk.labels, chunk.positions, train.n_negatives, self.dataset.n_classes, drawn
        )

    def _rate(self, layer: int, stage: int, epoch: int, step: int) -> float:
        train = self.recipe.train
        left = 1.0 - (epoch * self._stream.batches + step) / (train.epochs * self._stream.batches)
        factor = {"none": 1.0, "linear": left, "half": min(1.0, 2.0 * left)}[train.cooldown]
        return train.layer_rate(layer) * factor

    def _tell(self, stage: int, epoch: int, step: int, samples: int) -> None:
        sums = self._learner.sums
        loss = sum(s.loss for s in sums.values()) / len(sums) / samples
        self._watcher.batch(
            Progress(
                stage,
                len(self.stages),
                self.stages[stage],
                epoch,
                self.recipe.train.epochs,
                step + 1,
                self._stream.batches,
                samples,
                loss,
                rss_bytes() if step % 16 == 0 else 0,
            )
        )

    def _record(self, stage: int, epoch: int, rss_start: int) -> None:
        active, rows, peak = self.stages[stage], self._stream.samples_of_epoch, self._meter.peak()
        rows_measured = self.measured_in(epoch)
        accuracy, finite = self._measure(max(active) + 1, rows_measured)
        self._check(stage, epoch, finite)
        measured, state = len(rows_measured) > 0, self.engine.state()
        records = []
        for i in active:
            sums = self._learner.sums[i]
            records.append(
                EpochRecord(
                    layer=i,
                    epoch=epoch,
                    loss=sums.loss / rows,
                    goodness_positive=sums.positive / rows,
                    goodness_negative=sums.negative / rows,
                    accuracy=float(accuracy[i]) if measured else None,
                    accuracy_sum=float(accuracy[-1]) if measured else None,
                    gamma=float(state[i]["gamma"]) if "gamma" in state[i] else None,
                    seconds=self._seconds / len(active),
                    rate=self._rate(i, stage, epoch, self._stream.batches - 1),
                    rss_start_bytes=rss_start,
                    rss_peak_bytes=peak,
                )
            )
        self._journal.epoch(records)
        self._watcher.epoch(records)

    def accuracy(self, split: Split, rows: NDArray[np.int64]) -> float:
        """Return the share of some rows of a split that all layers together give their true label."""
        return float(self._hits(split, rows, len(self._layers))[0][-1]) / len(rows)

    def measured_in(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows that give an epoch's accuracy; a comparison may take others."""
        return self.held_out

    def _measure(self, layers: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the accuracy [layers + 1] on some rows of each of the first layers and of their sum.

        And whether the goodness of each layer is finite; where there are no such rows, on some others.
        """
        if not len(rows):
            rows = self._stream.rows[np.arange(min(CHECKED_ROWS, len(self._stream.rows)))]
        hits, finite = self._hits(self.dataset.train, rows, layers)
        return hits / len(rows), finite

    def _hits(self, split: Split, rows: NDArray[np.int64], layers: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Count the rows that each of the first layers, and last their sum, gets right [layers + 1]."""
        hits, finite = np.zeros(layers + 1, np.int64), np.ones(layers, np.bool_)
        for part, goodness, scores in self._scored(split, rows, layers):
            finite &= np.isfinite(goodness).all(axis=(0, 2))
            hits += (scores.argmax(axis=2) == split.labels[part][:, None]).sum(axis=0)
        return hits, finite

    def _scored(
        self, split: Split, rows: NDArray[np.int64], layers: int
    ) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
        """Yield some rows at a time, with the goodness [N, L, C] of the first layers and, after it, their sum's too."""
        weights = np.array(self.recipe.score_weights(self.engine.state())[:layers], np.float32)
        most = max(1, EVALUATION_VALUES // (layers * self.dataset.n_classes))
        size = min(EVALUATION_ROWS, self.recipe.train.chunk_size, most)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            raw = np.ascontiguousarray(split.inputs.take(part).reshape(len(part), -1))
            goodness = self._learner.class_goodness(self.engine.product(raw, None), layers)
            yield part, goodness, np.concatenate([goodness, weighted_sum(goodness, weights)[:, None]], axis=1)


def spread_evenly(rows: int, count: int) -> NDArray[np.int64]:
    """Return `count` places (at most `rows`) from 0 to `rows` - 1, as far from each other as they can be."""
    return np.linspace(0, rows - 1, min(rows, count)).astype(np.int64)


def split_rows(count: int, recipe: Recipe, kept: int = 0) -> tuple[NDArray[np.int64], OtherRows]:
    """Return the held-out rows, in ascending order, and the others, to train on; the last `kept` are all trained on."""
    order = Permutation(count - kept, recipe.train.seed, Draw.HOLDOUT)
    held = np.sort(order.at(np.arange(recipe.train.held_out(count - kept))))
    return held, OtherRows(count, held)
