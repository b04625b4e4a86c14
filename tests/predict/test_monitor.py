"""The monitor: averages as defined, few false alarms, drift seen soon and named, flat memory."""

import math
import tracemalloc

import numpy as np
import pytest

from ffedge.model.calibration import calibrate
from ffedge.predict.monitor import SIDES, Monitor, _level
from ffedge.predict.predictor import Prediction


def normal(rng, count):
    return rng.normal(40, 8, count), rng.normal(5, 1, count)


def skewed(rng, count):
    return rng.gamma(4, 10, count), rng.exponential(4, count)


def together(rng, count):
    both = rng.normal(size=count)
    return 40 + 8 * both, 5 + 0.9 * both + 0.4 * rng.normal(size=count)


def reference(draw=normal, rows=2000, seed=0):
    return calibrate(*draw(np.random.default_rng(seed), rows), 0.95)


def predictions(calibration, scores, margins):
    """Return what a model would say whose best scores and margins are these."""
    scores, margins = (np.asarray(values, np.float32) for values in (scores, margins))
    known = (scores >= calibration.least_score) & (scores <= calibration.most_score)
    known &= margins >= calibration.least_margin
    both = np.stack([scores, scores - margins], axis=1)
    return Prediction(np.zeros(len(scores), np.int64), margins, both, known)


def parts(found, size):
    for start in range(0, len(found), size):
        cut = slice(start, start + size)
        yield Prediction(found.label[cut], found.margin[cut], found.scores[cut], found.known[cut])


def first_alarm(monitor, found, size=200):
    """Return the sample at which drift begins, or None."""
    for part in parts(found, size):
        for event in monitor.update(part):
            return event.sample
    return None


@pytest.mark.parametrize("draw", [normal, skewed, together])
@pytest.mark.parametrize(("rows", "window"), [(2000, 50), (300, 50), (2000, 20)])
def test_false_alarms_come_no_more_often_than_was_asked_for(draw, rows, window):
    """80 streams, each against held-out rows of its own; a stream that stays quiet counts with its length."""
    every, length, streams = 1000, 2500, 80
    rng, alarms, samples = np.random.default_rng(1), 0, 0
    for seed in range(streams):
        calibration = reference(draw, rows, seed)
        monitor = Monitor(calibration, window=window, false_alarm_every=every)
        at = first_alarm(monitor, predictions(calibration, *draw(rng, length)))
        alarms, samples = alarms + (at is not None), samples + (at or length)
    assert alarms > 5, "limits so wide that nothing is seen"
    error = 2 * samples / alarms / math.sqrt(alarms)
    assert samples / alarms + error > every


SHIFTS = {
    "goodness": [(lambda s, m: (s + 8, m), "above"), (lambda s, m: (s - 8, m), "below")],
    "margin": [(lambda s, m: (s, m + 1), "above"), (lambda s, m: (s, m - 1), "below")],
    "share of known answers": [(lambda s, m: (s, np.where(np.arange(len(m)) % 2, m, 0)), "below")],
}


