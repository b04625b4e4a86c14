"""An arm's accuracy over its seconds of training, measured on held-out rows while the clock stands still."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.arms import Arm, Work
from ffedge.compare.measure import TINY, first_rows, tiny
from ffedge.compare.trainers import Predict, Watch, accuracy, train
from ffedge.data import Dataset, load
from ffedge.meter import PeakMeter
from ffedge.spec import TrainSpec

EVALUATIONS = 10  # in an epoch
AS_SHIPPED = {"input_dropout": TrainSpec.input_dropout, "weight_decay": TrainSpec.weight_decay}


@dataclass(frozen=True)
class Reached:
    """Accuracy after some seconds of training on so many rows; ffedge's rows count once for each layer."""

    seconds: float
    rows: int
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """How an arm learnt.

    Attributes
    ----------
    setup_s : from opening the data set to the first batch: graphs are built, sessions loaded.
    seconds : of training, all layers; evaluation left out.
    evaluation_s : of evaluation, beside it.
    rows, epochs : trained on in an epoch of a layer; epochs of each layer.
    held_out : rows that the accuracy is measured on.
    """

    arm: str
    setup_s: float
    seconds: float
    evaluation_s: float
    rows: int
    epochs: int
    held_out: int
    points: list[Reached]

    @property
    def rows_per_second(self) -> float:
        """Rows that went through the training of all layers, a second."""
        return self.rows * self.epochs / self.seconds

    @property
    def accuracy(self) -> float:
        """The last one."""
        return self.points[-1].accuracy

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Curve":
        """Return a curve from its plain values."""
        return cls(**plain | {"points": [Reached(**point) for point in plain["points"]]})

    def time_to(self, target: float) -> float | None:
        """Return the seconds of training at the first evaluation that reached an accuracy, or None."""
        return next((point.seconds for point in self.points if point.accuracy >= target), None)


class Recorder(Watch):
    """Draws a curve while an arm trains.

    Parameters
    ----------
    evaluations : in an epoch, evenly spread, the last one at its end.
    clock : tells seconds.
    """

    def __init__(self, evaluations: int = EVALUATIONS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._evaluations, self._clock = evaluations, clock
        self.began = clock()
        self.seconds = self.evaluation_s = 0.0
        self.points: list[Reached] = []
        self.epoch_rows = self.held_out = 0
        self._rows = self._taken = 0

    def begin(self, dataset: Dataset, held_out: NDArray[np.int64], rows: int) -> None:
        """Start the clock."""
        self._dataset, self._held_out = dataset, held_out
        self.epoch_rows, self.held_out = rows, len(held_out)
        self._since = self._clock()
        self.setup_s = self._since - self.began

    def batch(self, samples: int, *, ends_epoch: bool, predict: Predict) -> None:
        """Stop the clock and evaluate, where it is time to."""
        before = self._taken * self._evaluations // self.epoch_rows
        self._taken, self._rows = self._taken + samples, self._rows + samples
        if self._taken * self._evaluations // self.epoch_rows == before and not ends_epoch:
            return
        stopped = self._clock()
        self.seconds += stopped - self._since
        reached = accuracy(predict, self._dataset, self._held_out)
        self.points.append(Reached(self.seconds, self._rows, reached))
        self._since = self._clock()
        self.evaluation_s += self._since - stopped
        if ends_epoch:
            self._taken = 0

    def epoch(self) -> None:
        """Start the clock again: what the loop evaluated for itself is not in it."""
        now = self._clock()
        self.evaluation_s += now - self._since
        self._since = now


def measure_curve(arm: Arm, work: Work) -> dict[str, Any]:
    """Train an arm and return its `Curve` as plain values; ffedge drops inputs and decays as `ffedge train` does."""
    options: dict[str, Any] = {} if arm.is_backprop else dict(AS_SHIPPED)
    if options and arm.optimizer != "adam":  # the decay is a share of the rate, here hundreds of times Adam's
        options["weight_decay"] = 0.0
    train(arm, TINY, tiny(), PeakMeter(), **options)
    recorder = Recorder()
    dataset = first_rows(load(work.data, work.data_dir), work.rows)
    train(arm, work, dataset, PeakMeter(), recorder, **options)
    return asdict(
        Curve(
            arm=arm.name,
            setup_s=recorder.setup_s,
            seconds=recorder.seconds,
            evaluation_s=recorder.evaluation_s,
            rows=recorder.epoch_rows,
            epochs=work.epochs,
            held_out=recorder.held_out,
            points=recorder.points,
        )
    )
