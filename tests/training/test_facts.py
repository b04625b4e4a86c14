"""What is measured of the training rows: the scaling that the spec asks for, the free border, the largest input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.errors import DataError
from ffedge.training import facts as facts_module
from ffedge.training.facts import measure


def dataset(rows, classes=2):
    labels = np.arange(len(rows)) % classes
    return Dataset("toy", Split(ArrayRows(np.asarray(rows)), labels), None, tuple(map(str, range(classes))), "sha")


ROWS = np.random.default_rng(0).normal(3.0, 2.0, (50, 6)).astype(np.float32)
BYTES = np.random.default_rng(0).integers(0, 256, (50, 2, 3), dtype=np.uint8)


def scaled(facts, rows):
    return (rows.reshape(len(rows), -1).astype(float) - np.array(facts.offset)) * np.array(facts.scale)


@pytest.mark.parametrize("rows", [ROWS, BYTES])
def test_standard_scaling_gives_all_inputs_together_mean_0_and_deviation_1(rows):
    found = scaled(measure(dataset(rows), "standard"), rows)
    assert found.mean() == pytest.approx(0.0, abs=1e-5)
    assert found.std() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("rows", [ROWS, BYTES])
def test_centred_scaling_gives_each_input_mean_0_and_all_together_deviation_1(rows):
    found = scaled(measure(dataset(rows), "centred"), rows)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-5)
    assert found.std() == pytest.approx(1.0, rel=1e-5)
    widened = np.ptp(found, axis=0) / np.ptp(rows.reshape(50, -1).astype(float), axis=0)
    np.testing.assert_allclose(widened, widened[0], rtol=1e-5)


@pytest.mark.parametrize("rows", [ROWS, BYTES])
def test_feature_scaling_gives_each_input_mean_0_and_deviation_1(rows):
    found = scaled(measure(dataset(rows), "feature"), rows)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("rows", [ROWS, -ROWS, BYTES])
def test_range_scaling_divides_by_the_largest_magnitude(rows):
    found = scaled(measure(dataset(rows), "range"), rows)
    np.testing.assert_allclose(found, rows.reshape(50, -1) / np.abs(rows.astype(float)).max(), rtol=1e-6)


STROKES = np.where(BYTES < 200, 0, BYTES)


@pytest.mark.parametrize(
    ("rows", "like"),
    [
        (ROWS, "feature"),
        (BYTES, "centred"),
        (BYTES // 8 + 100, "centred"),
        (STROKES, "standard"),
        (255 - STROKES, "standard"),
    ],
)
def test_auto_scaling_tells_floats_and_full_pictures_from_strokes(rows, like):
    auto, chosen = (measure(dataset(rows), scaling) for scaling in ("auto", like))
    assert auto == chosen


def test_no_scaling_leaves_inputs_as_they_are():
    facts = measure(dataset(ROWS), "none")
    assert (facts.offset, facts.scale) == ((0.0,), (1.0,))


@pytest.mark.parametrize("scaling", ["standard", "centred", "feature", "range", "none"])
@pytest.mark.parametrize("rows", [ROWS, BYTES])
def test_the_largest_scaled_input_is_known(scaling, rows):
    facts = measure(dataset(rows), scaling)
    assert facts.largest == pytest.approx(scaled(facts, rows).max(), rel=1e-5)


@given(st.integers(1, 3000))
def test_the_size_of_a_block_changes_nothing(size):
    with pytest.MonkeyPatch.context() as patch:
        whole = measure(dataset(BYTES))
        patch.setattr(facts_module, "BLOCK_BYTES", size)
        assert measure(dataset(BYTES)) == whole


def test_an_input_that_never_changes_becomes_zero():
    rows = ROWS.copy()
    rows[:, 2] = 1e6
    found = scaled(measure(dataset(rows), "feature"), rows)
    assert not found[:, 2].any()
    np.testing.assert_allclose(np.delete(found, 2, axis=1).std(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize(("taken", "free"), [(0, True), (5, True), (6, False)])
def test_a_border_is_free_if_it_is_empty_in_9_of_10_rows(taken, free):
    rows = BYTES.copy().reshape(50, 6)
    rows[:, :2] = 0
    rows[:taken, 1] = 1
    assert measure(dataset(rows)).free_border == free
    assert measure(dataset(rows, classes=3)).free_border is False


@pytest.mark.parametrize("scaling", ["standard", "centred", "range"])
def test_inputs_that_are_all_the_same_are_refused(scaling):
    rows = np.zeros((8, 3), np.float32)
    text = "^toy: inputs are all the same or too large. Check the file, or use `scaling='none'`$"
    with pytest.raises(DataError, match=text):
        measure(dataset(rows), scaling)


def test_shape_type_and_classes_are_those_of_the_data():
    facts = measure(dataset(BYTES))
    assert (facts.shape, facts.dtype, facts.classes) == ((2, 3), "uint8", ("0", "1"))
    assert measure(dataset(ROWS)).dtype == "float32"


@pytest.mark.parametrize("sentinel", [-127, -999, 65535])
@pytest.mark.parametrize("share", [0.005, 0.03])
def test_floats_with_a_sensors_error_values_are_scaled_as_without(sentinel, share):
    rng = np.random.default_rng(0)
    rows = rng.normal([20, 0.3], [0.7, 0.04], (1000, 2)).astype(np.float32)
    spoilt = rows.copy()
    spoilt[rng.random(1000) < share, 0] = sentinel
    clean, found = measure(dataset(rows)), measure(dataset(spoilt))
    assert (clean.auto_scaling, clean.clip, found.auto_scaling, found.clip) == ("feature", None, "robust", 10.0)
    np.testing.assert_allclose(found.offset, clean.offset, rtol=0.01)
    np.testing.assert_allclose(found.scale, clean.scale, rtol=0.15)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=2000),
        lambda rng: rng.exponential(size=2000),
        lambda rng: rng.uniform(size=2000),
        lambda rng: rng.standard_t(5, 2000),
        lambda rng: rng.random(2000) < 0.01,
        lambda rng: rng.random(2000) < 0.3,
        lambda rng: np.where(rng.random(2000) < 0.72, 0.001 * rng.random(2000), rng.random(2000)),
        lambda rng: np.ones(2000),
    ],
)
def test_floats_of_other_kinds_go_by_mean_and_deviation(draw):
    column = draw(np.random.default_rng(0)).astype(np.float32)
    assert measure(dataset(np.stack([column, ROWS[np.arange(2000) % 50, 0]], axis=1))).auto_scaling == "feature"
