"""How each arm trains: ffedge by its own loop, backprop over the same batches, told to one who watches.

Shape letters: N samples, I inputs of a sample.
"""

import contextlib
import importlib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Arm, Work
from ffedge.data import ArrayRows, Dataset, Split
from ffedge.data.rows import Chosen
from ffedge.data.stream import OtherRows, Stream, split_rows
from ffedge.errors import DataError
from ffedge.meter import PeakMeter
from ffedge.network import InputFacts, layers_of, parameter_sizes
from ffedge.recipe import Recipe
from ffedge.resolve import resolve
from ffedge.rule.optimizer import MOMENTS
from ffedge.seeds import Draw, Permutation
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place
from ffedge.training.facts import measure as measure_facts
from ffedge.training.loop import Diverged, Loop
from ffedge.training.records import EpochRecord
from ffedge.training.step import BatchLearner
from ffedge.training.train import make_engine
from ffedge.training.watch import Journal, Progress, Watcher

Array = NDArray[Any]
Labels = NDArray[np.int64]
Predict = Callable[[Array], Labels]
BLOCK_ROWS = 256
FFEDGE_ADAM = (0.015, 0.005)  # of the first layer and of all others
FFEDGE_RATES_PER_UNIT = {"sgd": 0.02, "momentum": 0.008}  # a goodness is a mean: gradients fall as units are added
BACKPROP_RATES = {"adam": 1e-3, "momentum": 0.02, "sgd": 0.1}
NO_LAYER_SECONDS = "all layers are one graph, which runs as one"
TINY = Work(widths=(8, 8), batch_size=16, rows=64)


@dataclass
class Trained:
    """What an arm's training took and reached.

    Attributes
    ----------
    layers : index, units, seconds, rss_start_bytes and rss_peak_bytes of each; its phase is its own where layers learn
        one after the other, else all layers' together.
    accuracy : on the held-out rows, 0 to 1.
    counted_bytes : weights, gradients, moments, saved_for_backward, buffers, the most at one time.
    unknown : why a value is None, or not of the whole training, by its name.
    """

    layers: list[dict[str, Any]]
    counted_bytes: dict[str, int | None]
    accuracy: float
    unknown: dict[str, str] = field(default_factory=dict)


class Watch:
    """Hears how an arm's training goes; does nothing."""

    def begin(self, dataset: Dataset, held_out: Labels, rows: int) -> None:
        """Hear that the first batch comes next; `rows` are those of an epoch."""

    def batch(self, samples: int, *, ends_epoch: bool, predict: Predict) -> None:
        """Hear of a batch; `predict` labels raw rows [N, I] with what has been learnt so far."""

    def epoch(self) -> None:
        """Hear that training goes on after an epoch."""


