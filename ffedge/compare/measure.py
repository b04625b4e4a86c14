"""Measures one arm in this process, which must have started for it alone (see `ffedge.compare.__main__`).

What is measured is never blended: the import share, the resident peak of each layer's phase, bytes that are counted by
name, seconds, accuracy on the held-out rows. What an arm cannot tell is None, and `unknown` says why.
"""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Arm, Work
from ffedge.compare.trainers import LayerMeasure, Trained, Watch, train
from ffedge.data import ArrayRows, Dataset, Split, load
from ffedge.data.rows import Chosen
from ffedge.data.stream import OtherRows
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.pages import release_libraries, return_large_blocks

TINY = Work(widths=(8, 8), batch_size=16, rows=64)
NO_RESETS = "this system does not tell the peak of a phase: it has no /proc/self/clear_refs"


@dataclass
class Measure:
    """What one arm took and reached.

    Attributes
    ----------
    import_bytes : resident once everything is imported and a tiny net has been trained twice, the libraries' code given
        back between: so what they load late is in it, and what only their start needs is not.
    rss_peak_bytes : largest resident memory from then on; of the process's whole life where a peak cannot be reset.
    counted_bytes : weights, gradients, moments, saved_for_backward, buffers, the most at one time; None where it cannot
        be counted.
    seconds : from opening the data set to the last accuracy; `setup_s` of them passed before the first batch (graphs
        are built, sessions loaded).
    accuracy : on the held-out rows, 0 to 1.
    unknown : why a value is None, or not of the whole training, by its name.
    """

    arm: str
    import_bytes: int
    rss_peak_bytes: int
    peak_over_imports_bytes: int
    layers: list[LayerMeasure]
    counted_bytes: dict[str, int | None]
    seconds: float
    setup_s: float
    rows: int
    inputs: int
    accuracy: float
    unknown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Measure":
        """Return a measure from its plain values."""
        return cls(**plain | {"layers": [LayerMeasure(**layer) for layer in plain["layers"]]})


class _Start(Watch):
    """Remembers when the first batch came."""

    def __init__(self) -> None:
        self.at = time.perf_counter()

    def begin(self, dataset: Dataset, held_out: NDArray[np.int64], rows: int) -> None:
        self.at = time.perf_counter()


def measure(arm: Arm, work: Work) -> dict[str, Any]:
    """Train an arm and return its `Measure` as plain values."""
    return_large_blocks()
    train(arm, TINY, tiny(), PeakMeter())
    release_libraries()  # for every arm, as ffedge does: what only a library's start needed does not count
    train(arm, TINY, tiny(), PeakMeter())
    imported, meter, start, began = rss_bytes(), PeakMeter(), _Start(), time.perf_counter()
    dataset = first_rows(load(work.data, work.data_dir), work.rows)
    trained = train(arm, work, dataset, meter, start)
    peak, seconds = max(meter.peak(), meter.whole_bytes), time.perf_counter() - began
    if not meter.resets:
        _forget_phases(trained)
    return asdict(
        Measure(
            arm=arm.name,
            import_bytes=imported,
            rss_peak_bytes=peak,
            peak_over_imports_bytes=peak - imported,
            seconds=seconds,
            setup_s=start.at - began,
            rows=len(dataset.train.labels),
            inputs=int(np.prod(dataset.input_shape)),
            **vars(trained),
        )
    )


def _forget_phases(trained: Trained) -> None:
    for layer in trained.layers:
        layer.rss_peak_bytes = None
    trained.unknown["layers.rss_peak_bytes"] = NO_RESETS


def first_rows(whole: Dataset, rows: int) -> Dataset:
    """Return the first training rows of a data set, without a test split."""
    count = min(rows, len(whole.train.inputs))
    first = OtherRows(count, np.zeros(0, np.int64))  # all from 0 on, without an array of them
    train_split = Split(Chosen(whole.train.inputs, first), whole.train.labels[np.arange(count)])
    return Dataset(whole.name, train_split, None, whole.classes, whole.sha256)


def tiny() -> Dataset:
    """Return a data set of noise, small enough to train on at once."""
    rng = np.random.default_rng(0)
    labels = np.arange(TINY.rows) % 3
    inputs = ArrayRows(rng.integers(0, 256, (TINY.rows, 16), dtype=np.uint8))
    return Dataset("tiny", Split(inputs, labels), None, ("0", "1", "2"), "")
