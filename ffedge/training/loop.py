"""The schedule: stages of layers, epochs, batches; where a run can stop, and what is recorded of it.

A stage is the set of layers that learn together: one layer (greedy) or all (interleaved).
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset
from ffedge.data.stream import Stream, split_rows
from ffedge.data.weights import row_weights
from ffedge.engine.base import Engine
from ffedge.labels import wrong_labels
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.network import InputFacts, initial_layer, layers_of
from ffedge.pages import release_libraries
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import MOMENTS
from ffedge.seeds import Draw, generator, key
from ffedge.training.checkpoint import Place, State
from ffedge.training.evaluator import Evaluator
from ffedge.training.layer_cache import LayerCache
from ffedge.training.pipeline import batch_learner
from ffedge.training.records import EpochRecord, LayerRecord, layer_records
from ffedge.training.rhythm import Rhythm
from ffedge.training.step import LayerSums, Turn, Wrong
from ffedge.training.watch import Journal, Progress, Watcher

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
    stepped : is told the layers that have taken a step, whose parameters it may change.
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
        stepped: Callable[[list[int]], None] | None = None,
    ) -> None:
        self.recipe, self.dataset, self.engine = recipe, dataset, engine
        self._journal, self._watcher, self._meter, self._stepped = journal, watcher, meter, stepped
        layers = range(len(recipe.network.widths)) if layers is None else layers
        self.stages = [[i] for i in layers] if recipe.train.schedule == "greedy" else [list(layers)]
        self.held_out, self.rows = split_rows(len(dataset.train.labels), recipe, kept[0])
        self._layers = layers_of(recipe, facts)
        channels_first = recipe.network.layout == "chw"
        source, inputs = dataset.train, self._layers[0].place.inputs
        weights = row_weights(source, self.rows, recipe.train.class_weight, facts.classes)
        self.learner = batch_learner(recipe, engine, facts.n_classes)
        on_device = self.learner.on_device(source.inputs)
        self._stream = Stream(
            source.inputs, source.labels, self.rows, recipe.train, inputs, *kept, channels_first, weights, on_device
        )
        self.evaluator = Evaluator(self.learner)
        self._cache = None
        if recipe.train.cache == "activations":
            place = folder or Path(tempfile.gettempdir())
            self._cache = self.learner.cache = LayerCache(recipe, engine, self._stream, facts.n_classes, place)
        self._rhythm = rhythm or Rhythm()
        self._seconds = 0.0

    @property
    def steps(self) -> int:
        """How many steps each layer takes."""
        return self.recipe.train.epochs * self._stream.batches

    def train(self, place: Place, stop: Callable[[], bool]) -> None:
        """Run every stage from a place on; checkpoints come by the rhythm, and at each stage's end.

        Raises
        ------
        Diverged, Interrupted
            Neither leaves the journal without the last good state.
        """
        try:
            for stage in range(place.stage, len(self.stages)):
                self._stage(place if place.stage == stage else Place(stage), stop)
        finally:
            self.learner.close()
        if calibration := self.evaluator.calibration([(self.dataset.train, self.held_out)]):
            self._journal.calibrated(calibration)
        self._checkpoint(Place(len(self.stages)), [])

    def fall_back(self, state: State) -> None:
        """Take every layer from a checkpoint's state; those that had not begun are drawn."""
        for layer, arrays in enumerate(state):
            self.engine.finish([layer])
            self.engine.place(layer, arrays or initial_layer(self.recipe, self._layers[layer]))

    def layer_records(self) -> list[LayerRecord]:
        """Sum up each layer's epochs."""
        moments = len(MOMENTS[self.recipe.train.optimizer])
        return layer_records(self._journal.records, self.engine.state(), moments)

    def measured_in(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows that give an epoch's accuracy; a comparison may take others."""
        return self.held_out

    def _stage(self, place: Place, stop: Callable[[], bool]) -> None:
        stage, epochs = place.stage, self.recipe.train.epochs
        active = self.stages[stage]
        self._begin(stage)
        release_libraries()  # else code that ran once, and then no more, adds up over the stages
        rss_start = self._meter.start()
        for epoch in range(place.epoch, epochs):
            self._epoch(place if place.epoch == epoch else Place(stage, epoch), stop)
            self._record(stage, epoch, rss_start)
            if self._rhythm.due(epoch_ends=True) or epoch + 1 == epochs:
                self._checkpoint(Place(stage, epoch + 1), active)
        self.engine.finish(active)
        for layer in active:
            self.engine.place(layer, self._journal.keep(layer, self.engine.state()[layer], finished=True))

    def _begin(self, stage: int) -> None:
        """Draw the layers that a stage needs and nobody has drawn, and let its own learn."""
        active = self.stages[stage]
        ahead = [k for i in active for k, weight in enumerate(self.recipe.rule.alpha[i]) if weight]
        for layer in range(max([*active, *ahead]) + 1):
            if not self.engine.state()[layer]:
                arrays = initial_layer(self.recipe, self._layers[layer])
                if layer not in active:
                    arrays = self._journal.keep(layer, arrays, finished=False)
                self.engine.place(layer, arrays)
        if self._cache and stage:
            self._cache.advance(stage, self._wrong(stage, 0))
        self.engine.begin(active, chunked=self._stream.batch_size > self.recipe.train.chunk_size)

    def _epoch(self, place: Place, stop: Callable[[], bool]) -> None:
        stage, epoch, batches = place.stage, place.epoch, self._stream.batches
        learnt = place.step * self._stream.batch_size
        self.learner.sums = {layer: LayerSums() for layer in self.stages[stage]}
        for layer, loss, positive, negative in place.sums:
            self.learner.sums[layer] = LayerSums(loss, positive, negative, learnt)
        self._seconds = place.seconds
        wrong = self._wrong(stage, epoch)
        for step in range(place.step, batches):
            self._batch(stage, epoch, step, wrong)
            stopping = stop()
            if stopping or (step + 1 < batches and self._rhythm.due()):
                self._settle(epoch)
                self._check_finite(stage, epoch)
                sums = tuple((i, s.loss, s.positive, s.negative) for i, s in self.learner.sums.items())
                self._checkpoint(Place(stage, epoch, step + 1, self._seconds, sums), self.stages[stage])
            if stopping:
                raise Interrupted

    def _settle(self, epoch: int) -> None:
        """Wait until every layer has learnt from the batches so far."""
        began = time.perf_counter()
        diverged = self.learner.settle()
        self._seconds += time.perf_counter() - began
        if diverged is not None:
            raise self._diverged(diverged, epoch)

    def _batch(self, stage: int, epoch: int, step: int, wrong: Wrong | None) -> None:
        began, active, stream = time.perf_counter(), self.stages[stage], self._stream
        turn = Turn(
            active,
            wrong,
            rng=cache(partial(generator, self.recipe.train.seed, Draw.NEGATIVES, stage, epoch, step)),
            step=epoch * stream.batches + step,
            rates={i: self._rate(i, epoch, step) for i in active},
        )
        samples, inputs = stream.samples(step), not (self._cache and self._cache.layers)
        diverged = self.learner.batch(stream.chunks(stage, epoch, step, inputs=inputs), samples, turn)
        if diverged is not None:
            raise self._diverged(diverged, epoch)
        self._seconds += time.perf_counter() - began
        if self._stepped or step + 1 == stream.batches:
            self._settle(epoch)
        if self._stepped:
            self._stepped(active)
        sums = [each for each in self.learner.sums.values() if each.samples]
        self._watcher.batch(
            Progress(
                stage=stage,
                stages=len(self.stages),
                layers=active,
                epoch=epoch,
                epochs=self.recipe.train.epochs,
                batch=step + 1,
                batches=stream.batches,
                samples=step * stream.batch_size + samples,
                loss=sum(each.loss / each.samples for each in sums) / len(sums) if sums else math.nan,
                rss_bytes=rss_bytes() if step % 16 == 0 else 0,
            )
        )

    def _rate(self, layer: int, epoch: int, step: int) -> float:
        train, batches = self.recipe.train, self._stream.batches
        left = 1.0 - (epoch * batches + step) / (train.epochs * batches)
        return train.layer_rate(layer) * train.cooled(left)

    def _wrong(self, stage: int, epoch: int) -> Wrong | None:
        """Return what draws a chunk's wrong labels, where the network does not choose them."""
        train = self.recipe.train
        if train.negatives.startswith("hard") or not self.recipe.network.tries_labels:
            return None
        where = (stage,) if train.negatives == "fixed" else (stage, epoch)
        drawn = key(2, train.seed, Draw.NEGATIVES, *where)
        return lambda chunk: wrong_labels(
            chunk.labels, chunk.positions, train.n_negatives, self.dataset.n_classes, drawn
        )

    def _checkpoint(self, place: Place, learning: list[int]) -> None:
        began, state = time.perf_counter(), self.engine.state()
        self._journal.checkpoint([layer if i in learning else {} for i, layer in enumerate(state)], place)
        self._rhythm.written(time.perf_counter() - began)

    def _check_finite(self, stage: int, epoch: int, finite: NDArray[np.bool_] | None = None) -> None:
        """Raise `Diverged` where the last step, whose loss nobody saw, ruined the network.

        Parameters
        ----------
        finite : [L] whether a layer's goodness is; None where it was not measured.
        """
        state = self.engine.state()
        for layer in self.stages[stage]:
            if (finite is not None and not finite[layer]) or not _parameters_finite(state[layer]):
                raise self._diverged(layer, epoch)

    def _diverged(self, layer: int, epoch: int) -> Diverged:
        rate = f"at rate {self.recipe.train.layer_rate(layer):g}"
        return Diverged(f"layer {layer}, epoch {epoch}: the loss is not a number {rate}. Use a smaller `rate`")

    def _record(self, stage: int, epoch: int, rss_start: int) -> None:
        active, count, peak = self.stages[stage], self._stream.samples_of_epoch, self._meter.peak()
        rows = self.measured_in(epoch)
        checked = rows if len(rows) else self.rows[np.arange(min(CHECKED_ROWS, len(self.rows)))]
        hits, finite = self.evaluator.hits(self.dataset.train, checked, max(active) + 1)
        self._check_finite(stage, epoch, finite)
        accuracy = (hits / len(rows)).tolist() if len(rows) else [None] * len(hits)
        state, records = self.engine.state(), []
        for i in active:
            sums = self.learner.sums[i]
            records.append(
                EpochRecord(
                    layer=i,
                    epoch=epoch,
                    loss=sums.loss / count,
                    goodness_positive=sums.positive / count,
                    goodness_negative=sums.negative / count,
                    accuracy=accuracy[i],
                    accuracy_sum=accuracy[-1],
                    gamma=float(state[i]["gamma"]) if "gamma" in state[i] else None,
                    seconds=self._seconds / len(active),
                    rate=self._rate(i, epoch, self._stream.batches - 1),
                    rss_start_bytes=rss_start,
                    rss_peak_bytes=peak,
                )
            )
        self._journal.epoch(records)
        self._watcher.epoch(records)


def _parameters_finite(layer: Mapping[str, NDArray[Any]]) -> bool:
    arrays = (array for name, array in layer.items() if "." not in name)
    return all(math.isfinite(array.min()) and math.isfinite(array.max()) for array in arrays)
