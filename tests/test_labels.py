"""Wrong labels: never the true one, all different, and drawn with the probabilities that are claimed."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffedge.labels import hard_labels, is_free, tried_labels, wrong_labels
from ffedge.seeds import Draw, key

# 0.999 quantiles of the chi-square distribution, by degrees of freedom
CHI_SQUARE = {4: 18.47, 5: 20.52, 9: 27.88, 19: 43.82}
CHI_SQUARE_ROWS = 20_000


@st.composite
def cases(draw):
    """Draw C classes, K < C wrong labels, true labels, a seed."""
    classes = draw(st.integers(2, 30))
    negatives = draw(st.integers(1, classes - 1))
    true = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=30)), np.int64)
    return classes, negatives, true, draw(st.integers(0, 2**32))


def drawn_wrong(true, negatives, classes, seed):
    return wrong_labels(true, np.arange(len(true)), negatives, classes, key(2, seed, Draw.NEGATIVES))


def check_wrong(wrong, true, negatives, classes):
    assert wrong.shape == (len(true), negatives)
    assert wrong.dtype == np.int64
    assert (wrong >= 0).all()
    assert (wrong < classes).all()
    for label, row in zip(true, wrong, strict=True):
        assert label not in row
        assert len(set(row.tolist())) == negatives


@given(cases())
def test_wrong_labels_never_equal_the_true_label_and_differ(case):
    classes, negatives, true, seed = case
    check_wrong(drawn_wrong(true, negatives, classes, seed), true, negatives, classes)


@given(cases(), st.floats(0, 1e6))
def test_hard_labels_never_equal_the_true_label_and_differ(case, spread):
    classes, negatives, true, seed = case
    rng = np.random.default_rng(seed)
    goodness = (spread * rng.random((len(true), classes))).astype(np.float32)
    goodness[np.arange(len(true)), true] = 2 * spread  # the net is sure of the truth
    check_wrong(hard_labels(goodness, true, negatives, rng), true, negatives, classes)


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def set_counts(drawn, possible):
    """Count how often each set of labels was drawn."""
    sets = [tuple(row) for row in np.sort(drawn, axis=1).tolist()]
    return np.array([sets.count(one) for one in possible])


@pytest.mark.parametrize("true_label", [0, 3, 6])
def test_one_wrong_label_is_uniform(true_label):
    drawn = drawn_wrong(np.full(CHI_SQUARE_ROWS, true_label), 1, 7, 1)
    counts = np.delete(np.bincount(drawn[:, 0], minlength=7), true_label)
    assert chi_square(counts, CHI_SQUARE_ROWS / 6) < CHI_SQUARE[5]


def test_every_set_of_wrong_labels_is_equally_likely():
    drawn = drawn_wrong(np.full(CHI_SQUARE_ROWS, 2), 3, 7, 2)
    possible = list(combinations([0, 1, 3, 4, 5, 6], 3))
    assert chi_square(set_counts(drawn, possible), CHI_SQUARE_ROWS / 20) < CHI_SQUARE[19]


GOODNESS = np.array([0.5, 2.0, -1.0, 1.0, 0.0, 1.5], np.float32)


def softmax_without(true_label):
    weights = np.exp(GOODNESS.astype(float))
    weights[true_label] = 0.0
    return weights / weights.sum()


@pytest.mark.parametrize("true_label", [0, 1])
def test_one_hard_label_follows_the_softmax_without_the_true_label(true_label):
    goodness = np.tile(GOODNESS, (CHI_SQUARE_ROWS, 1))
    drawn = hard_labels(goodness, np.full(CHI_SQUARE_ROWS, true_label), 1, np.random.default_rng(3))
    counts = np.delete(np.bincount(drawn[:, 0], minlength=6), true_label)
    assert chi_square(counts, CHI_SQUARE_ROWS * np.delete(softmax_without(true_label), true_label)) < CHI_SQUARE[4]


def test_two_hard_labels_are_drawn_one_after_the_other_without_putting_back():
    p = softmax_without(1)
    possible = list(combinations([0, 2, 3, 4, 5], 2))
    expected = np.array([p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in possible])
    assert expected.sum() == pytest.approx(1.0)
    goodness = np.tile(GOODNESS, (CHI_SQUARE_ROWS, 1))
    drawn = hard_labels(goodness, np.full(CHI_SQUARE_ROWS, 1), 2, np.random.default_rng(4))
    assert chi_square(set_counts(drawn, possible), CHI_SQUARE_ROWS * expected) < CHI_SQUARE[9]


def test_a_sure_network_gets_the_label_that_it_confuses():
    goodness = np.array([[0.0, 1000.0, 900.0, 0.0]] * 50, np.float32)
    drawn = hard_labels(goodness, np.full(50, 1), 1, np.random.default_rng(0))
    assert (drawn == 2).all()


def test_drawing_leaves_the_goodness_as_it_was():
    goodness = np.tile(GOODNESS, (3, 1))
    hard_labels(goodness, np.array([0, 1, 2]), 2, np.random.default_rng(0))
    np.testing.assert_array_equal(goodness, np.tile(GOODNESS, (3, 1)))


@pytest.mark.parametrize("negatives", [1, 3])
def test_wrong_labels_repeat_with_the_seed(negatives):
    true = np.arange(40) % 7
    first, again, other = (drawn_wrong(true, negatives, 7, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=30), st.integers(1, 9), st.integers(0, 29))
def test_wrong_labels_do_not_depend_on_what_is_drawn_together(places, negatives, cut):
    places, drawn = np.array(places), key(2, 1, Draw.NEGATIVES, 0)
    true = places % 10
    whole = wrong_labels(true, places, negatives, 10, drawn)
    parts = [wrong_labels(true[p], places[p], negatives, 10, drawn) for p in (slice(cut), slice(cut, None))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_wrong_labels_of_neighbours_and_of_epochs_are_independent():
    """Of each row beside the next one's, and beside its own of the next epoch: all 36 pairs equally likely."""
    true, places = np.full(CHI_SQUARE_ROWS, 4), np.arange(CHI_SQUARE_ROWS)
    now, later = (wrong_labels(true, places, 1, 7, key(2, 0, Draw.NEGATIVES, 0, e))[:, 0] for e in (0, 1))
    for first, second in ((now[::2], now[1::2]), (now, later)):
        counts = np.bincount(7 * first + second, minlength=49).reshape(7, 7)
        counts = np.delete(np.delete(counts, 4, 0), 4, 1)
        assert chi_square(counts, len(first) / 36) < 66.62  # 35 degrees of freedom, 0.999


def test_wrong_labels_are_the_same_on_every_machine_and_tomorrow():
    """A checkpoint goes on with the labels with which it began: these values may never change."""
    places = np.array([0, 1, 2, 999, 56_999])
    found = wrong_labels(places % 10, places, 2, 10, key(2, 7, Draw.NEGATIVES, 1))
    assert found.tolist() == [[1, 9], [9, 5], [9, 7], [2, 8], [4, 0]]


def test_labels_in_a_byte_do_not_overflow():
    true = np.full(200, 255, np.uint8)
    check_wrong(drawn_wrong(true, 2, 300, 0), true, 2, 300)


def test_the_true_label_is_tried_first():
    tried = tried_labels(np.array([3, 1]), np.array([[0, 1], [2, 0]]))
    np.testing.assert_array_equal(tried, [[3, 0, 1], [1, 2, 0]])


def test_a_row_is_free_only_if_all_its_first_inputs_are_zero():
    np.testing.assert_array_equal(is_free(np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]])), [True, False, False])
