"""What eval says of known answers, counted by hand."""

import dataclasses

import numpy as np
import pytest
from toys import clusters, make_model, small_spec

from ffedge.data.dataset import Split
from ffedge.data.rows import ArrayRows
from ffedge.model.calibration import calibrate
from ffedge.predict.evaluation import evaluate
from ffedge.predict.predictor import Predictor

DATA = clusters(rows=300)
PLAIN = Predictor(make_model(small_spec(), DATA)[0]).predict(DATA.train.inputs.take(np.arange(300)))
BEST = PLAIN.scores.max(axis=1)


@pytest.mark.parametrize("coverage", [0.3, 0.8])
def test_known_answers_and_errors_among_them_are_counted(coverage):
    calibration = calibrate(BEST, PLAIN.margin, coverage)
    predictor = Predictor(make_model(small_spec(), DATA, calibration=calibration)[0])
    found = evaluate(predictor, DATA)
    known = predictor.predict(DATA.train.inputs.take(np.arange(300))).known
    wrong = PLAIN.label != DATA.train.labels[np.arange(300)]
    assert 0.2 < wrong.mean() < 0.95
    assert found.known == pytest.approx(known.mean())
    assert found.known_error == pytest.approx(wrong[known].mean())


def test_the_calibration_error_is_that_of_15_bins_of_the_best_probability():
    calibration = calibrate(BEST, PLAIN.margin, 0.9, temperature=0.3)
    predictor = Predictor(make_model(small_spec(), DATA, calibration=calibration)[0])
    answers, error = predictor.predict(DATA.train.inputs.take(np.arange(300))), 0.0
    sure, right = answers.proba.max(axis=1), answers.place == DATA.train.labels[np.arange(300)]
    for low in np.arange(15) / 15:
        inside = (sure >= low) & (sure < low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert evaluate(predictor, DATA).calibration_error == pytest.approx(error, abs=1e-4)
    assert error > 0.05
    plain = dataclasses.replace(calibration, temperature=None)
    assert evaluate(Predictor(make_model(small_spec(), DATA, calibration=plain)[0]), DATA).calibration_error is None


def test_where_nothing_is_known_no_error_is_told():
    calibration = calibrate(BEST + 1e4, PLAIN.margin, 1.0)
    found = evaluate(Predictor(make_model(small_spec(), DATA, calibration=calibration)[0]), DATA)
    assert (found.known, found.known_error) == (0.0, None)


def test_odd_rows_are_counted_and_not_known():
    rows = DATA.train.inputs.take(np.arange(300))
    rows[[5, 290], 7] = np.nan, 1e30
    data = dataclasses.replace(DATA, train=Split(ArrayRows(rows), DATA.train.labels))
    found = evaluate(Predictor(make_model(small_spec(), DATA)[0]), data)
    assert (found.rows, found.odd_rows, found.known) == (300, 2, 298 / 300)


def test_balanced_accuracy_counts_a_rare_class_like_a_frequent_one():
    predictor, true = Predictor(make_model(small_spec(), DATA)[0]), DATA.train.labels[np.arange(300)]
    rows = np.flatnonzero((true == 0) | (np.arange(300) < 40))
    data = dataclasses.replace(DATA, train=Split(ArrayRows(DATA.train.inputs.take(rows)), true[rows]))
    right, true = PLAIN.label[rows] == true[rows], true[rows]
    found = evaluate(predictor, data)
    assert found.balanced_accuracy == pytest.approx(np.mean([right[true == c].mean() for c in np.unique(true)]))
    assert found.balanced_accuracy != pytest.approx(found.accuracy)
