"""Paired comparisons over seeds, by scipy: the same seed gives both sides the same first weights and draws.

A difference is told with its 95 % interval, two tests and its size; how many tests were made counts too (`holm`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError

LEVEL = 0.05


@dataclass(frozen=True)
class Paired:
    """A value less another, over n pairs; the unit of `mean`, `low` and `high` is the values'.

    Attributes
    ----------
    mean, low, high : of the differences, with Student's 95 % interval of the mean (NaN of one pair).
    t_p : of the paired t-test, two-sided.
    wilcoxon_p : of the signed-rank test, two-sided and exact; of n pairs it cannot be below ``2 ** (1 - n)``.
    d : Cohen's d of paired samples: mean over standard deviation of the differences.
    """

    n: int
    mean: float
    low: float
    high: float
    t_p: float
    wilcoxon_p: float
    d: float


def paired(values: Sequence[float], others: Sequence[float]) -> Paired:
    """Compare two lists of values, pair by pair.

    Raises
    ------
    ValueError
        They are not of the same length, or empty.
    FfedgeError
        scipy is not installed.
    """
    if len(values) != len(others) or len(values) == 0:
        raise ValueError(f"values must be as many as others and at least one, got {len(values)} and {len(others)}")
    stats = scipy_stats()
    differences = np.subtract(np.asarray(values, float), np.asarray(others, float))
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Paired(n, mean, *[math.nan] * 5)
    deviation = float(differences.std(ddof=1))
    if math.isclose(deviation, 0.0, abs_tol=1e-12):  # no spread: a test has nothing to say but whether they differ
        same = math.isclose(mean, 0.0, abs_tol=1e-12)
        t_p, d = (1.0, 0.0) if same else (0.0, math.copysign(math.inf, mean))
        return Paired(n, mean, mean, mean, t_p, _wilcoxon_p(stats, differences), d)
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * deviation / math.sqrt(n)
    t_p = float(stats.ttest_rel(values, others).pvalue)
    return Paired(n, mean, mean - reach, mean + reach, t_p, _wilcoxon_p(stats, differences), mean / deviation)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of Student's 95 % interval of it (NaN of one value)."""
    if len(values) < 2:
        return values[0], math.nan
    reach = float(scipy_stats().t.ppf(1 - LEVEL / 2, len(values) - 1))
    return statistics.mean(values), reach * statistics.stdev(values) / math.sqrt(len(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number by Holm's step-down method (1979); NaN stays, uncounted."""
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted, highest = list(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Benjamini and Hochberg's method (1995); NaN stays, uncounted.

    Of the tests with an adjusted value below 0.05, about 1 in 20 is expected to be by chance.

    Raises
    ------
    FfedgeError
        scipy is not installed.
    """
    counted = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = list(p_values)
    if counted:
        found = scipy_stats().false_discovery_control([p_values[i] for i in counted])
        for i, value in zip(counted, found, strict=True):
            adjusted[i] = float(value)
    return adjusted


def _wilcoxon_p(stats: Any, differences: NDArray[np.float64]) -> float:
    """Return the exact p-value; ties and zeros are counted by going through all signs."""
    differences = differences[~np.isclose(differences, 0.0, atol=1e-12)]
    if not len(differences):
        return 1.0
    ranks = stats.rankdata(np.abs(differences).round(12))
    n, observed = len(ranks), float(ranks[differences > 0].sum())
    if n > 16:
        return float(stats.wilcoxon(differences).pvalue)
    signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sums, middle = signs @ ranks, ranks.sum() / 2
    return float(np.mean(np.abs(sums - middle) >= abs(observed - middle) - 1e-9))


def scipy_stats() -> Any:
    """Return scipy.stats; FfedgeError where it is not installed."""
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise FfedgeError("statistics need scipy, which is not installed. Run: pip install 'ffedge[bench]'") from error
    return stats
