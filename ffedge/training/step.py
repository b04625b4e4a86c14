"""One batch through the layers: choose the labels, gather the other layers' goodness, let each active layer learn.

Shape letters: N samples of a chunk, C classes, L layers, M labels tried for each sample.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.rows import RowSource
from ffedge.data.stream import Chunk
from ffedge.engine.base import Engine, on_host, summed
from ffedge.labels import Labels, hard_labels, tried_labels
from ffedge.recipe import Recipe, Train
from ffedge.rule.collaboration import others

if TYPE_CHECKING:
    from ffedge.training.layer_cache import LayerCache

Floats = NDArray[np.float32]
Wrong = Callable[[Chunk], Labels]
MAX_ROWS = 512
MOST_WAITING = 1024  # chunks that wait to be counted
EVALUATED = 256  # samples
EVALUATED_VALUES = 2**14  # of goodness, so that depth costs no memory


def evaluated_samples(train: Train, classes: int, layers: int) -> int:
    """Return on how many samples at once the accuracy of some layers is measured."""
    return min(EVALUATED, train.chunk_size, max(1, EVALUATED_VALUES // (layers * classes)))


def tried_samples(recipe: Recipe, classes: int) -> int:
    """Return for how many samples at once the goodness of all classes is measured."""
    network, train = recipe.network, recipe.train
    rows = min(MAX_ROWS, train.chunk_size * network.rows_a_sample(1 + train.n_negatives))
    return max(1, rows // network.rows_a_sample(classes))


@dataclass
class LayerSums:
    """What one layer did over some batches, summed over samples, and over how many.

    Attributes
    ----------
    lost : whether a loss was not a number.
    """

    loss: float = 0.0
    positive: float = 0.0
    negative: float = 0.0
    samples: int = 0
    lost: bool = False
    _waiting: list[tuple[Any, int]] = field(default_factory=list)

    def add(self, loss: Any, goodness: Any) -> None:
        """Add the loss, summed over samples, and goodness [N, M] of a chunk."""
        if not isinstance(goodness, np.ndarray) and goodness.device.type != "cpu":
            self.add_sums(summed(loss, goodness), len(goodness))
            return
        values = on_host(goodness)
        positive, negative = values[:, 0].sum(dtype=np.float64), values[:, 1:].mean(axis=1, dtype=np.float64).sum()
        self._add(float(loss), float(positive), float(negative), len(values))

    def add_sums(self, sums: Any, samples: int) -> None:
        """Add what `summed` gave of some samples on a device; only now and then, so as not to wait for it."""
        self._waiting.append((sums, samples))
        if len(self._waiting) >= MOST_WAITING:
            self.settle()

    def settle(self) -> None:
        """Count what waits to be counted."""
        for sums, samples in self._waiting:
            loss, positive, negative = on_host(sums).tolist()
            self._add(loss, positive, negative, samples)
        self._waiting = []

    def _add(self, loss: float, positive: float, negative: float, samples: int) -> None:
        self.loss, self.positive, self.negative = self.loss + loss, self.positive + positive, self.negative + negative
        self.samples += samples
        self.lost = self.lost or not math.isfinite(loss)


@dataclass(frozen=True)
class Turn:
    """Who learns from a batch, and how fast.

    Attributes
    ----------
    active : layers that learn.
    wrong : returns a chunk's wrong labels [N, K]; None where the network's own goodness draws them.
    rng : returns what draws hard negatives, the same one for every chunk; made where it is asked for, which takes time.
    step : updates before this one.
    rates : learning rate of each active layer.
    """

    active: list[int]
    wrong: Wrong | None
    rng: Callable[[], np.random.Generator]
    step: int
    rates: dict[int, float]


@dataclass
class Work:
    """A chunk on its way through the layers.

    Attributes
    ----------
    samples : of its batch.
    applies : whether the batch came in several chunks, of which it is the last.
    labels : [N, M] that are tried, the true one first; an array or the engine's own.
    source : what the next layer reads.
    heard : [N, M] what a layer hears of those before the first one that a chunk passes.
    goodness : [N, M] of each layer that it has passed, and of those ahead that one listens to, as the engine has it.
    """

    chunk: Chunk
    samples: int
    turn: Turn
    applies: bool
    labels: Any = None
    source: Any = None
    heard: Floats | None = None
    goodness: dict[int, Any] = field(default_factory=dict)


@dataclass
class BatchLearner:
    """Runs batches on an engine by the rule of a recipe."""

    recipe: Recipe
    engine: Engine
    n_classes: int
    sums: dict[int, LayerSums] = field(default_factory=dict)
    cache: "LayerCache | None" = None

    def batch(self, chunks: Iterable[Chunk], samples: int, turn: Turn) -> int | None:
        """Learn from one batch of `samples` samples; return a layer whose loss is not a number, as known by now."""
        seen = 0
        for chunk in chunks:
            seen += len(chunk.labels)
            self._take(Work(chunk, samples, turn, applies=seen == samples > self.recipe.train.chunk_size))
            if self._diverged() is not None:
                break
        return self._diverged()

    def settle(self) -> int | None:
        """Wait until every batch is learnt; return the first layer whose loss is not a number, or None."""
        for sums in self.sums.values():
            sums.settle()
        return self._diverged()

    def close(self) -> None:
        """End what runs beside; nothing is learnt after it."""

    def on_device(self, source: RowSource) -> Callable[[NDArray[np.int64]], Any] | None:
        """Return what takes rows of a source where the engine works, if it holds them there."""
        return None

    def class_goodness(self, source: Any, layers: int, engine: Engine | None = None) -> Floats:
        """Return the goodness [N, layers, C] of every class in the first layers, in bounded memory."""
        engine = engine or self.engine
        most = tried_samples(self.recipe, self.n_classes)
        result = np.empty((source.samples, layers, self.n_classes), np.float32)
        for start in range(0, source.samples, most):
            part = source.part(start, start + most)
            if layers == 1:  # nobody reads what the layer passes on
                result[start : start + most, 0] = on_host(engine.first_goodness(part))
                continue
            for layer in range(layers):
                part, goodness = engine.forward(layer, part, None)
                result[start : start + most, layer] = on_host(goodness)
        return result

    def scored(self, raw: NDArray[Any], layers: int) -> tuple[Floats, Floats]:
        """Return the goodness [N, layers, C] of raw rows [N, I] in the first layers, and its weighted sum [N, C]."""
        weights = np.array(self.recipe.score_weights(self.engine.state())[:layers], np.float32)
        goodness = self.class_goodness(self.engine.product(np.ascontiguousarray(raw), None), layers)
        # not by a matrix product, for which numpy's library would take a MiB and more for good
        return goodness, (goodness * weights[:, None]).sum(axis=1)

    def _diverged(self) -> int | None:
        return next((layer for layer, sums in self.sums.items() if sums.lost), None)

    def _take(self, work: Work) -> None:
        """Learn from a chunk."""
        self._through(self.engine, self._layers(work.turn), work)

    def _through(self, engine: Engine, layers: range, work: Work) -> None:
        """Take a chunk through some of the layers that it passes."""
        if layers.start == self._layers(work.turn).start:
            self._enter(engine, work)
        for layer in layers:
            self._pass(engine, layer, work)

    def _layers(self, turn: Turn) -> range:
        """Return the layers that a chunk passes."""
        return range(self.cache.layers if self.cache else 0, max(turn.active) + 1)

    def _enter(self, engine: Engine, work: Work) -> None:
        """Choose the labels, and make what the first layer that a chunk passes reads."""
        chunk, turn, begun = work.chunk, work.turn, self._layers(work.turn).start
        first = None if begun else engine.product(chunk.raw, chunk.mask)
        work.labels = tried_labels(chunk.labels, self._wrong(engine, chunk, first, turn))
        work.source = first
        if self.cache and begun:
            work.source, work.heard = self.cache.read(chunk.positions, work.labels)
        work.goodness = self._goodness_ahead(work.source, begun, work.labels, turn.active)

    def _pass(self, engine: Engine, layer: int, work: Work) -> None:
        """Run a chunk through a layer, which learns from it where it is its turn."""
        turn, labels, goodness = work.turn, work.labels, work.goodness
        begun, layers = self._layers(turn).start, len(self.recipe.network.widths)
        if layer not in turn.active:
            work.source, goodness[layer] = engine.forward(layer, work.source, labels)
            return
        among = goodness if work.heard is None else {k: on_host(values) for k, values in goodness.items()}
        learned = engine.learn(
            layer,
            work.source,
            labels,
            others(layer, among, labels.shape, self.recipe.rule, range(begun, layers), work.heard),
            batch=work.samples,
            step=turn.step,
            rate=turn.rates[layer],
            emit=layer < max(turn.active),
            weights=work.chunk.weights,
        )
        work.source, goodness[layer] = learned.source, learned.goodness
        self._count(layer, learned.loss * work.samples, learned.goodness)
        if work.applies:
            engine.apply(layer, step=turn.step, rate=turn.rates[layer])

    def _count(self, layer: int, loss: Any, goodness: Any) -> None:
        """Take down what a layer's step gave: a loss, summed over samples, and goodness [N, M]."""
        self.sums.setdefault(layer, LayerSums()).add(loss, goodness)

    def _wrong(self, engine: Engine, chunk: Chunk, first: Any, turn: Turn) -> Labels:
        if turn.wrong is not None:
            return turn.wrong(chunk)
        if not self.recipe.network.tries_labels:
            return (chunk.labels[:, None] + np.arange(1, self.n_classes)) % self.n_classes
        if self.cache and self.cache.layers:
            goodness = self.cache.first_goodness(chunk.positions)
        else:
            layers = 1 if self.recipe.train.negatives == "hard" else max(turn.active) + 1
            goodness = self.class_goodness(first, layers, engine).sum(axis=1)
        return hard_labels(goodness, chunk.labels, self.recipe.train.n_negatives, turn.rng())

    def _goodness_ahead(self, source: Any, begun: int, labels: Labels, active: list[int]) -> dict[int, Any]:
        """Run all layers from `begun` on once before any of them changes, where one listens to layers after it."""
        listened = self.recipe.listens_ahead(active)
        goodness: dict[int, Any] = {}
        for layer in range(begun, max(listened) + 1 if listened else 0):
            source, goodness[layer] = self.engine.forward(layer, source, labels)
        return goodness
