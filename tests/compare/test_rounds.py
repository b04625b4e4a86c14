"""Medians and spreads, against values worked out by hand."""

import pytest

from ffedge.compare.rounds import median_of, medians, ratios, spread, spread_text


def test_a_ratio_is_taken_within_a_round():
    assert ratios({"a": [2.0, 9.0], "b": [1.0, 3.0]}, [("a", "b")]) == {"a / b": [2.0, 3.0]}
    assert medians({"a": [5.0, 1.0, 2.0]}) == {"a": 2.0}


def test_the_spread_is_the_greatest_less_the_least_over_the_median():
    assert spread([100, 98, 101]) == pytest.approx(0.03)
    assert spread([7]) == spread([0, 0]) == 0
    assert spread_text([3.0, 1.0, 2.0], 1) == "2.0 [1.0, 3.0]"


def test_the_median_of_runs_is_taken_number_by_number_at_any_depth():
    runs = [
        {"arm": "a", "peak": peak, "s": seconds, "layers": [{"n": 1, "s": None}, {"n": peak, "s": seconds}], "on": True}
        for peak, seconds in ((30, 0.1), (10, 0.3), (21, 0.2))
    ]
    assert median_of(runs) == {
        "arm": "a",
        "peak": 21,
        "s": 0.2,
        "layers": [{"n": 1, "s": None}, {"n": 21, "s": 0.2}],
        "on": True,
    }
    assert median_of([1, 2]) == 2  # bytes stay whole
    assert median_of([None, 3]) is None
