"""What counts as known: coverage as asked for, bounds that agree with the levels, and nonsense is refused."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffedge.model.calibration import (
    Calibration,
    Moments,
    best_and_margin,
    calibrate,
    levels,
    no_bias,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(10, 2, 1000).astype(np.float32)
MARGINS = RNG.gamma(2, 2, 1000).astype(np.float32)
FOUND = calibrate(SCORES, MARGINS, 0.95)
VALUES = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 5)), min_size=1, max_size=60)


def known(found, scores, margins):
    """Say by the bounds alone who is known."""
    return (scores >= found.least_score) & (scores <= found.most_score) & (margins >= found.least_margin)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.999, 1.0])
def test_the_share_asked_for_is_known_and_hardly_more(coverage):
    found = calibrate(SCORES, MARGINS, coverage)
    share = known(found, SCORES, MARGINS).mean()
    assert coverage <= share <= coverage + 0.005
    assert (found.known, found.coverage, found.rows) == (share, coverage, 1000)


@given(VALUES, st.floats(0.01, 1.0))
@settings(deadline=None)
def test_bounds_and_levels_agree_and_cover_whatever_the_ties(values, coverage):
    scores, margins = np.array(values, np.float32).T
    found = calibrate(scores, margins, coverage)
    inside = known(found, scores, margins)
    assert inside.mean() == found.known >= coverage - 1e-9
    deep = levels(scores, margins, (scores, margins))
    assert not inside.any() or deep[inside].min() > deep[~inside].max(initial=-1)


def test_the_margin_turns_away_eight_times_as_many_as_each_end_of_the_scores():
    found = calibrate(SCORES, MARGINS, 0.8)
    low, high = (found.least_score > SCORES).sum(), (found.most_score < SCORES).sum()
    few = (found.least_margin > MARGINS).sum()
    assert low == high > 10
    assert abs(few - 8 * low) < 8


def test_a_lower_coverage_only_takes_answers_away():
    kept = [known(calibrate(SCORES, MARGINS, c), SCORES, MARGINS) for c in (0.6, 0.8, 0.9, 1.0)]
    for fewer, more in itertools.pairwise(kept):
        assert not (fewer & ~more).any()


def test_what_lies_outside_all_rows_has_level_0():
    outside = np.array([SCORES.min() - 1, SCORES.max() + 1, 10.0])
    margins = np.array([50.0, 50.0, MARGINS.min() - 1])
    assert levels(outside, margins, (SCORES, MARGINS)).tolist() == [0, 0, 0]
    assert levels(SCORES, MARGINS, (SCORES, MARGINS)).min() >= 1


def test_moments_are_those_of_numpy_and_scipy():
    assert FOUND.score.mean == pytest.approx(SCORES.mean(dtype=np.float64))
    assert FOUND.margin.deviation == pytest.approx(MARGINS.std(dtype=np.float64))
    assert FOUND.margin.skewness == pytest.approx(pytest.importorskip("scipy.stats").skew(MARGINS.astype(np.float64)))
    assert Moments.of(np.ones(5, np.float32)) == Moments(1.0, 0.0, 0.0)


def test_reasons_name_every_bound_that_is_broken():
    inside, low, high = 10.0, FOUND.least_score - 1, FOUND.most_score + 1
    assert FOUND.why_not(low, 50.0) == ("low goodness",)
    assert FOUND.why_not(high, 50.0) == ("high goodness",)
    assert FOUND.why_not(inside, 0.0) == ("low margin",)
    assert FOUND.why_not(low, 0.0) == ("low goodness", "low margin")


def test_a_sample_on_a_bound_still_gets_a_reason():
    """The graph's float32 may see it on the other side."""
    assert FOUND.why_not(10.0, FOUND.least_margin) == ("low margin",)


def test_best_and_margin_are_those_of_the_sorted_scores():
    scores = RNG.normal(size=(50, 7)).astype(np.float32)
    best, margin = best_and_margin(scores)
    ranked = np.sort(scores, axis=1)
    np.testing.assert_array_equal(best, ranked[:, -1])
    np.testing.assert_array_equal(margin, ranked[:, -1] - ranked[:, -2])


def test_a_calibration_survives_json():
    for found in (FOUND, dataclasses.replace(FOUND, temperature=1.5)):
        assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_temperature_is_stored_beside_what_older_readers_read():
    assert dataclasses.replace(FOUND, temperature=1.5).to_dict() == FOUND.to_dict() | {"proba": {"temperature": 1.5}}
    assert "temperature" not in FOUND.to_dict()["known"]


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"rows": 1.5},
        {"rows": 10**30},
        {"coverage": 0},
        {"coverage": 2},
        {"known": -0.1},
        {"least_score": float("nan")},
        {"most_score": "x"},
        {"score": {"mean": 0.0, "deviation": -1.0, "skewness": 0.0}},
        {"margin": {}},
        {"margin": 3},
        {"more": 1},
    ],
    ids=str,
)
def test_what_no_calibration_can_have_found_is_refused(change):
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_dict({"known": FOUND.to_dict()["known"] | change})


@pytest.mark.parametrize(
    "proba", [3, ["temperature"], {"temperature": 0}, {"temperature": 1.0, "more": 1}, {"temperature": "x"}]
)
def test_what_is_no_temperature_is_refused(proba):
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_dict(FOUND.to_dict() | {"proba": proba})


@pytest.mark.parametrize("coverage", [0, -0.5, 1.1, float("nan")])
def test_a_coverage_outside_its_range_is_refused(coverage):
    with pytest.raises(ValueError, match="`coverage` must be above 0 and at most 1"):
        calibrate(SCORES, MARGINS, coverage)


def test_no_rows_and_numbers_that_are_not_finite_are_refused():
    for scores in (SCORES[:0], np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="scores and margins must be finite and of some rows"):
            calibrate(scores, np.ones(len(scores)), 0.9)


def test_a_graph_adds_the_bias_to_score_its_negative_and_margin():
    bias = FOUND.weights()["known.bias"]
    np.testing.assert_array_equal(bias, np.float32([-FOUND.least_score, FOUND.most_score, -FOUND.least_margin]))
    assert (np.float32(1e30) * np.float32([1, -1, 1]) + no_bias() >= 0).all()
    assert dataclasses.replace(FOUND, least_margin=3.0).weights()["known.bias"][2] == -3
