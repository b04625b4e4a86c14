"""Rows a second and time to given accuracies, arm beside arm: medians of several runs, and what they say."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ffedge.compare.arms import ARMS, OPTIMIZERS, Work
from ffedge.compare.curve import AS_SHIPPED, EVALUATIONS, Curve
from ffedge.compare.measurer import Job, Measurer, all_versions
from ffedge.compare.rounds import spread
from ffedge.compare.verdict import NOT_MEASURED
from ffedge.training.records import machine

DEFAULT = Work("mnist", widths=(500, 500), batch_size=64, rows=60_000, epochs=5)
QUICK = Work("mnist-mini", widths=(500, 500), batch_size=64, rows=6000, epochs=4)
TARGETS = (0.97, 0.98)
QUICK_TARGETS = (0.90, 0.92)
LITTLE = 1.05
QUICK_ARMS = ("ffedge-ff-adam", "ffedge-acff-adam", "backprop-adam", "backprop-sgd", "backprop-adam-ort")
CLOCK = (
    "Seconds are of training alone: the clock stands still while accuracy is measured on the held-out rows, "
    f"{EVALUATIONS} times an epoch, and set-up is told apart. ffedge's are those of all layers up to that point."
)


@dataclass(frozen=True)
class Time:
    """When an arm reached a target: the median of its runs, and each of them; None where it never did, and why."""

    target: float
    seconds: float | None
    runs: list[float | None]
    why: str | None = None


@dataclass(frozen=True)
class ArmCurves:
    """An arm's runs."""

    runs: list[Curve]

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.runs[0].arm

    def median(self, name: str) -> float:
        """Return the median over the runs of one of a curve's numbers."""
        return float(statistics.median(getattr(run, name) for run in self.runs))

    def spread(self, name: str) -> float:
        """Return how far the runs lie apart, as a share of the median."""
        return spread([getattr(run, name) for run in self.runs])

    def time_to(self, target: float) -> Time:
        """Return when a target was reached; a run that never did counts as slower than all others."""
        times = [run.time_to(target) for run in self.runs]
        reached = [seconds for seconds in times if seconds is not None]
        if 2 * len(reached) > len(times):
            counted = [float("inf") if seconds is None else seconds for seconds in times]
            return Time(target, float(statistics.median(counted)), times)
        best = max(point.accuracy for run in self.runs for point in run.points)
        epochs = self.runs[0].epochs
        why = f"reached in {len(reached)} of {len(times)} runs of {epochs} epochs; the best accuracy was {best:.4f}"
        return Time(target, None, times, why)


def curves(measurer: Measurer, arms: Sequence[str], work: Work, repeat: int) -> list[ArmCurves]:
    """Train every arm `repeat` times, the arms taking turns."""
    jobs = [Job("speed", arm, work, run) for run in range(repeat) for arm in arms]
    found = dict(zip(jobs, map(Curve.read, measurer.take(jobs)), strict=True))
    return [ArmCurves([found[Job("speed", arm, work, run)] for run in range(repeat)]) for arm in arms]


def sentences(found: Sequence[ArmCurves], targets: Sequence[float]) -> list[str]:
    """Say who is fastest to each target and in rows a second, of all and by each optimiser, whoever wins."""
    groups = {"any optimiser": list(found)}
    for optimizer in OPTIMIZERS:
        same = [a for a in found if ARMS[a.arm].optimizer == optimizer]
        if len({ARMS[a.arm].is_backprop for a in same}) > 1:
            groups[optimizer] = same
    said = [_who(arms, target, by) for target in targets for by, arms in groups.items()]
    return [*said, *(_most_rows(arms, by) for by, arms in groups.items()), CLOCK, NOT_MEASURED]


def _most_rows(found: Sequence[ArmCurves], by: str) -> str:
    sides = [
        [(a.median("rows_per_second"), a.arm) for a in found if ARMS[a.arm].is_backprop == s] for s in (False, True)
    ]
    if not all(sides):
        return f"Rows a second by {by}: only one side was measured."
    (less, last), (more, first) = sorted(map(max, sides))
    who = "backprop" if ARMS[first].is_backprop else "ffedge"
    return f"Rows a second by {by}: {who} has {more / less:.1f} times as many: {first} {more:,.0f}, {last} {less:,.0f}."


def _who(found: Sequence[ArmCurves], target: float, by: str) -> str:
    times = {a.arm: a.time_to(target).seconds for a in found}
    reached = {arm: seconds for arm, seconds in times.items() if seconds is not None}
    text = f"To {100 * target:g} % by {by}: "
    sides = {
        side: min((a for a in reached if ARMS[a].is_backprop == side), key=reached.__getitem__, default=None)
        for side in (False, True)
    }
    own, other = sides[False], sides[True]
    if own is None and other is None:
        return text + "no arm reached it."
    if own is None or other is None:
        first = own or other
        loser = "backprop" if other is None else "ffedge"
        return text + f"{first} took {reached[str(first)]:.2f} s; no arm of {loser} reached it."
    winner, last = sorted((own, other), key=reached.__getitem__)
    who = "backprop" if ARMS[winner].is_backprop else "ffedge"
    times_text = f"{winner} took {reached[winner]:.2f} s, {last} {reached[last]:.2f} s"
    if reached[last] < LITTLE * reached[winner]:
        return text + f"neither is faster by more than 5 %: {times_text}."
    return text + f"{who} is faster, {reached[last] / reached[winner]:.1f} times: {times_text}."


def document(found: Sequence[ArmCurves], work: Work, targets: Sequence[float], said: Sequence[str]) -> dict[str, Any]:
    """Return everything measured as one JSON document; units stand in the names."""
    return {
        "benchmark": "speed",
        "machine": machine(),
        "versions": all_versions(),
        "work": dataclasses.asdict(work),
        "ffedge_as_shipped": AS_SHIPPED,
        "targets": list(targets),
        "said": list(said),
        "arms": [
            {
                "arm": a.arm,
                "rows_per_second": a.median("rows_per_second"),
                "seconds": a.median("seconds"),
                "setup_s": a.median("setup_s"),
                "accuracy": a.median("accuracy"),
                "time_to": [dataclasses.asdict(a.time_to(target)) for target in targets],
                "spread": {name: a.spread(name) for name in ("rows_per_second", "seconds", "setup_s", "accuracy")},
                "runs": [dataclasses.asdict(run) for run in a.runs],
            }
            for a in found
        ],
    }
