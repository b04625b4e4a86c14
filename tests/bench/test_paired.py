"""Paired statistics against scipy, numpy's formulae and numbers worked out by hand."""

import itertools
import math

import numpy as np
import pytest

stats = pytest.importorskip("scipy.stats", reason="needs scipy, which is not installed")

from paired import false_discovery, holm, interval, paired


def drawn(n, shift, seed=0):
    rng = np.random.default_rng(seed)
    others = rng.normal(size=n)
    return others + shift + rng.normal(size=n), others


@pytest.mark.parametrize("n", [2, 3, 5, 12, 30])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_paired_agrees_with_scipy_and_the_formulae(n, shift):
    values, others = drawn(n, shift)
    found, differences = paired(values, others), values - others
    assert found.n == n
    assert found.mean == pytest.approx(differences.mean())
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
    assert found.t_p == pytest.approx(2 * stats.t.sf(abs(t), n - 1))
    assert found.d == pytest.approx(t / math.sqrt(n))
    low, high = stats.ttest_rel(values, others).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    method = "auto" if n > 16 else "exact"
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(differences, method=method).pvalue)


def test_a_known_case():
    """Student's sleep data (1908), whose paired t-test gives p = 0.00283, t = 4.06; nine differences are above 0."""
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(second, first)
    assert found.mean == pytest.approx(1.58)
    assert found.t_p == pytest.approx(0.002833, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.70, 2.46), abs=0.005)
    assert found.d == pytest.approx(4.0621 / math.sqrt(10), abs=1e-4)
    assert found.wilcoxon_p == 2 / 2**9  # the tenth is 0


def test_five_seeds_that_agree_reach_one_in_sixteen_at_best():
    assert paired([2.0, 3.0, 4.0, 5.0, 7.0], [1.0, 1.5, 2.0, 2.5, 4.0]).wilcoxon_p == 2 ** (1 - 5)


def test_differences_without_spread_raise_no_warning():
    assert paired([1.0, 2.0], [1.0, 2.0]) == (same := paired([3.0, 3.0], [3.0, 3.0]))
    assert (same.mean, same.t_p, same.wilcoxon_p, same.d) == (0.0, 1.0, 1.0, 0.0)
    apart = paired([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    assert (apart.mean, apart.t_p, apart.d, apart.wilcoxon_p) == (1.0, 0.0, math.inf, 0.25)


def test_one_pair_has_no_interval():
    found = paired([2.0], [1.5])
    assert found.mean == 0.5
    assert all(map(math.isnan, (found.low, found.high, found.t_p, found.wilcoxon_p, found.d)))
    assert interval([2.0])[0] == 2.0
    assert math.isnan(interval([2.0])[1])


@pytest.mark.parametrize(("values", "others"), [([], []), ([1.0], [1.0, 2.0])])
def test_pairs_must_be_pairs(values, others):
    with pytest.raises(ValueError, match="values must be as many as others"):
        paired(values, others)


def test_the_interval_is_students():
    mean, reach = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert reach == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


def test_holm_is_the_step_down_of_bonferroni():
    assert holm([0.02, 0.3, 0.5, 0.9]) == pytest.approx([0.08, 0.9, 1.0, 1.0])  # the least as by Bonferroni
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Wikipedia's example
    for order in itertools.permutations([0.01, 0.04, 0.03, 0.005]):
        assert dict(zip(order, holm(order), strict=True)) == pytest.approx(
            {0.01: 0.03, 0.04: 0.06, 0.03: 0.06, 0.005: 0.02}
        )
    with_nan = holm([0.01, math.nan, 0.04])
    assert with_nan[0] == 0.02
    assert math.isnan(with_nan[1])
    assert with_nan[2] == 0.04


def test_false_discovery_is_benjamini_and_hochbergs_and_leaves_nan_uncounted():
    values = [0.01, math.nan, 0.04, 0.03, 0.005]
    found = false_discovery(values)
    assert math.isnan(found[1])
    order = sorted(p for p in values if not math.isnan(p))
    for p, adjusted in zip(values, found, strict=True):
        if not math.isnan(p):  # the least over all larger p of p n / rank
            assert adjusted == pytest.approx(min(q * 4 / (order.index(q) + 1) for q in order if q >= p))
    assert false_discovery([]) == []
