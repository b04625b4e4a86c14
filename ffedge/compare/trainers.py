"""How each arm trains: ffedge by its own loop, backprop over the same batches, told to one who watches.

Shape letters: N samples, I inputs of a sample.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Arm, Work
from ffedge.data import Dataset
from ffedge.data.stream import Stream
from ffedge.meter import PeakMeter
from ffedge.network import InputFacts, layers_of, parameter_sizes
from ffedge.recipe import Recipe
from ffedge.resolve import resolve
from ffedge.spec import MOMENTS, Spec
from ffedge.training.checkpoint import Place
from ffedge.training.facts import measure as measure_facts
from ffedge.training.loop import Diverged, split_rows
from ffedge.training.records import EpochRecord
from ffedge.training.step import Learner, weighted_sum
from ffedge.training.watch import LayerFiles, Progress, Watcher

Array = NDArray[Any]
Predict = Callable[[Array], NDArray[np.int64]]
ROWS = 256
FFEDGE_ADAM = (0.015, 0.005)  # of the first layer and of all others
FFEDGE_RATES_PER_UNIT = {"sgd": 0.02, "momentum": 0.008}  # a goodness is a mean: gradients fall as units are added
BACKPROP_RATES = {"adam": 1e-3, "momentum": 0.02, "sgd": 0.1}
NO_BUFFERS = "torch allocates as it goes and holds no buffers between steps that can be counted"
NO_GRADIENTS = "onnxruntime decides when it frees a gradient; the graph names none that stays"
NO_LAYER_SECONDS = "all layers are one graph, which onnxruntime runs as one"


@dataclass
class LayerMeasure:
    """One layer; its phase is its own where layers learn one after the other, else all layers' together.

    None where it cannot be had: `Trained.unknown` says why.
    """

    index: int
    units: int
    seconds: float | None
    rss_start_bytes: int
    rss_peak_bytes: int | None


@dataclass
class Trained:
    """What an arm's training took and reached.

    Attributes
    ----------
    accuracy : on the held-out rows, 0 to 1.
    counted_bytes : weights, gradients, moments, saved_for_backward, buffers, the most at one time.
    unknown : why a value is None, or not of the whole training, by its name.
    """

    layers: list[LayerMeasure]
    counted_bytes: dict[str, int | None]
    accuracy: float
    unknown: dict[str, str] = field(default_factory=dict)


class Watch:
    """Hears how an arm's training goes; does nothing."""

    def begin(self, dataset: Dataset, held_out: NDArray[np.int64], rows: int) -> None:
        """Hear that the first batch comes next; `rows` are those of an epoch."""

    def batch(self, samples: int, *, ends_epoch: bool, predict: Predict) -> None:
        """Hear of a batch; `predict` labels raw rows [N, I] with what has been learnt so far."""

    def epoch(self) -> None:
        """Hear that training goes on after an epoch."""


class Net(Protocol):
    """A backprop baseline."""

    def learn(self, raw: Array, labels: NDArray[np.int64], share: float) -> float: ...  # noqa: D102
    def predict(self, raw: Array) -> NDArray[np.int64]: ...  # noqa: D102


def train(
    arm: Arm, work: Work, dataset: Dataset, meter: PeakMeter, watch: Watch | None = None, **options: Any
) -> Trained:
    """Train an arm.

    Parameters
    ----------
    options : fields of ffedge's spec, which else has no dropout and no weight decay.
    """
    trainer = _backprop if arm.is_backprop else _ffedge
    spec = _spec(arm, work, options)
    facts = measure_facts(dataset, spec.network.scaling)
    recipe = resolve(spec, facts, len(dataset.train.labels))
    return trainer(arm, recipe, facts, dataset, meter, watch or Watch())


