"""What the measures say, in plain words; where backpropagation is better first of all. Computed, never assumed."""

from collections.abc import Callable, Iterable, Sequence

from ffedge.compare.arms import ARMS
from ffedge.compare.measure import Measure
from ffedge.compare.memory import Point, crossover

NOT_MEASURED = "Energy is not measured: that takes a meter between supply and machine."


def sentences(measures: Iterable[Measure]) -> list[str]:
    """Say which arm took less memory, same optimiser against same optimiser, and what else each took and reached."""
    by_name, said = {m.arm: m for m in measures}, []
    for name, own in by_name.items():
        rivals = [m for m in by_name.values() if is_rival(m.arm, name)]
        if not rivals:
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


def crossings(found: Sequence[Point], sweep: str) -> list[str]:
    """Say from which value of a sweep on an arm takes less than a baseline."""
    names, said = [m.arm for m in found[0].measures], []
    for own in (name for name in names if not ARMS[name].is_backprop):
        for other in (name for name in names if ARMS[name].is_backprop):
            start = crossover(found, own, other)
            where = "at no value measured" if start is None else f"from {sweep} {start:.3g} on"
            said.append(f"{own} takes less than {other} {where}.")
    return said


def where_backprop_is_better(found: Sequence[Point], sweep: str | None) -> list[str]:
    """Say where the best baseline of the same optimiser takes less memory or time, or gets more right."""
    by_peak: Callable[[Measure], float] = lambda m: m.peak_over_imports_bytes  # noqa: E731
    said = [
        *_better(
            found, sweep, "takes less memory over its imports", by_peak, lambda m: _mib(m.peak_over_imports_bytes)
        ),
        *_better(
            found, sweep, "is faster", lambda m: m.seconds - m.setup_s, lambda m: f"{m.seconds - m.setup_s:.2f} s"
        ),
        *_better(found, sweep, "gets more right", lambda m: -m.accuracy, lambda m: f"{100 * m.accuracy:.1f} %"),
    ]
    heading = (
        "Where backprop is better (set-up left out of the times):" if said else "Backprop was better nowhere here."
    )
    return [heading, *said, NOT_MEASURED]


def _better(
    found: Sequence[Point],
    sweep: str | None,
    what: str,
    badness: Callable[[Measure], float],
    text: Callable[[Measure], str],
) -> list[str]:
    said = []
    for own_name in [m.arm for m in found[0].measures if not ARMS[m.arm].is_backprop]:
        places = []
        for point in found:
            own = next(m for m in point.measures if m.arm == own_name)
            rivals = [m for m in point.measures if is_rival(m.arm, own_name)]
            best = min(rivals, key=badness, default=None)
            if best is not None and badness(best) < badness(own):
                where = "" if sweep is None else f" at {sweep} {point.value}"
                places.append(f"{best.arm}{where} ({text(best)} against {text(own)})")
        if places:
            said.append(f"- it {what} than {own_name}: {', '.join(places)}.")
    return said


def is_rival(name: str, own: str) -> bool:
    """Say whether one arm is a baseline with the optimiser of another, which is ffedge's."""
    arm, mine = ARMS[name], ARMS[own]
    return arm.is_backprop and not mine.is_backprop and arm.optimizer == mine.optimizer


def _mib(count: float) -> str:
    return f"{count / 2**20:.1f} MiB"
