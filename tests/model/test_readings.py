"""Odd rows: told with the reason, never known, answered like the nearest row that is not odd; and what is not odd."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import DATA, rows_of
from toys import make_model, model_bytes, prepared, random_layers, small_spec, some_facts

from ffedge import Spec, train
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.model.readings import Readings
from ffedge.predict.predictor import Predictor
from ffedge.training.facts import measure

RAW = rows_of(DATA["floats"])
MODEL = make_model(small_spec(), DATA["floats"])[0]


@pytest.fixture(scope="module")
def predictor():
    return Predictor(MODEL, threads=1)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.nan, "input 3 is not a number"),
        (np.inf, "input 3 is infinite, or beyond 32 bits"),
        (-np.inf, "input 3 is infinite, or beyond 32 bits"),
        (1e300, "input 3 is infinite, or beyond 32 bits"),
        (3e38, "input 3 is 3e+38, far from the training rows: not within "),
        (1e20, "input 3 is 1e+20, far from"),
        (-9999, "input 3 is -9999, far from"),
        (65535, "input 3 is 65535, far from"),
    ],
)
def test_an_odd_row_is_told_and_not_known_and_the_others_are_answered_as_ever(predictor, value, why):
    given, others = np.tile(RAW, (2, 1)).astype(np.float64), np.delete(np.arange(320), 170)
    given[170, 3] = value
    before, usual = given.copy(), predictor.predict(np.tile(RAW, (2, 1)), layers=True)
    found = predictor.predict(given, layers=True)
    np.testing.assert_array_equal(given, before)
    assert list(found.odd) == [170]
    assert found.odd[170].startswith(why)
    assert np.flatnonzero(~found.known).tolist() == [170]
    for name in ("label", "margin", "scores", "goodness"):
        np.testing.assert_array_equal(getattr(found, name)[others], getattr(usual, name)[others])
        assert np.isfinite(getattr(found, name)).all()


def test_nan_is_answered_like_the_mean_and_what_is_far_like_what_is_just_not(predictor):
    facts = predictor.facts
    row, wanted = RAW[0].copy(), RAW[0].copy()
    row[9], wanted[9] = np.nan, facts.offset[9]
    np.testing.assert_array_equal(predictor.predict(row).scores, predictor.predict(wanted).scores)
    row[9], wanted[9] = 1e30, np.float32(facts.offset[9] + 20 * max(3.0, facts.largest) / facts.scale[9])
    found, limit = predictor.predict(row), predictor.predict(wanted)
    assert found.odd
    assert not limit.odd
    np.testing.assert_array_equal(found.scores, limit.scores)


def of_rows(rows, scaling):
    """Return the facts of data of these rows."""
    split = Split(ArrayRows(rows.astype(np.float32)), np.arange(len(rows)) % 2)
    return measure(Dataset("x", split, None, ("a", "b"), "sha"), scaling)


@pytest.mark.parametrize("scaling", ["feature", "centred", "standard", "range", "none"])
@pytest.mark.parametrize("shape", ["normal", "skewed", "negative", "flags", "times"])
def test_no_training_row_is_odd_nor_one_twice_as_far_out(scaling, shape):
    """The model tells how far out the largest inputs were, and not the smallest."""
    rng = np.random.default_rng(0)
    rows = {
        "normal": rng.normal([20.0, 0.4, 1013.0], [3, 0.1, 5], (2000, 3)),
        "skewed": rng.lognormal(0, 2, (2000, 3)),
        "negative": -rng.lognormal(0, 2, (2000, 3)),
        "flags": np.where(rng.random((2000, 3)) < 0.001, 1.0, 0.0) + np.eye(2000, 3),
        "times": 1.7e9 + 1000 * rng.random((2000, 3)),
    }[shape]
    facts = of_rows(rows, scaling)
    twice = rows.mean(axis=0) + 2 * (rows - rows.mean(axis=0))
    for some in (rows,) if shape == "negative" else (rows, twice):
        assert Readings(facts).read(some.astype(np.float32))[1] == {}


@pytest.mark.parametrize("scaling", ["feature", "centred", "standard", "range"])
def test_what_drivers_say_of_an_error_is_odd_among_rooms_temperatures(scaling):
    facts = of_rows(np.random.default_rng(0).normal(21, 1.5, (2000, 1)), scaling)
    marks = np.array([[-9999], [65535], [-32768], [2147483647], [9.96921e36], [3.4028235e38], [1e20]])
    assert len(Readings(facts).read(marks)[1]) == len(marks)
    assert Readings(facts).read([[35.0], [-10.0]])[1] == {}


@given(st.floats(width=32, allow_nan=True), st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.floats(-1e30, 1e30))
def test_whatever_the_facts_what_is_run_is_finite_and_what_is_finite_and_near_stays(value, offset, scale, largest):
    facts = some_facts(shape=(2,), classes=2, offset=(offset,), scale=(scale,), largest=largest)
    samples, odd = Readings(facts).read(np.array([[value, offset]], np.float32))
    assert np.isfinite(samples).all()
    assert odd or samples[0, 0] == np.float32(value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e25, 3e38])
def test_other_engines_do_not_know_what_has_no_finite_answer(value):
    given = RAW[:2].copy()
    given[1, 9] = value
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    assert session.run(["known"], {"input": given})[0].tolist() == [True, False]


def test_other_engines_take_a_tables_missing_number_as_the_median_and_ffedge_knows_no_such_answer(tmp_path):
    rows = "".join(f"{place % 7},{place % 3},{'ab'[place % 2]}\n" for place in range(300))
    (tmp_path / "d.csv").write_text(f"x,z,state\n{rows}")
    run = train(Spec.make(widths=(8,), epochs=1), tmp_path / "d.csv", tmp_path / "run")
    session = onnxruntime.InferenceSession(run.model, providers=["CPUExecutionProvider"])
    asked = np.array([[np.nan, 1.0], [3.0, 1.0]])
    for scores in session.run(["scores", "known"], {"input": asked}):
        np.testing.assert_array_equal(scores[0], scores[1])
    found = Predictor(run.model).predict(asked)
    assert (found.known[0], found.odd) == (False, {0: "column 'x' is missing, as in no training row"})


def test_bytes_are_never_odd_and_pictures_say_where():
    assert Readings(some_facts(dtype="uint8")).read(np.full((2, 16), 255, np.uint8))[1] == {}
    picture = np.zeros((3, 4))
    picture[1, 2] = np.nan
    assert Readings(some_facts(shape=(3, 4))).read(picture)[1] == {0: "input [1, 2] is not a number"}


def test_an_answer_that_is_not_finite_is_not_known():
    """A stranger's weights may be as large as float32 allows."""
    recipe, facts = prepared(small_spec(), DATA["floats"])
    layers = random_layers(recipe, facts)
    layers[0]["W"][:] = 3e38
    found = Predictor(model_bytes(recipe, facts, layers)).predict(RAW)
    strange = ~np.isfinite(found.margin)
    assert strange.any()
    assert not found.known[strange].any()
