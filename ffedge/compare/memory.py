"""Memory and time of arms, at one work or over a sweep: medians of several runs, and how far these lie apart."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ffedge.compare.arms import Work
from ffedge.compare.measure import Measure
from ffedge.compare.measurer import Job, Measurer, all_versions
from ffedge.compare.rounds import median_of, spread
from ffedge.spec import MOMENTS
from ffedge.training.records import machine

SWEEPS: dict[str, tuple[int, ...]] = {
    "depth": (2, 4, 8, 16, 32),
    "width": (250, 500, 1000, 2000, 4000),
    "batch": (1, 8, 64, 256, 1024),
}
SPREAD = ("import_bytes", "rss_peak_bytes", "peak_over_imports_bytes", "seconds", "accuracy")


@dataclass(frozen=True)
class Point:
    """One value of a sweep (None where there is none), and what each arm took there, run by run."""

    value: int | None
    work: Work
    runs: list[list[Measure]]

    @cached_property
    def measures(self) -> list[Measure]:
        """The median of each arm's runs, number by number."""
        return [Measure.read(median_of([dataclasses.asdict(run) for run in runs])) for runs in self.runs]

    @property
    def inputs(self) -> int:
        """Inputs of a sample."""
        return self.runs[0][0].inputs

    def spread(self, arm: int, name: str) -> float:
        """Return how far an arm's runs lie apart, as a share of the median."""
        return spread([getattr(run, name) for run in self.runs[arm]])


def points(
    measurer: Measurer, arms: Sequence[str], work: Work, sweep: str | None, values: Sequence[int], repeat: int
) -> list[Point]:
    """Measure every arm `repeat` times, the arms taking turns, at every value of a sweep.

    Parameters
    ----------
    sweep : ``depth`` (layers of the first width), ``width``, ``batch``, or None for the work as it is.
    """
    places = [(value, _at(work, sweep, value)) for value in values] if sweep else [(None, work)]
    jobs = [Job("memory", arm, there, run) for _, there in places for run in range(repeat) for arm in arms]
    found = dict(zip(jobs, map(Measure.read, measurer.take(jobs)), strict=True))
    return [
        Point(value, there, [[found[Job("memory", arm, there, run)] for run in range(repeat)] for arm in arms])
        for value, there in places
    ]


def _at(work: Work, sweep: str, value: int) -> Work:
    if sweep == "depth":
        return dataclasses.replace(work, widths=work.widths[:1] * value)
    if sweep == "width":
        return dataclasses.replace(work, widths=(value,) * len(work.widths))
    return dataclasses.replace(work, batch_size=value)


def bound_bytes(work: Work, inputs: int, optimizer: str) -> int:
    """Return what layer-by-layer training cannot go below: one layer's weights, gradients and moments, and a batch.

    The layer is the largest; the batch's rows are one true and one wrong label of each sample, into and out of it.
    """
    sizes = (inputs, *work.widths)
    layers = [(i * o + o) * (2 + len(MOMENTS[optimizer])) for i, o in zip(sizes, work.widths, strict=False)]
    rows = max((i + o) * 2 * work.batch_size for i, o in zip(sizes, work.widths, strict=False))
    return 4 * (max(layers) + rows)


def crossover(found: Sequence[Point], arm: str, other: str) -> float | None:
    """Return from which value on an arm's peak over imports stays below another's, between points on a straight line.

    None where it does not at the last value.
    """
    gaps = [(float(p.value or 0), _over(p, arm) - _over(p, other)) for p in found]
    if not gaps or gaps[-1][1] >= 0:
        return None
    for (left, above), (right, below) in reversed(list(itertools.pairwise(gaps))):
        if above >= 0:
            return left + (right - left) * above / (above - below)
    return gaps[0][0]


def _over(point: Point, arm: str) -> int:
    return next(m.peak_over_imports_bytes for m in point.measures if m.arm == arm)


def document(found: Sequence[Point], sweep: str | None, said: Sequence[str]) -> dict[str, Any]:
    """Return everything measured as one JSON document; units stand in the names.

    A point's ``measures`` are medians, its ``runs`` all that was measured; ``spread`` is the greatest less the least
    of an arm's runs as a share of the median.
    """
    return {
        "benchmark": "memory",
        "sweep": sweep,
        "machine": machine(),
        "versions": all_versions(),
        "said": list(said),
        "points": [
            {
                "value": point.value,
                "work": dataclasses.asdict(point.work),
                "measures": [dataclasses.asdict(m) for m in point.measures],
                "spread": [
                    {"arm": m.arm} | {name: point.spread(arm, name) for name in SPREAD}
                    for arm, m in enumerate(point.measures)
                ],
                "runs": [[dataclasses.asdict(run) for run in runs] for runs in point.runs],
            }
            for point in found
        ],
    }
