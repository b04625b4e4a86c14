"""The layers of a batch on several threads: while a layer learns from a chunk, the one below it takes the next chunk.

Each layer sees the same chunks in the same order as on one thread, so its weights are the same bits.
"""

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.base import Engine
from ffedge.engine.onnx import OnnxEngine
from ffedge.recipe import Recipe
from ffedge.training.memory import thread_count
from ffedge.training.step import BatchLearner, Work

TIMED = 3  # chunks on one thread, by whose time the layers are cut into parts; the first loads graphs too


def batch_learner(recipe: Recipe, engine: Engine, n_classes: int) -> BatchLearner:
    """Return what runs batches: layers beside each other where they learn at once and memory is not what counts.

    On CUDA as work that is repeated.
    """
    train = recipe.train
    if train.engine == "torch" and train.device.startswith("cuda"):
        from ffedge.engine.torch import TorchEngine
        from ffedge.training.repeated import RepeatedBatches

        assert isinstance(engine, TorchEngine)
        return RepeatedBatches(recipe, engine, n_classes)
    sparing = train.schedule == "greedy" or train.memory_budget is not None
    if isinstance(engine, OnnxEngine) and thread_count(train) > 1 and not sparing:
        return Pipeline(recipe, engine, n_classes)
    return BatchLearner(recipe, engine, n_classes)


class Pipeline(BatchLearner):
    """Runs batches on the threads of a recipe; one after the other where a layer needs one above it as it was."""

    def __init__(self, recipe: Recipe, engine: OnnxEngine, n_classes: int) -> None:
        super().__init__(recipe, engine, n_classes)
        self._beside, self._threads = engine.beside, thread_count(recipe.train)
        self._passed, self._seconds, self._parts = range(0), list[list[float]](), list[_Part]()
        self._failure: BaseException | None = None

    def settle(self) -> int | None:
        """Wait until every batch is learnt; return the first layer whose loss is not a number, or None."""
        if self._parts:
            settled = threading.Event()
            self._parts[0].put(settled)
            settled.wait()
        if self._failure:
            raise self._failure
        return super().settle()

    def close(self) -> None:
        """End the threads, after what they hold; nothing is learnt after it."""
        if self._parts:
            self._parts[0].put(None)
        for part in self._parts:
            part.thread.join()
        self._passed, self._parts = range(0), []

    def run(self, engine: Engine, layers: range, work: Work) -> None:
        """Take a chunk through some layers; nothing is done once something has failed."""
        if self._failure:
            return
        try:
            self._through(engine, layers, work)
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Keep what went wrong in a thread, to raise it where batches are given."""
        self._failure = self._failure or error

    def _take(self, work: Work) -> None:
        layers = self._layers(work.turn)
        draws = self.recipe.network.tries_labels and self.recipe.train.negatives == "hard-sum"
        if len(layers) == 1 or draws or self.recipe.listens_ahead(work.turn.active):
            super()._take(work)
            return
        if layers != self._passed:
            self.close()
            self._passed, self._seconds = layers, []
        if self._parts:
            self._parts[0].put(work)
        else:
            self._time(work)
        if self._failure:
            raise self._failure

    def _time(self, work: Work) -> None:
        """Take a chunk on this thread and note each layer's time; after some, begin the other threads."""
        times = [time.perf_counter()]
        for layer in self._passed:
            self._through(self.engine, range(layer, layer + 1), work)
            times.append(time.perf_counter())
        self._seconds.append(np.diff(times).tolist())
        if len(self._seconds) == TIMED:
            cuts = level_parts([min(each) for each in zip(*self._seconds, strict=True)], self._threads)
            for start, stop in reversed(cuts):
                layers = range(self._passed.start + start, self._passed.start + stop)
                engine = self._beside(max(1, self._threads // len(cuts)))
                self._parts.insert(0, _Part(self, layers, engine, self._parts[0] if self._parts else None))


def level_parts(costs: Sequence[float], most: int) -> list[tuple[int, int]]:
    """Cut a row into at most so many parts, start and stop of each, so that the dearest part costs least."""
    ends = range(1, len(costs) + 1)
    for limit in sorted(sum(costs[start:stop]) for stop in ends for start in range(stop)):
        parts = [(0, 0)]
        for at, cost in enumerate(costs):
            if cost > limit:
                break
            start, stop = parts[-1]
            if sum(costs[start:stop]) + cost > limit:
                parts.append((at, at + 1))
            else:
                parts[-1] = (start, at + 1)
        if parts[-1][1] == len(costs) and len(parts) <= most:
            return parts
    return [(0, len(costs))]


class _Part:
    """Some layers, and the thread that takes chunks through them; it holds one at a time."""

    def __init__(self, pipeline: Pipeline, layers: range, engine: Engine, following: "_Part | None") -> None:
        self._pipeline, self._layers, self._engine, self._following = pipeline, layers, engine, following
        self._free, self._given = threading.Semaphore(1), SimpleQueue[Work | threading.Event | None]()
        self._rows: NDArray[Any] = np.empty((0, 0), np.float32)
        self.thread = threading.Thread(target=self._serve, name=f"layers from {layers.start}", daemon=True)
        self.thread.start()

    def put(self, item: Work | threading.Event | None, rows: NDArray[Any] | None = None) -> None:
        """Wait until it holds no chunk, and give it one; or an event to set after what it holds, or None to end.

        Parameters
        ----------
        rows : [R, D] what its first layer reads, which are copied.
        """
        if isinstance(item, Work):
            self._free.acquire()
            if rows is not None:
                try:
                    self._hold(rows, item)
                except BaseException as error:  # no memory: the chunk goes on, and nothing is done with it
                    self._pipeline.fail(error)
        self._given.put(item)

    def _hold(self, rows: NDArray[Any], work: Work) -> None:
        if self._rows.shape != rows.shape:
            self._rows = np.empty_like(rows)
        np.copyto(self._rows, rows)
        work.source = self._engine.source(self._rows, len(work.labels))

    def _serve(self) -> None:
        item: Work | threading.Event | None = threading.Event()
        while item is not None:
            item, rows = self._given.get(), None
            if isinstance(item, Work):
                self._pipeline.run(self._engine, self._layers, item)
                self._free.release()
                rows = None if item.source is None else self._engine.rows(item.source)
            if self._following:
                self._following.put(item, rows)
            elif isinstance(item, threading.Event):
                item.set()