def _spec(arm: Arm, work: Work, options: dict[str, Any]) -> Spec:
    """Return the spec; batches and held-out rows follow from it, the same for every arm."""
    rates = FFEDGE_ADAM[: len(work.widths)]
    if arm.optimizer != "adam":
        rates = tuple(FFEDGE_RATES_PER_UNIT[arm.optimizer] * units for units in work.widths)
    return Spec.make(
        **{
            "variant": arm.variant,
            "optimizer": arm.optimizer,
            "engine": "torch" if arm.trainer == "torch" else "onnx",
            "widths": work.widths,
            "batch_size": work.batch_size,
            "epochs": work.epochs,
            "seed": work.seed,
            "threads": work.threads,
            "input_dropout": 0.0,
            "rate": rates,
            "weight_decay": 0.0,
        }
        | options
    )


def _ffedge(arm: Arm, recipe: Recipe, facts: InputFacts, dataset: Dataset, meter: PeakMeter, watch: Watch) -> Trained:
    with tempfile.TemporaryDirectory() as folder:
        return _in_folder(Path(folder), arm, recipe, facts, dataset, meter, watch)


def _in_folder(
    folder: Path, arm: Arm, recipe: Recipe, facts: InputFacts, dataset: Dataset, meter: PeakMeter, watch: Watch
) -> Trained:
    """Train as `ffedge train` does: a layer that has learnt is a file in a folder."""
    from ffedge.training.loop import Loop
    from ffedge.training.run import make_engine

    engine = make_engine(recipe, facts, [{} for _ in recipe.network.dense_units])
    saved = _first_step_of(engine) if arm.trainer == "torch" else None
    relay = _Relay(Learner(recipe, engine, facts.n_classes), watch)
    loop = Loop(recipe, dataset, facts, engine, LayerFiles(folder), relay, meter)
    watch.begin(dataset, loop.held_out, len(dataset.train.labels) - len(loop.held_out))
    unknown = {}
    with contextlib.suppress(Diverged):
        loop.train(Place(), lambda: False)
    records = loop.layer_records()
    if len(records) < len(recipe.network.dense_units):
        unknown["accuracy"] = "a loss was not a number; the accuracy is that of the layers before"
    layers = layers_of(recipe, facts)
    sizes = [sum(4 * math.prod(dims) for dims in parameter_sizes(layer).values()) for layer in layers]
    if arm.trainer == "torch":
        unknown["buffers"] = NO_BUFFERS
    return Trained(
        [
            LayerMeasure(r.index, recipe.network.dense_units[r.index], r.seconds, r.rss_start_bytes, r.rss_peak_bytes)
            for r in records
        ],
        {
            "weights": sum(sizes),
            "gradients": max(sizes),  # one layer's, inside its step
            "moments": max(sizes) * len(MOMENTS[recipe.train.optimizer]),
            "saved_for_backward": saved.peak_bytes if saved else 0,
            "buffers": engine.buffer_bytes if arm.trainer == "onnx" else None,
        },
        float(records[-1].accuracy_sum or 0.0) if records else 0.0,
        unknown,
    )


def _first_step_of(engine: Any) -> Any:
    """Count what autograd saves in each layer's first step; later ones save as much, and counting takes time."""
    from ffedge.reference.saved import SavedBytes

    saved, learn, counted = SavedBytes(), engine.learn, set[int]()

    def counting(layer: int, *args: Any, **kwargs: Any) -> Any:
        with contextlib.nullcontext() if layer in counted else saved:
            counted.add(layer)
            return learn(layer, *args, **kwargs)

    engine.learn = counting
    return saved


class _Relay(Watcher):
    """Tells a `Watch` what ffedge's loop tells."""

    def __init__(self, learner: Learner, watch: Watch) -> None:
        self._learner, self._watch, self._samples = learner, watch, 0

    def batch(self, progress: Progress) -> None:
        layers = max(progress.layers) + 1
        taken = progress.samples - (self._samples if progress.batch > 1 else 0)
        self._samples = progress.samples
        self._watch.batch(
            taken, ends_epoch=progress.batch == progress.batches, predict=lambda raw: self._predict(raw, layers)
        )

    def epoch(self, records: list[EpochRecord]) -> None:
        self._watch.epoch()

    def _predict(self, raw: Array, layers: int) -> NDArray[np.int64]:
        recipe, engine = self._learner.recipe, self._learner.engine
        weights = np.array(recipe.score_weights(engine.state())[:layers], np.float32)
        goodness = self._learner.class_goodness(engine.product(raw, None), layers)
        return np.asarray(weighted_sum(goodness, weights).argmax(axis=1), np.int64)


