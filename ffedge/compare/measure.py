"""Measures one arm in this process, which must have started for it alone (see `ffedge.compare.__main__`).

What is measured is never blended: the import share, the resident peak of each layer's phase, bytes that are counted by
name, seconds, accuracy on the held-out rows. What an arm cannot tell is None.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Arm, Work
from ffedge.data import ArrayRows, Dataset, Split, load
from ffedge.data.rows import RowSource
from ffedge.data.stream import Stream
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.network import InputFacts, initial_state, layer_shapes, resolve
from ffedge.spec import MOMENTS, Spec
from ffedge.training.facts import measure as measure_facts
from ffedge.training.loop import split_rows

FFEDGE_RATES = {"adam": (0.015, 0.005), "momentum": (0.02, 0.005), "sgd": (0.2, 0.05)}
BACKPROP_RATES = {"adam": 1e-3, "momentum": 0.02, "sgd": 0.1}
TINY = Work(widths=(8, 8), batch_size=16, rows=64)


@dataclass
class LayerMeasure:
    """One layer; its phase is its own where layers learn one after the other, else all layers' together."""

    index: int
    units: int
    seconds: float
    rss_start_bytes: int
    rss_peak_bytes: int


@dataclass
class Measure:
    """What one arm took and reached.

    Attributes
    ----------
    import_bytes : resident once everything is imported and a tiny net has been trained, so that what libraries load
        late is in it.
    rss_peak_bytes : largest resident memory from then on.
    counted_bytes : weights, gradients, moments, saved_for_backward, buffers, the most at one time; None where it cannot
        be counted.
    accuracy : on the held-out rows, 0 to 1.
    """

    arm: str
    import_bytes: int
    rss_peak_bytes: int
    peak_over_imports_bytes: int
    layers: list[LayerMeasure]
    counted_bytes: dict[str, int | None]
    seconds: float
    rows: int
    inputs: int
    accuracy: float


@dataclass
class _Trained:
    layers: list[LayerMeasure]
    counted_bytes: dict[str, int | None]
    accuracy: float


def measure(arm: Arm, work: Work) -> dict[str, Any]:
    """Train an arm and return its `Measure` as plain values."""
    train = _backprop if arm.trainer == "backprop" else _ffedge
    train(arm, TINY, _tiny(), PeakMeter())
    imported, meter, began = rss_bytes(), PeakMeter(), time.perf_counter()
    dataset = _first_rows(load(work.data, work.data_dir), work.rows)
    trained = train(arm, work, dataset, meter)
    peak, seconds = max(meter.peak(), meter.whole_bytes), time.perf_counter() - began
    return asdict(
        Measure(
            arm=arm.name,
            import_bytes=imported,
            rss_peak_bytes=peak,
            peak_over_imports_bytes=peak - imported,
            seconds=seconds,
            rows=len(dataset.train.labels),
            inputs=int(np.prod(dataset.input_shape)),
            **vars(trained),
        )
    )


def _ffedge(arm: Arm, work: Work, dataset: Dataset, meter: PeakMeter) -> _Trained:
    from ffedge.training.checkpoint import Place
    from ffedge.training.loop import Loop
    from ffedge.training.run import make_engine
    from ffedge.training.watch import Journal, Watcher

    saved: Any = contextlib.nullcontext()
    if arm.trainer == "torch":
        from ffedge.reference.saved import SavedBytes

        saved = SavedBytes()
    spec, facts = _prepare(arm, work, dataset)
    engine = make_engine(spec, facts, initial_state(spec, facts))
    loop = Loop(spec, dataset, facts, engine, Journal(), Watcher(), meter)
    with saved:
        loop.train(Place(), lambda: False)
    records = loop.layer_records()
    sizes = [sum(4 * int(np.prod(dims)) for dims in shape.parameters().values()) for shape in layer_shapes(spec, facts)]
    return _Trained(
        [LayerMeasure(r.index, work.widths[r.index], r.seconds, r.rss_start_bytes, r.rss_peak_bytes) for r in records],
        {
            "weights": sum(sizes),
            "gradients": max(sizes),  # one layer's, inside its step
            "moments": max(sizes) * len(MOMENTS[arm.optimizer]),
            "saved_for_backward": saved.peak_bytes if arm.trainer == "torch" else 0,
            "buffers": engine.buffer_bytes if arm.trainer == "onnx" else None,
        },
        float(records[-1].accuracy_sum or 0.0),
    )


def _backprop(arm: Arm, work: Work, dataset: Dataset, meter: PeakMeter) -> _Trained:
    import torch

    from ffedge.reference.backprop import Backprop

    torch.set_num_threads(work.threads)
    spec, facts = _prepare(arm, work, dataset)
    held, rows = split_rows(len(dataset.train.labels), spec)
    stream = Stream(dataset.train.inputs, dataset.train.labels, rows, spec.train, facts.size)
    rate = BACKPROP_RATES[arm.optimizer]
    net = Backprop(work.widths, facts, optimizer=arm.optimizer, rate=rate, form=arm.form, seed=work.seed)
    start = meter.start()
    for epoch in range(work.epochs):
        for step in range(stream.batches):
            for chunk in stream.chunks(0, epoch, step):
                net.learn(chunk.raw, chunk.labels)
    peak = meter.peak()
    raw = dataset.train.inputs.take(held).reshape(len(held), -1)
    return _Trained(
        [LayerMeasure(i, n, net.seconds[i], start, peak) for i, n in enumerate((*work.widths, facts.n_classes))],
        {
            "weights": net.weight_bytes,
            "gradients": net.gradient_bytes,
            "moments": net.moment_bytes,
            "saved_for_backward": net.saved.peak_bytes,
            "buffers": None,
        },
        float((net.predict(raw) == dataset.train.labels[held]).mean()),
    )


def _prepare(arm: Arm, work: Work, dataset: Dataset) -> tuple[Spec, InputFacts]:
    """Return the resolved spec and the facts; batches and held-out rows follow from them, the same for every arm."""
    spec = Spec.make(
        variant=arm.variant,
        optimizer=arm.optimizer,
        engine="torch" if arm.trainer == "torch" else "onnx",
        widths=work.widths,
        batch_size=work.batch_size,
        epochs=work.epochs,
        seed=work.seed,
        threads=work.threads,
        input_dropout=0.0,
        rate=FFEDGE_RATES[arm.optimizer][: len(work.widths)],
        weight_decay=0.0,
    )
    facts = measure_facts(dataset, spec.network)
    return resolve(spec, facts, len(dataset.train.labels)), facts


class _FirstRows:
    """The first rows of a source."""

    def __init__(self, source: RowSource, rows: int) -> None:
        self._source, self.dtype, self.row_shape = source, source.dtype, source.row_shape
        self.shape = (min(rows, len(source)), *source.row_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, indices: NDArray[np.integer[Any]]) -> NDArray[Any]:
        return self._source.take(indices)

    def blocks(self, rows_per_block: int) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self), rows_per_block):
            yield self._source.take(np.arange(start, min(start + rows_per_block, len(self))))


def _first_rows(whole: Dataset, rows: int) -> Dataset:
    inputs = _FirstRows(whole.train.inputs, rows)
    train = Split(inputs, whole.train.labels[np.arange(len(inputs))])
    return Dataset(whole.name, train, None, whole.classes, whole.sha256)


def _tiny() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(TINY.rows) % 3
    inputs = ArrayRows(rng.integers(0, 256, (TINY.rows, 16), dtype=np.uint8))
    return Dataset("tiny", Split(inputs, labels), None, ("0", "1", "2"), "")