@pytest.mark.parametrize(
    ("name", "change", "side"),
    [(name, change, side) for name, changes in SHIFTS.items() for change, side in changes],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shift_of_one_deviation_is_seen_within_a_window_and_named(name, change, side):
    calibration, rng = reference(), np.random.default_rng(2)
    monitor = Monitor(calibration, window=100, false_alarm_every=100_000)
    assert monitor.update(predictions(calibration, *normal(rng, 1000))) == []
    events = monitor.update(predictions(calibration, *change(*normal(rng, 100))))
    assert [event.began for event in events] == [True]
    assert 1000 < events[0].sample <= 1100
    assert any(reason.startswith(f"{name} ") and f", {side} " in reason for reason in monitor.reasons)
    assert monitor.drifting


def test_drift_ends_when_the_samples_are_as_before_again():
    calibration, rng = reference(), np.random.default_rng(3)
    monitor = Monitor(calibration, window=50, false_alarm_every=100_000)
    scores, margins = normal(rng, 900)
    scores[300:400] += 16
    events = monitor.update(predictions(calibration, scores, margins))
    assert [event.began for event in events] == [True, False]
    assert 300 < events[0].sample < 340
    assert 400 < events[1].sample < 700
    assert events[0].reasons
    assert not events[1].reasons
    assert not monitor.drifting


def test_averages_are_exponential_and_begin_at_the_held_out_mean():
    calibration = reference()
    monitor = Monitor(calibration, window=9)
    scores, margins = normal(np.random.default_rng(4), 60)
    monitor.update(predictions(calibration, scores, margins))
    weights = 0.2 * 0.8 ** np.arange(60)[::-1]
    found = monitor.summary()
    assert found["samples"] == 60
    for name, values, held in (("goodness", scores, calibration.score), ("margin", margins, calibration.margin)):
        wanted = (weights * values).sum() + 0.8**60 * held.mean
        assert found[name]["average"] == pytest.approx(wanted, rel=1e-5)
        assert found[name]["least"] < found[name]["held_out"] < found[name]["most"]
    assert found["share of known answers"]["most"] is None


@pytest.mark.parametrize("window", [20, 500])
@pytest.mark.parametrize("value", [1e3, 1e30, -1e30, math.inf, math.nan])
def test_one_absurd_answer_leaves_the_averages_within_a_window(window, value):
    calibration, rng = reference(), np.random.default_rng(8)
    scores, margins = (values.astype(np.float32) for values in normal(rng, 2 * window))
    usual, monitor = Monitor(calibration, window=window), Monitor(calibration, window=window)
    usual.update(predictions(calibration, scores, margins))
    scores[window - 1] = margins[window - 1] = value
    with np.errstate(invalid="ignore"):
        events = monitor.update(predictions(calibration, scores, margins))
    assert all(event.sample < window + 20 for event in events), "an alarm that stays"
    assert not monitor.drifting
    for name, chart in list(monitor.summary().items())[3:]:
        wide = chart["held_out"] - chart["least"]
        assert abs(chart["average"] - usual.summary()[name]["average"]) < 0.25 * wide


def test_an_odd_row_counts_as_not_known_and_in_no_other_average():
    calibration = reference()
    scores, margins = normal(np.random.default_rng(9), 300)
    found = predictions(calibration, scores, margins)
    rows = dict.fromkeys(range(100, 200), "input 0 is not a number")
    monitor, without = Monitor(calibration, window=200), Monitor(calibration, window=200)
    events = monitor.update(Prediction(found.label, found.margin, found.scores, found.known, odd=rows))
    for part in (slice(100), slice(200, 300)):
        without.update(predictions(calibration, scores[part], margins[part]))
    assert events[0].began
    assert [reason.split(" 0")[0] for reason in events[0].reasons] == ["share of known answers"]
    told, wanted = monitor.summary(), without.summary()
    assert (told["samples"], told["odd"]) == (300, 100)
    assert [told[name] for name in ("goodness", "margin")] == [wanted[name] for name in ("goodness", "margin")]


def test_samples_one_by_one_or_many_at_once_give_the_same():
    calibration = reference()
    scores, margins = normal(np.random.default_rng(5), 300)
    scores[200:] += 30
    found = predictions(calibration, scores, margins)
    whole, single = Monitor(calibration, window=30), Monitor(calibration, window=30)
    assert [e for part in parts(found, 1) for e in single.update(part)] == whole.update(found)
    assert single.summary() == whole.summary()


def test_a_level_is_reached_in_the_time_that_was_asked_for():
    integrate = pytest.importorskip("scipy.integrate")
    norm = pytest.importorskip("scipy.stats").norm
    for time in (10.0, 1000.0, 1e6):
        level = _level(time)
        passed = integrate.quad(lambda x: math.sqrt(2 * math.pi) * math.exp(x * x / 2) * norm.cdf(x), 0, level)[0]
        assert time <= passed < 1.15 * time


def test_fewer_false_alarms_or_fewer_held_out_rows_widen_the_limits():
    def width(rows, **settings):
        found = Monitor(reference(rows=rows), **settings).summary()["goodness"]
        return found["most"] - found["least"]

    assert width(2000, false_alarm_every=10_000) < width(2000, false_alarm_every=1_000_000)
    assert width(2000) < width(100)
    assert width(2000, window=1000) < width(2000, window=100)


def test_a_model_that_knew_all_its_held_out_rows_can_be_watched():
    calibration = calibrate(*normal(np.random.default_rng(6), 500), 1.0)
    monitor = Monitor(calibration, window=50)
    events = monitor.update(predictions(calibration, np.full(60, 500.0), np.full(60, 5.0)))
    assert any(reason.startswith("share of known answers") for reason in events[0].reasons + monitor.reasons)


def test_memory_does_not_grow_with_the_stream():
    calibration = reference()
    monitor, found = Monitor(calibration), predictions(calibration, *normal(np.random.default_rng(7), 2000))
    monitor.update(found)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10):
        monitor.update(found)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4096
    assert monitor.summary()["samples"] == 22_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "`window` must be 1 or more, got 0"),
        ({"window": 500, "false_alarm_every": 499}, "`false_alarm_every` must be the window or more, got 499"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Monitor(reference(), **settings)


def test_a_model_without_a_calibration_cannot_be_watched():
    with pytest.raises(ValueError, match=r"^calibration is missing, as no rows were held out. Train with `holdout`"):
        Monitor(None)


def test_every_side_has_its_share_of_the_false_alarms():
    found = Monitor(reference()).summary()
    limits = [found[name][side] for name in list(found)[3:] for side in ("least", "most")]
    assert sum(limit is not None for limit in limits) == SIDES
