"""Memory and time of arms: each measured in a clean child, kept as it comes, summed up in a table and a sentence."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffedge.child import ask
from ffedge.compare.arms import ARMS, Work
from ffedge.compare.measure import Measure
from ffedge.spec import MOMENTS
from ffedge.training.records import machine, versions

SWEEPS: dict[str, tuple[int, ...]] = {
    "depth": (2, 4, 8, 16, 32),
    "width": (250, 500, 1000, 2000, 4000),
    "batch": (1, 8, 64, 256, 1024),
}


@dataclass(frozen=True)
class Point:
    """One value of a sweep (None where there is none), and what each arm took there."""

    value: int | None
    work: Work
    measures: list[Measure]

    @property
    def inputs(self) -> int:
        """Inputs of a sample."""
        return self.measures[0].inputs


class Measurer:
    """Measures arms, one child process after the other; what stands in the file already is not measured again.

    Parameters
    ----------
    file : JSON lines, a measure a line; None keeps nothing.
    tell : hears what is being measured.
    """

    def __init__(self, file: Path | None, tell: Callable[[str], None]) -> None:
        self._file, self._tell = file, tell
        self._known: dict[str, Any] = {}
        if file is not None and file.exists():
            whole = file.read_text().rpartition("\n")[0].splitlines()  # the last line may be torn
            self._known = {entry["key"]: entry["measure"] for entry in map(json.loads, whole)}

    def measure(self, arm: str, work: Work) -> Measure:
        """Return the measure of an arm doing some work."""
        asked = {"arm": arm, "work": dataclasses.asdict(work)}
        key = json.dumps([asked, versions()])
        if key not in self._known:
            self._tell(f"{arm}, {len(work.widths)} x {work.widths[0]}, batch {work.batch_size}")
            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(work.threads))
            self._known[key] = ask("ffedge.compare", asked, threads)
            if self._file is not None:
                with self._file.open("a") as file:
                    file.write(json.dumps({"key": key, "measure": self._known[key]}) + "\n")
        return Measure.read(self._known[key])


def points(
    measurer: Measurer, arms: Sequence[str], work: Work, sweep: str | None, values: Sequence[int]
) -> list[Point]:
    """Measure every arm, at every value of a sweep.

    Parameters
    ----------
    sweep : ``depth`` (layers of the first width), ``width``, ``batch``, or None for the work as it is.
    """
    places = [(value, _at(work, sweep, value)) for value in values] if sweep else [(None, work)]
    return [Point(value, there, [measurer.measure(arm, there) for arm in arms]) for value, there in places]


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


def sentences(measures: Iterable[Measure]) -> list[str]:
    """Say in plain words which arm took less, same optimiser against same optimiser."""
    by_name, said = {m.arm: m for m in measures}, []
    for name, own in by_name.items():
        arm = ARMS[name]
        rivals = [m for m in by_name.values() if _is_rival(m.arm, arm.optimizer)]
        if arm.is_backprop or not rivals:
            continue
        best = min(rivals, key=lambda m: m.peak_over_imports_bytes)
        less = "less" if own.peak_over_imports_bytes < best.peak_over_imports_bytes else "not less"
        said.append(
            f"{name} peaked {_mib(own.peak_over_imports_bytes)} over its imports, {less} than the leanest backprop "
            f"with the same optimiser, {best.arm}, with {_mib(best.peak_over_imports_bytes)}; the whole processes at "
            f"{_mib(own.rss_peak_bytes)} and {_mib(best.rss_peak_bytes)}. It took {own.seconds:.1f} s against "
            f"{best.seconds:.1f} s, and reached {100 * own.accuracy:.1f} % against {100 * best.accuracy:.1f} %."
        )
    return said


def _is_rival(name: str, optimizer: str) -> bool:
    return ARMS[name].is_backprop and ARMS[name].optimizer == optimizer


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def document(found: Sequence[Point], sweep: str | None) -> dict[str, Any]:
    """Return everything measured as one JSON document; units stand in the names."""
    return {
        "benchmark": "memory",
        "sweep": sweep,
        "machine": machine(),
        "versions": versions(),
        "points": [dataclasses.asdict(point) for point in found],
    }