def _backprop(arm: Arm, recipe: Recipe, facts: InputFacts, dataset: Dataset, meter: PeakMeter, watch: Watch) -> Trained:
    held, rows = split_rows(len(dataset.train.labels), recipe)
    stream = Stream(dataset.train.inputs, dataset.train.labels, rows, recipe.train, facts.size)
    make = _in_torch if arm.trainer == "backprop" else _in_onnxruntime
    net, finish = make(arm, recipe, facts)
    start = meter.start()
    watch.begin(dataset, held, len(rows))
    for epoch in range(recipe.train.epochs):
        for step in range(stream.batches):
            for chunk in stream.chunks(0, epoch, step):
                done = (epoch * stream.batches + step) / (recipe.train.epochs * stream.batches)
                net.learn(chunk.raw, chunk.labels, 1.0 - done)  # the rate falls as ffedge's does
            watch.batch(stream.samples(step), ends_epoch=step + 1 == stream.batches, predict=net.predict)
        watch.epoch()
    peak = meter.peak()
    trained: Trained = finish(start, peak)
    trained.accuracy = accuracy(net.predict, dataset, held)
    return trained


def _in_torch(arm: Arm, recipe: Recipe, facts: InputFacts) -> tuple[Net, Callable[[int, int], Trained]]:
    import torch

    from ffedge.reference.backprop import Backprop

    torch.set_num_threads(recipe.train.threads)
    widths, rate = recipe.network.dense_units, BACKPROP_RATES[arm.optimizer]
    net = Backprop(widths, facts, optimizer=arm.optimizer, rate=rate, form=arm.form, seed=recipe.train.seed)

    def finish(start: int, peak: int) -> Trained:
        units = (*widths, facts.n_classes)
        layers = [LayerMeasure(i, n, net.seconds[i], start, peak) for i, n in enumerate(units)]
        counted: dict[str, int | None] = {
            "weights": net.weight_bytes,
            "gradients": net.gradient_bytes,
            "moments": net.moment_bytes,
            "saved_for_backward": net.saved.peak_bytes,
            "buffers": None,
        }
        return Trained(layers, counted, 0.0, {"buffers": NO_BUFFERS})

    return net, finish


def _in_onnxruntime(arm: Arm, recipe: Recipe, facts: InputFacts) -> tuple[Net, Callable[[int, int], Trained]]:
    from ffedge.compare.backprop_onnx import BackpropOnnx

    widths = recipe.network.dense_units
    net = BackpropOnnx(
        widths,
        facts,
        optimizer=arm.optimizer,
        rate=BACKPROP_RATES[arm.optimizer],
        batch_size=recipe.train.batch_size,
        seed=recipe.train.seed,
        threads=recipe.train.threads,
        in_place=arm.in_place,
    )

    def finish(start: int, peak: int) -> Trained:
        layers = [LayerMeasure(i, n, None, start, peak) for i, n in enumerate((*widths, facts.n_classes))]
        counted: dict[str, int | None] = {
            "weights": net.weight_bytes,
            "gradients": None,
            "moments": net.moment_bytes,
            "saved_for_backward": net.saved_bytes,
            "buffers": net.buffer_bytes,
        }
        return Trained(layers, counted, 0.0, {"gradients": NO_GRADIENTS, "layers.seconds": NO_LAYER_SECONDS})

    return net, finish


def accuracy(predict: Predict, dataset: Dataset, rows: NDArray[np.int64]) -> float:
    """Return the share of some training rows that get their true label, read block by block."""
    hits = sum(int((predict(_raw(dataset, part)) == dataset.train.labels[part]).sum()) for part in _parts(rows))
    return hits / len(rows)


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    yield from (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))


def _raw(dataset: Dataset, rows: NDArray[np.int64]) -> Array:
    return np.ascontiguousarray(dataset.train.inputs.take(rows).reshape(len(rows), -1))
