"""Paired comparisons over seeds, by scipy: the same seed gives both sides the same first weights and draws.

A difference is told with its 95 % interval, two tests and its size; how many tests were made counts too (`holm`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    """
    if len(values) != len(others) or len(values) == 0:
        raise ValueError(f"values must be as many as others and at least one, got {len(values)} and {len(others)}")
    differences = np.subtract(np.asarray(values, float), np.asarray(others, float))
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Paired(n, mean, *[math.nan] * 5)
    deviation = float(differences.std(ddof=1))
    if math.isclose(deviation, 0.0, abs_tol=1e-12):  # no spread: a test has nothing to say but whether they differ
        same = math.isclose(mean, 0.0, abs_tol=1e-12)
        t_p, d = (1.0, 0.0) if same else (0.0, math.copysign(math.inf, mean))
        return Paired(n, mean, mean, mean, t_p, _wilcoxon_p(differences), d)
    reach = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * deviation / math.sqrt(n)
    t_p = float(stats.ttest_rel(values, others).pvalue)
    return Paired(n, mean, mean - reach, mean + reach, t_p, _wilcoxon_p(differences), mean / deviation)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of Student's 95 % interval of it (NaN of one value)."""
    if len(values) < 2:
        return values[0], math.nan
    reach = float(stats.t.ppf(1 - LEVEL / 2, len(values) - 1))
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
    """
    counted = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = list(p_values)
    if counted:
        found = stats.false_discovery_control([p_values[i] for i in counted])
        for i, value in zip(counted, found, strict=True):
            adjusted[i] = float(value)
    return adjusted


def _wilcoxon_p(differences: NDArray[np.float64]) -> float:
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