class Net(Protocol):
    """A baseline's network: what its module's ``build`` returns.

    Attributes
    ----------
    unknown : why a value of `counted` is None, by its name.
    seconds : of each layer, the head last; None where they cannot be told apart.
    """

    @property
    def unknown(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def seconds(self) -> Sequence[float] | None: ...  # noqa: D102
    def learn(self, raw: Array, labels: Labels, share: float) -> float: ...  # noqa: D102
    def predict(self, raw: Array) -> Labels: ...  # noqa: D102
    def counted(self) -> dict[str, int | None]: ...  # noqa: D102


def train(
    arm: Arm, work: Work, dataset: Dataset, meter: PeakMeter, watch: Watch | None = None, **options: Any
) -> Trained:
    """Train an arm.

    Parameters
    ----------
    options : fields of ffedge's spec, which else has no dropout and no weight decay.
    """
    rates = FFEDGE_ADAM[: len(work.widths)]
    if arm.optimizer != "adam":
        rates = tuple(FFEDGE_RATES_PER_UNIT[arm.optimizer] * units for units in work.widths)
    values: dict[str, Any] = {"optimizer": arm.optimizer, "rate": rates, "input_dropout": 0.0, "weight_decay": 0.0}
    values["cache"] = "none"  # no disk is asked about here
    values |= {name: getattr(work, name) for name in ("widths", "batch_size", "epochs", "seed", "threads")}
    asked = Spec.make(**values | {"variant": arm.variant or "ff"} | options)
    facts = measure_facts(dataset, asked.network.scaling)
    recipe = resolve(asked, facts, len(dataset.train.labels))  # batches and held-out rows are the same for every arm
    return (_ffedge if arm.variant else _backprop)(arm, recipe, facts, dataset, meter, watch or Watch())


def _ffedge(arm: Arm, recipe: Recipe, facts: InputFacts, dataset: Dataset, meter: PeakMeter, watch: Watch) -> Trained:
    units, unknown = recipe.network.dense_units, dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(recipe, facts, [{} for _ in units])
        relay = _Relay(watch)
        loop = Loop(recipe, dataset, facts, engine, Journal(Path(folder)), relay, meter)
        relay.learner = loop.learner
        watch.begin(dataset, loop.held_out, len(loop.rows))
        with contextlib.suppress(Diverged):
            loop.train(Place(), lambda: False)
        records = loop.layer_records()
    if len(records) < len(units):
        unknown["accuracy"] = "a loss was not a number; the accuracy is that of the layers before"
    parameters = [parameter_sizes(layer).values() for layer in layers_of(recipe, facts)]
    sizes = [sum(4 * math.prod(dims) for dims in layer) for layer in parameters]
    counted: dict[str, int | None] = {
        "weights": sum(sizes),
        "gradients": max(sizes),  # one layer's, inside its step
        "moments": max(sizes) * len(MOMENTS[recipe.train.optimizer]),
        "saved_for_backward": 0,
        "buffers": engine.buffer_bytes,
    }
    layers = [_layer(r.index, units[r.index], r.seconds, r.rss_start_bytes, r.rss_peak_bytes) for r in records]
    return Trained(layers, counted, float(records[-1].accuracy_sum or 0.0) if records else 0.0, unknown)


class _Relay(Watcher):
    """Tells a `Watch` what ffedge's loop tells."""

    learner: BatchLearner

    def __init__(self, watch: Watch) -> None:
        self._watch, self._samples = watch, 0

    def batch(self, progress: Progress) -> None:
        layers = max(progress.layers) + 1
        taken = progress.samples - (self._samples if progress.batch > 1 else 0)
        self._samples = progress.samples
        self._watch.batch(
            taken, ends_epoch=progress.batch == progress.batches, predict=lambda raw: self._predict(raw, layers)
        )

    def epoch(self, records: list[EpochRecord]) -> None:
        self._watch.epoch()

    def _predict(self, raw: Array, layers: int) -> Labels:
        self.learner.settle()
        return np.asarray(self.learner.scored(raw, layers)[1].argmax(axis=1), np.int64)


def _backprop(arm: Arm, recipe: Recipe, facts: InputFacts, dataset: Dataset, meter: PeakMeter, watch: Watch) -> Trained:
    held_out, rows = split_rows(len(dataset.train.labels), recipe)
    stream = Stream(dataset.train.inputs, dataset.train.labels, rows, recipe.train, facts.size)
    rate, widths = BACKPROP_RATES[arm.optimizer], recipe.network.dense_units
    net: Net = importlib.import_module(arm.module).build(arm, widths, facts, rate, recipe.train)
    start, steps = meter.start(), recipe.train.epochs * stream.batches
    watch.begin(dataset, held_out, len(rows))
    for epoch in range(recipe.train.epochs):
        for step in range(stream.batches):
            for chunk in stream.chunks(0, epoch, step):
                done = (epoch * stream.batches + step) / steps
                net.learn(chunk.raw, chunk.labels, 1.0 - done)  # the rate falls as ffedge's does
            watch.batch(stream.samples(step), ends_epoch=step + 1 == stream.batches, predict=net.predict)
        watch.epoch()
    peak, units = meter.peak(), (*widths, facts.n_classes)
    seconds, unknown = net.seconds, dict(net.unknown)
    if seconds is None:
        unknown["layers.seconds"] = NO_LAYER_SECONDS
    layers = [_layer(i, n, seconds[i] if seconds else None, start, peak) for i, n in enumerate(units)]
    return Trained(layers, net.counted(), accuracy(net.predict, dataset, held_out), unknown)


def _layer(index: int, units: int, seconds: float | None, start: int, peak: int) -> dict[str, Any]:
    return {"index": index, "units": units, "seconds": seconds, "rss_start_bytes": start, "rss_peak_bytes": peak}


def accuracy(predict: Predict, dataset: Dataset, rows: Labels) -> float:
    """Return the share of some training rows that get their true label, read block by block; 0 of none."""
    hits = 0
    for at in range(0, len(rows), BLOCK_ROWS):
        part = rows[at : at + BLOCK_ROWS]
        raw = np.ascontiguousarray(dataset.train.inputs.take(part).reshape(len(part), -1))
        hits += int((predict(raw) == dataset.train.labels[part]).sum())
    return hits / max(1, len(rows))


def some_rows(whole: Dataset, rows: int) -> Dataset:
    """Return so many training rows of a data set, drawn over all, without a test split; DataError for a table.

    They are the same for every seed and machine. The first ones of a file that is sorted by class would lack classes.
    """
    if whole.table:
        raise DataError(f"{whole.name}: is a table, and what is compared reads arrays. Pass an .npz")
    of_all = len(whole.train.inputs)
    count = min(rows, of_all)
    which: Any = OtherRows(count, np.zeros(0, np.int64))  # all from 0 on, without an array of them
    if count < of_all:
        which = np.sort(Permutation(of_all, 0, Draw.TEST).at(np.arange(count)))
    labels = whole.train.labels[which[np.arange(count)]]
    return Dataset(whole.name, Split(Chosen(whole.train.inputs, which), labels), None, whole.classes, whole.sha256)


def warm_up(arm: Arm, **options: Any) -> None:
    """Train a tiny net on noise, so that what libraries load late is there."""
    rng, labels = np.random.default_rng(0), np.arange(TINY.rows) % 3
    inputs = ArrayRows(rng.integers(0, 256, (TINY.rows, 16), dtype=np.uint8))
    train(arm, TINY, Dataset("tiny", Split(inputs, labels), None, ("0", "1", "2"), ""), PeakMeter(), **options)
