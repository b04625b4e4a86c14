"""Probabilities: the likeliest temperature, a softmax of the scores, and a file that gives them to any reader."""

import dataclasses

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from networks import DATA, rows_of
from onnx.reference import ReferenceEvaluator
from toys import make_model, small_spec

from ffedge.errors import ModelError
from ffedge.model.calibration import calibrate
from ffedge.model.temperature import TemperatureFit, calibrated, softened
from ffedge.predict.predictor import Predictor

RNG = np.random.default_rng(0)
PLAIN = make_model(small_spec(), DATA["floats"])[0]
RAW = rows_of(DATA["floats"])
FOUND = Predictor(PLAIN).predict(RAW)
CALIBRATION = calibrate(FOUND.scores.max(axis=1), FOUND.margin, 0.9, temperature=0.7)
MODEL = make_model(small_spec(), DATA["floats"], calibration=CALIBRATION)[0]


def softmax(values):
    parts = np.exp(values - values.max(axis=1, keepdims=True))
    return parts / parts.sum(axis=1, keepdims=True)


def drawn(temperature, rows=20_000, classes=5):
    """Draw scores, and classes as likely as the scores say at a temperature."""
    logits = RNG.normal(0, 2, (rows, classes))
    chances = softmax(logits).cumsum(axis=1)
    true = (RNG.random((rows, 1)) > chances).sum(axis=1).clip(0, classes - 1)
    return (logits * temperature).astype(np.float32), true


def fitted(scores, true, size=256):
    fit = TemperatureFit()
    for start in range(0, len(true), size):
        fit.add(scores[start : start + size], true[start : start + size])
    return fit.temperature()


@pytest.mark.parametrize("temperature", [0.003, 0.2, 1.0, 1.3, 40.0, 5000.0])
def test_the_temperature_that_drew_the_classes_is_found(temperature):
    scores, true = drawn(temperature)
    assert fitted(scores, true) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_one_that_scipy_finds():
    optimize = pytest.importorskip("scipy.optimize")
    scores, true = drawn(3.0, rows=400)

    def loss(log):
        chances = np.log(softmax(scores.astype(np.float64) / np.exp2(log)))
        return -(chances[np.arange(400), true] * 401 / 402 + chances.mean(axis=1) / 402).mean()

    assert np.log2(fitted(scores, true)) == pytest.approx(optimize.minimize_scalar(loss, (0, 3)).x, abs=0.05)


def test_how_rows_are_cut_changes_nothing():
    scores, true = drawn(2.0, rows=1000)
    assert fitted(scores, true, 1000) == pytest.approx(fitted(scores, true, 7), rel=1e-4)


def test_where_all_rows_are_right_no_answer_is_certain():
    true = np.arange(20) % 2
    sure = softened(np.eye(2, dtype=np.float32)[true], fitted(np.eye(2, dtype=np.float32)[true], true)).max(axis=1)
    assert 0.9 < sure.min() <= sure.max() < 1 - 1 / 60


def test_scores_that_tell_nothing_give_even_probabilities():
    flat, noise = np.ones((50, 4), np.float32), RNG.normal(size=(4000, 4)).astype(np.float32)
    np.testing.assert_allclose(softened(flat, fitted(flat, np.arange(50) % 4)), 0.25)
    assert softened(noise, fitted(noise, RNG.integers(0, 4, 4000))).max() < 0.5


def test_one_row_and_large_scores_are_no_trouble():
    huge = np.array([[1e30, -1e30, 0.0]], np.float32)
    for true in (0, 1):
        temperature = fitted(huge, np.array([true]))
        assert 1e-6 < temperature < 1e6
        assert softened(huge, temperature).tolist() == [[1.0, 0.0, 0.0]]


def test_no_rows_give_no_calibration():
    assert calibrated([(np.empty(0, np.int64), np.empty((0, 3), np.float32))], 0.9) is None


def test_the_models_output_is_the_softmax_of_the_scores_over_the_temperature():
    proto, found = onnx.load_from_string(MODEL), Predictor(MODEL).predict(RAW)
    onnx.checker.check_model(proto, full_check=True)
    wanted = softmax(found.scores.astype(np.float64) / 0.7)
    session = ort.InferenceSession(MODEL)
    (runtime,), (reference,) = (
        session.run(["proba"], {"input": RAW}),
        ReferenceEvaluator(proto).run(["proba"], {"input": RAW}),
    )
    for given in (runtime, reference, found.proba):
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.scores, FOUND.scores)


def test_a_model_without_a_temperature_has_none_and_says_what_to_do():
    without = dataclasses.replace(CALIBRATION, temperature=None)
    for model in (PLAIN, make_model(small_spec(), DATA["floats"], calibration=without)[0]):
        found = Predictor(model).predict(RAW[:2])
        assert found.temperature is None
        with pytest.raises(ModelError, match=r"the model has no probabilities: none were fitted.*recalibrate"):
            _ = found.proba
        assert "proba" not in [output.name for output in onnx.load_from_string(model).graph.output]


@pytest.mark.parametrize("temperature", [0, -1.0, 1e7, float("nan"), "1", True])
def test_a_temperature_that_cannot_be_is_refused(temperature):
    with pytest.raises((ValueError, TypeError)):
        dataclasses.replace(CALIBRATION, temperature=temperature)
