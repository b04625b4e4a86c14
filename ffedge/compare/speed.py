"""Rows a second and time to given accuracies: an arm's accuracy over its seconds of training.

Seconds are of training alone: the clock stands still while accuracy is measured on the held-out rows, and set-up is
told apart. ffedge's are those of all layers up to that point.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from ffedge.compare.arms import Arm, Work, chosen_arms
from ffedge.compare.load import doubts, spread
from ffedge.compare.runner import Runner, document, repeats
from ffedge.compare.train import Labels, Predict, Watch, accuracy, some_rows, train, warm_up
from ffedge.data import Dataset, load
from ffedge.meter import PeakMeter
from ffedge.spec_parts import TrainSpec

DEFAULT = Work("mnist", widths=(500, 500), batch_size=64, rows=60_000, epochs=5)
QUICK = Work("mnist-mini", widths=(500, 500), batch_size=64, rows=6000, epochs=4)
TARGETS, QUICK_TARGETS = (0.97, 0.98), (0.90, 0.92)
EVALUATIONS = 10  # in an epoch
AS_SHIPPED = {"input_dropout": TrainSpec.input_dropout, "weight_decay": TrainSpec.weight_decay}


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
        self.points: list[dict[str, Any]] = []
        self.epoch_rows = self.held_out = 0
        self._rows = self._taken = 0

    def begin(self, dataset: Dataset, held_out: Labels, rows: int) -> None:
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
        self.points.append({"seconds": self.seconds, "rows": self._rows, "accuracy": reached})
        self._since = self._clock()
        self.evaluation_s += self._since - stopped
        if ends_epoch:
            self._taken = 0

    def epoch(self) -> None:
        """Start the clock again: what the loop evaluated for itself is not in it."""
        now = self._clock()
        self.evaluation_s += now - self._since
        self._since = now


def measure(arm: Arm, work: Work) -> dict[str, Any]:
    """Train an arm; ffedge drops inputs and decays weights as `ffedge train` does. Return its curve.

    - ``setup_s``: from opening the data set to the first batch; ``seconds``: of training all layers; beside them
      ``evaluation_s``.
    - ``rows``, ``epochs``: trained on in an epoch of a layer; of each layer. ``held_out``: rows of the accuracy.
    - ``points``: accuracy after so many seconds and rows; ffedge's rows count once for each layer.
    """
    options: dict[str, Any] = dict(AS_SHIPPED) if arm.variant else {}
    if options and arm.optimizer != "adam":  # the decay is a share of the rate, here hundreds of times Adam's
        options["weight_decay"] = 0.0
    warm_up(arm, **options)
    recorder = Recorder()
    dataset = some_rows(load(work.data, work.data_dir), work.rows)
    train(arm, work, dataset, PeakMeter(), recorder, **options)
    return {
        "arm": arm.name,
        "setup_s": recorder.setup_s,
        "seconds": recorder.seconds,
        "evaluation_s": recorder.evaluation_s,
        "rows": recorder.epoch_rows,
        "epochs": work.epochs,
        "held_out": recorder.held_out,
        "points": recorder.points,
    }


def time_to(runs: Sequence[dict[str, Any]], target: float) -> dict[str, Any]:
    """Return when a target was reached: the median of an arm's runs, and each; None where it never was, and why.

    A run's time is that of the first evaluation at or above the target; one that never got there counts as slower than
    all others.
    """
    times = [next((p["seconds"] for p in run["points"] if p["accuracy"] >= target), None) for run in runs]
    reached, seconds, why = [t for t in times if t is not None], None, None
    if 2 * len(reached) > len(times):
        seconds = statistics.median([float("inf") if t is None else t for t in times])
    else:
        best = max(p["accuracy"] for run in runs for p in run["points"])
        epochs = runs[0]["epochs"]
        why = f"reached in {len(reached)} of {len(times)} runs of {epochs} epochs; the best accuracy was {best:.4f}"
    return {"target": target, "seconds": seconds, "runs": times, "why": why}


def summary(runs: list[dict[str, Any]], targets: Sequence[float]) -> dict[str, Any]:
    """Return the medians of an arm's runs, when it reached each target, and all runs."""
    values: dict[str, list[float]] = {
        "rows_per_second": [run["rows"] * run["epochs"] / run["seconds"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "setup_s": [run["setup_s"] for run in runs],
        "accuracy": [run["points"][-1]["accuracy"] for run in runs],
    }
    return {
        "arm": runs[0]["arm"],
        **{name: statistics.median(each) for name, each in values.items()},
        "time_to": [time_to(runs, target) for target in targets],
        "spread": {name: spread(each) for name, each in values.items()},
        "runs": runs,
    }


def compare(
    runner: Runner,
    changes: dict[str, Any],
    arms: Sequence[str] = (),
    repeat: int = 0,
    targets: Sequence[float] = (),
    *,
    quick: bool = False,
) -> dict[str, Any]:
    """Train every arm `repeat` times; return the result's document. See `memory.compare`.

    Raises
    ------
    ValueError
        A target is no fraction between 0 and 1.
    """
    targets = targets or (QUICK_TARGETS if quick else TARGETS)
    if not all(0 < target < 1 for target in targets):
        raise ValueError(f"`targets` must be fractions between 0 and 1, got {targets!r}")
    work = dataclasses.replace(QUICK if quick else DEFAULT, **changes)
    taken = runner.take("speed", chosen_arms(arms, quick=quick), work, repeats(repeat, quick=quick))
    facts = {"work": dataclasses.asdict(work), "ffedge_as_shipped": AS_SHIPPED, "targets": list(targets)}
    doubt = doubts(
        [run.get("others_cores") for runs in taken.values() for run in runs],
        {arm: [run["seconds"] for run in runs] for arm, runs in taken.items()},
    )
    return document("speed", **facts, doubts=doubt, arms=[summary(runs, targets) for runs in taken.values()])
