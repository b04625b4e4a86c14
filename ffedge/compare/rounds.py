"""Statistics of a few rounds or runs: ratios within a round, medians, and how far values lie apart."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Values = Mapping[str, Sequence[float]]


def ratios(values: Values, pairs: Iterable[tuple[str, str]]) -> dict[str, list[float]]:
    """Divide the first arm's value by the second's, round by round."""
    return {f"{a} / {b}": [x / y for x, y in zip(values[a], values[b], strict=True)] for a, b in pairs}


def medians(values: Values) -> dict[str, float]:
    """Return the median over the rounds of each entry."""
    return {name: statistics.median(rounds) for name, rounds in values.items()}


def spread_text(rounds: Sequence[float], digits: int = 2) -> str:
    """Write a median and, in brackets, the least and the greatest round."""
    low, high = min(rounds), max(rounds)
    return f"{statistics.median(rounds):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def spread(runs: Sequence[float]) -> float:
    """Return the greatest less the least, as a share of the median: 0.03 where runs repeat within 3 %."""
    middle = statistics.median(runs)
    return (max(runs) - min(runs)) / middle if middle else 0.0


def median_of(runs: Sequence[Any]) -> Any:
    """Return the median of equally built dicts and lists, number by number; whole numbers stay whole.

    What is no number in every run is the first run's.
    """
    first = runs[0]
    if isinstance(first, dict):
        return {key: median_of([run[key] for run in runs]) for key in first}
    if isinstance(first, list):
        return [median_of(items) for items in zip(*runs, strict=False)]
    if any(isinstance(run, bool) or not isinstance(run, int | float) for run in runs):
        return first
    middle = statistics.median(runs)
    return round(middle) if all(isinstance(run, int) for run in runs) else middle
